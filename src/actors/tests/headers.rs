//! The headers of stored records: time in a stream never goes backwards, and each record has the tag of the state after
//! it.
//!
//! Depends on the runtime.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    append_list::AppendList,
    runtime::{TestRuntime, until},
};
use crate::{
    actors::{
        directory::DirectoryLimits,
        records::{Header, decode_event, replay},
        views::Views,
    },
    clock::Clock,
    domain::{entity::Timestamp, ids::UserId},
    storage::Position,
};

const ID: UserId = UserId(1);

/// A clock that can also be set back.
#[derive(Clone, Default)]
pub(super) struct Hands(Arc<AtomicU64>);

impl Hands {
    pub(super) fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::SeqCst);
    }

    pub(super) fn clock(&self) -> Clock {
        let hands = self.clone();
        Clock::from_fn(move || Timestamp(hands.0.load(Ordering::SeqCst)))
    }

    async fn open(&self, path: &Path) -> TestRuntime {
        TestRuntime::open_with(path, DirectoryLimits::default(), self.clock()).await
    }
}

/// Times and tags of all records in the log.
fn headers(runtime: &TestRuntime) -> Vec<(u64, u8)> {
    let (mut headers, mut from) = (Vec::new(), Position::BEGINNING);
    loop {
        let page = runtime.journal.page(from, 1 << 20).unwrap();
        for record in &page.records {
            let Header { time, tag, .. } = decode_event::<AppendList>(record.version, &record.payload).unwrap().header;
            headers.push((time.0, tag.0));
        }
        if page.next == from {
            return headers;
        }
        from = page.next;
    }
}

#[tokio::test]
async fn time_in_a_stream_never_goes_backwards() {
    let (path, hands) = (tempfile::tempdir().unwrap(), Hands::default());
    let add = async |runtime: &TestRuntime, at, numbers: std::ops::RangeInclusive<u32>| {
        hands.set(at);
        for number in numbers {
            runtime.add(ID, number).await.unwrap();
        }
    };

    let runtime = hands.open(path.path()).await;
    add(&runtime, 1_000, 1..=1).await;
    add(&runtime, 500, 2..=2).await;
    runtime.close().await;

    // After a start, from the last record.
    let runtime = hands.open(path.path()).await;
    add(&runtime, 600, 3..=3).await;
    assert_eq!(headers(&runtime), [(1_000, 1), (1_000, 2), (1_000, 3)]);
    add(&runtime, 2_000, 4..=12).await;
    runtime.close().await;

    // After a start, from the snapshot.
    let runtime = hands.open(path.path()).await;
    let loaded = runtime.journal.read(&Views::<AppendList>::stream(&ID)).await.unwrap();
    assert!(loaded.snapshot.is_some() && loaded.records.is_empty(), "the entity left a snapshot of its last event");
    assert_eq!(replay::<AppendList>(&loaded).unwrap().time, Timestamp(2_000));
    assert_eq!(loaded.snapshot.unwrap().bytes[8], 12, "behind the time stands the tag of the state");
    add(&runtime, 100, 13..=13).await;

    // After a rest.
    runtime.directory.passivate(&ID);
    until("the entity is at rest", async || runtime.waiting(ID).is_none()).await;
    add(&runtime, 200, 14..=14).await;
    assert_eq!(headers(&runtime)[11..], [(2_000, 12), (2_000, 13), (2_000, 14)]);

    // Another stream is not held back, and time goes on where the clock has caught up.
    runtime.add(UserId(2), 1).await.unwrap();
    add(&runtime, 3_000, 15..=15).await;
    assert_eq!(headers(&runtime)[14..], [(200, 1), (3_000, 15)]);
    runtime.close().await;
}
