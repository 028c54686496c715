//! Bodies of requests that are still arriving: how many one peer may have, how many bytes they may be in all, and how
//! fast they must come.
//!
//! A request takes no place among those in flight before its body is here, so bodies that never come must not fill
//! memory either. When there are too many, the one that has been arriving for longest goes, so that newcomers, whose
//! bodies usually come with their heads, are served.
//!
//! Depends on its neighbours and `config`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use bytes::BytesMut;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{error::Problem, peer::Peer};
use crate::config::Limits;

/// What a request takes that waits for its body, in bytes, beside its head and what has arrived.
const REQUEST_BYTES: u64 = 4_096;

/// The bodies that are arriving.
#[derive(Debug)]
pub(super) struct Arriving {
    limits: Limits,
    table: Mutex<Table>,
}

/// Each body has the number of its arrival, so the first of a peer is its oldest.
#[derive(Debug, Default)]
struct Table {
    next: u64,
    bytes: u64,
    by_peer: HashMap<Option<Peer>, BTreeMap<u64, Entry>>,
}

#[derive(Debug)]
struct Entry {
    bytes: u64,
    cut: Arc<Notify>,
}

impl Arriving {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, table: Mutex::default() }
    }

    /// Reads a body. A length that is declared too large is refused before any of it is read.
    pub(super) async fn read(&self, body: Body, headers: &HeaderMap, peer: Option<Peer>) -> Result<Bytes, Problem> {
        let bytes_max = self.limits.body_bytes_max;
        let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if declared.is_some_and(|bytes| bytes > bytes_max) {
            return Err(Problem::body_too_large(bytes_max));
        }
        let mut parts = body.into_data_stream();
        let mut whole = Whole { bytes_max, ..Whole::default() };
        while let Some(next) = parts.next().now_or_never() {
            match next {
                Some(part) => whole.add(part.map_err(|_| Problem::unreadable_body())?)?,
                None => return Ok(whole.finish()),
            }
        }
        let head_bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        let place = self.begin(peer, REQUEST_BYTES + (head_bytes + whole.len()) as u64);
        let began = Instant::now();
        loop {
            tokio::select! {
                biased;
                next = parts.next() => match next {
                    Some(part) => {
                        let part = part.map_err(|_| Problem::unreadable_body())?;
                        place.grow(part.len() as u64);
                        whole.add(part)?;
                    }
                    None => return Ok(whole.finish()),
                },
                () = place.cut.notified() => {
                    return Err(Problem::overloaded("too many bodies are arriving, and this one took longest"));
                }
                () = sleep_until(began + self.time_for(whole.len())) => return Err(Problem::request_timeout()),
            }
        }
    }

    /// How long a body may take that has brought so many bytes.
    fn time_for(&self, bytes: usize) -> Duration {
        let rate = self.limits.bytes_per_second_min.max(1);
        let at_least_rate = (bytes as u64).saturating_mul(1_000) / rate;
        let ms = self.limits.header_ms_max.saturating_add(at_least_rate).min(self.limits.body_ms_max);
        Duration::from_millis(ms)
    }

    fn begin(&self, peer: Option<Peer>, bytes: u64) -> Place<'_> {
        let cut = Arc::new(Notify::new());
        let mut table = self.table.lock();
        let number = table.next;
        table.next += 1;
        let of_peer = table.by_peer.entry(peer).or_default();
        // Without a peer there is no limit by peer.
        if peer.is_some()
            && of_peer.len() >= self.limits.bodies_per_peer_max
            && let Some((_, oldest)) = of_peer.pop_first()
        {
            oldest.cut.notify_one();
            table.bytes -= oldest.bytes;
        }
        let entry = Entry { bytes, cut: Arc::clone(&cut) };
        table.by_peer.entry(peer).or_default().insert(number, entry);
        table.bytes += bytes;
        table.make_room(self.limits.bodies_bytes_max, number);
        Place { arriving: self, peer, number, cut }
    }
}

impl Table {
    /// Ends the oldest bodies but this one, until the rest fits.
    fn make_room(&mut self, bytes_max: u64, but: u64) {
        while self.bytes > bytes_max {
            let firsts = self.by_peer.iter().filter_map(|(peer, bodies)| Some((*bodies.keys().next()?, *peer)));
            let Some((number, peer)) = firsts.min().filter(|(number, _)| *number != but) else { return };
            if let Some(oldest) = self.remove(peer, number) {
                oldest.cut.notify_one();
            }
        }
    }

    fn remove(&mut self, peer: Option<Peer>, number: u64) -> Option<Entry> {
        let of_peer = self.by_peer.get_mut(&peer)?;
        let removed = of_peer.remove(&number);
        if of_peer.is_empty() {
            self.by_peer.remove(&peer);
        }
        let removed = removed?;
        self.bytes -= removed.bytes;
        Some(removed)
    }
}

/// The place of one body that is arriving.
struct Place<'a> {
    arriving: &'a Arriving,
    peer: Option<Peer>,
    number: u64,
    cut: Arc<Notify>,
}

impl Place<'_> {
    fn grow(&self, bytes: u64) {
        let mut table = self.arriving.table.lock();
        let entry = table.by_peer.get_mut(&self.peer).and_then(|bodies| bodies.get_mut(&self.number));
        if let Some(entry) = entry {
            entry.bytes += bytes;
            table.bytes += bytes;
            table.make_room(self.arriving.limits.bodies_bytes_max, self.number);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.arriving.table.lock().remove(self.peer, self.number);
    }
}

