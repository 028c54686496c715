//! A scan over the streams in the state. It seeds a read model, takes a base and exports a catalogue without reading
//! the log from its beginning.
//!
//! It begins with a checkpoint, so that the state holds at least everything durable up to the scan's position. The scan
//! may or may not see what becomes durable later; a follower that reads the log from the scan's position on sees all of
//! it. Depends on `state` and `checkpoint`.

use std::sync::Arc;

use super::{
    batch::Link,
    checkpoint,
    errors::{Fault, LoadError},
    record::{Loaded, Position, Stream},
    shared::Shared,
};

/// An iterator over streams, in the order of their kinds and keys. All of its methods block.
#[derive(Debug)]
pub struct Scan {
    shared: Arc<Shared>,
    link: Link,
    kind: Option<u8>,
    last: Option<Stream>,
}

impl Scan {
    /// Makes a checkpoint and begins a scan of one kind, or of all.
    pub(super) fn begin(shared: &Arc<Shared>, kind: Option<u8>) -> Result<Self, Fault> {
        shared.requests.ask().blocking_recv().unwrap_or(Err(Fault::Closed))?;
        let link = checkpoint::stored_mark(&shared.state, shared.store)?;
        let link = link.ok_or_else(|| Fault::State("there is no checkpoint after one was made".into()))?;
        Ok(Self { shared: Arc::clone(shared), link, kind, last: None })
    }

    /// The state holds everything up to this position; follow the log from here on.
    #[must_use]
    pub fn position(&self) -> Position {
        self.link.end
    }

    pub(super) fn link(&self) -> Link {
        self.link
    }

    /// What the state holds of a stream.
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
