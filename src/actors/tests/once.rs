//! A request with a key is executed once, whatever happens to its entity in between.
//!
//! Depends on the runtime.

use super::{
    append_list::{Command, Entry, Mishap},
    runtime::{TestRuntime, until},
};
use crate::{
    actors::{
        directory::DirectoryLimits,
        reply::{Accepted, AskError, Changed},
    },
    domain::ids::{RequestKey, UserId},
};

const ID: UserId = UserId(1);
const REQUEST: RequestKey = RequestKey { key: 7, fingerprint: 1 };

fn add(number: u32) -> Command {
    Command::Add { entry: Entry { client: 0, number }, mishap: Mishap::None }
}

#[tokio::test]
async fn a_repeat_changes_nothing_and_another_body_is_refused() {
    let path = tempfile::tempdir().unwrap();
    let open = async || TestRuntime::open(path.path(), DirectoryLimits::default()).await;
    let mut runtime = open().await;
    let first = runtime.directory.ask_once(&ID, add(1), Some(REQUEST)).await.unwrap();
    assert_eq!(first.changed, Changed::Yes);
    for life in 0..4 {
        let directory = &runtime.directory;
        let Accepted { view, changed } = directory.ask_once(&ID, add(100 + life), Some(REQUEST)).await.unwrap();
        assert_eq!((changed, view.0.len()), (Changed::Repeat, 1 + 40 * usize::try_from(life).unwrap()));
        let other = RequestKey { fingerprint: 2, ..REQUEST };
        for refused in [
            directory.ask_once(&ID, add(200), Some(other)).await.map(drop),
            directory.has_executed(&ID, other).await.map(drop),
        ] {
            assert_eq!(refused, Err(AskError::KeyReused));
        }
        assert!(directory.has_executed(&ID, REQUEST).await.unwrap());
        assert!(!directory.has_executed(&ID, RequestKey { key: 8, ..REQUEST }).await.unwrap());
        // Enough for a snapshot.
        for number in 0..40 {
            runtime.add(ID, 1_000 * (life + 1) + number).await.unwrap();
        }
        match life {
            0 => {
                directory.passivate(&ID);
                until("the entity rests", async || runtime.directory.live_count() == 0).await;
            }
            1 => {
                runtime.close().await;
                runtime = open().await;
            }
            // The journal's writer ends with what is durable, as after a kill.
            _ => {
                runtime.stop_root().await;
                runtime.journal.close().await.unwrap();
                runtime = open().await;
            }
        }
    }
    runtime.close().await;
}

/// A rejected request leaves its key free.
#[tokio::test]
async fn a_rejected_request_is_not_remembered() {
    let path = tempfile::tempdir().unwrap();
    let runtime = TestRuntime::open(path.path(), DirectoryLimits::default()).await;
    let refused = runtime.directory.ask_once(&ID, Command::Refuse, Some(REQUEST)).await;
    assert!(matches!(refused, Err(AskError::Rejected(_))));
    assert!(!runtime.directory.has_executed(&ID, REQUEST).await.unwrap());
    let other = RequestKey { fingerprint: 2, ..REQUEST };
    let ahead = runtime.directory.ask_ahead_once(&ID, add(1), Some(other)).await.unwrap();
    assert_eq!(ahead.changed, Changed::Yes);
    assert!(runtime.directory.has_executed(&ID, other).await.unwrap());
    runtime.close().await;
}