/// The parts of a body; the usual one is not copied.
#[derive(Default)]
struct Whole {
    bytes_max: usize,
    first: Bytes,
    all: BytesMut,
}

impl Whole {
    fn len(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    fn add(&mut self, part: Bytes) -> Result<(), Problem> {
        if self.len() + part.len() > self.bytes_max {
            return Err(Problem::body_too_large(self.bytes_max));
        }
        if self.len() == 0 {
            self.first = part;
            return Ok(());
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&part);
        Ok(())
    }

    fn finish(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, net::IpAddr};

    use axum::response::IntoResponse;
    use futures::stream;

    use super::*;

    fn arriving(change: impl FnOnce(&mut Limits)) -> Arc<Arriving> {
        let mut limits = Limits { header_ms_max: 10_000, body_ms_max: 30_000, ..Limits::default() };
        change(&mut limits);
        Arc::new(Arriving::new(limits))
    }

    fn peer(last: u8) -> Option<Peer> {
        Some(IpAddr::from([127, 0, 1, last]).into())
    }

    /// A body that brings some bytes, and then no more and no end.
    fn endless(begun: &'static [u8]) -> Body {
        Body::from_stream(stream::iter([Ok::<_, Infallible>(begun)]).chain(stream::pending()))
    }

    /// Bytes at an interval, for ever.
    fn drip(bytes: usize, every: Duration) -> Body {
        let part = move || async move {
            tokio::time::sleep(every).await;
            Ok::<_, Infallible>(vec![b'x'; bytes])
        };
        Body::from_stream(stream::repeat_with(part).then(|part| part))
    }

    async fn status(arriving: &Arriving, body: Body, peer: Option<Peer>) -> u16 {
        match arriving.read(body, &HeaderMap::new(), peer).await {
            Ok(_) => 200,
            Err(problem) => problem.into_response().status().as_u16(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_must_come_at_the_least_rate_and_in_time() {
        let arriving = arriving(|_| ());
        let began = Instant::now();
        assert_eq!(status(&arriving, endless(b"{"), None).await, 408);
        assert!(began.elapsed() >= Duration::from_secs(10) && began.elapsed() < Duration::from_secs(11));
        // A byte a second is as good as none.
        let began = Instant::now();
        assert_eq!(status(&arriving, drip(1, Duration::from_secs(1)), None).await, 408);
        assert!(began.elapsed() < Duration::from_secs(11), "{:?}", began.elapsed());
        // At twice the least rate it has all of its time.
        let began = Instant::now();
        assert_eq!(status(&arriving, drip(2_048, Duration::from_secs(1)), None).await, 408);
        assert_eq!(began.elapsed().as_secs(), 30);
        let slow = stream::iter(["{\"a\"", ":1}"]).then(|part| async move {
            tokio::time::sleep(Duration::from_secs(4)).await;
            Ok::<_, Infallible>(part)
        });
        let read = arriving.read(Body::from_stream(slow), &HeaderMap::new(), None).await.unwrap();
        assert_eq!(read, "{\"a\":1}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_length_that_is_too_large_is_refused_before_the_body() {
        let arriving = arriving(|limits| limits.body_bytes_max = 1_024);
        let headers: HeaderMap = [(header::CONTENT_LENGTH, "1025".parse().unwrap())].into_iter().collect();
        let began = Instant::now();
        let refused = arriving.read(endless(b""), &headers, None).await.unwrap_err();
        assert_eq!((refused.into_response().status().as_u16(), began.elapsed()), (413, Duration::ZERO));
        assert_eq!(status(&arriving, drip(600, Duration::from_millis(1)), None).await, 413);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_body_makes_room_of_its_peer_and_of_all() {
        let arriving = arriving(|limits| {
            limits.bodies_per_peer_max = 2;
            limits.bodies_bytes_max = 5 * REQUEST_BYTES;
        });
        let begun = |body: Body, peer| {
            let arriving = Arc::clone(&arriving);
            let task = tokio::spawn(async move { status(&arriving, body, peer).await });
            // The tasks begin in this order.
            tokio::time::sleep(Duration::from_millis(1)).map(|()| task)
        };
        let first = begun(endless(b""), peer(1)).await;
        let (second, other) = (begun(endless(b""), peer(1)).await, begun(endless(b""), peer(2)).await);
        let _third = begun(endless(b""), peer(1)).await;
        assert_eq!(first.await.unwrap(), 503, "the first of three of a peer that may have two");
        assert!(!second.is_finished() && !other.is_finished());
        // Three places' worth of bytes where two are left: the oldest of all goes, whoever has it.
        let _large = begun(endless(&[b'x'; 2 * 4_096]), peer(3)).await;
        assert_eq!(second.await.unwrap(), 503);
        assert!(!other.is_finished());
        let _last = begun(endless(b""), peer(4)).await;
        assert_eq!(other.await.unwrap(), 503);
        // What comes at once is never refused.
        assert_eq!(status(&arriving, Body::from("{}"), peer(1)).await, 200);
        let table = arriving.table.lock();
        assert_eq!(
            table.bytes,
            table.by_peer.values().flat_map(BTreeMap::values).map(|entry| entry.bytes).sum::<u64>()
        );
    }
}
