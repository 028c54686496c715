//! A scan over the streams that the state holds: how a read model is seeded, a base taken and a catalogue exported, without
//! reading the log from its beginning.
//!
//! It begins with a checkpoint, so that the state holds at least everything durable up to the scan's position. What becomes
//! durable meanwhile may be seen or not; whoever follows the log from the scan's position on sees all of it.
//! Depends on `state` and `checkpoint`.

use std::sync::Arc;

use super::{
    batch::Link,
    checkpoint,
    errors::{Fault, LoadError},
    record::{Loaded, Position, Stream},
    shared::Shared,
};

/// A scan, stream by stream, in the order of their kinds and keys. All of it blocks.
#[derive(Debug)]
pub struct Scan {
    shared: Arc<Shared>,
    link: Link,
    kind: Option<u8>,
    last: Option<Stream>,
}

impl Scan {
    /// Makes a checkpoint and begins; over one kind, or over all.
    pub(super) fn begin(shared: &Arc<Shared>, kind: Option<u8>) -> Result<Self, Fault> {
        shared.requests.ask().blocking_recv().unwrap_or(Err(Fault::Closed))?;
        let link = checkpoint::stored_mark(&shared.state, shared.store)?;
        let link = link.ok_or_else(|| Fault::State("there is no checkpoint after one was made".into()))?;
        Ok(Self { shared: Arc::clone(shared), link, kind, last: None })
    }

    /// Everything up to here is in the state; follow the log from here on.
    #[must_use]
    pub fn position(&self) -> Position {
        self.link.end
    }

    pub(super) fn link(&self) -> Link {
        self.link
    }

    /// What the state has of a stream.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load(&self, stream: &Stream) -> Result<Loaded, LoadError> {
        let loaded = self.shared.state.load(stream)?;
        let missing = |last| LoadError::Damaged(format!("{stream:?}: record {} is missing", last + 1));
        Loaded::merge(loaded, Loaded::default()).map_err(missing)
    }
}

impl Iterator for Scan {
    type Item = Result<Stream, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.shared.state.stream_after(self.kind, self.last.as_ref()).transpose();
        if let Some(Ok(stream)) = &next {
            self.last = Some(stream.clone());
        }
        next
    }
}
