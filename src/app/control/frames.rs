//! Messages as frames on a Unix socket, with limits for their size and the time that they take.
//!
//! Depends on `tokio-util`'s codec.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// The longest frame, in bytes. A product of 500 variants with a description of 32 KiB each is half as long.
pub(super) const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The messages that come in.
pub(super) struct Incoming(FramedRead<OwnedReadHalf, LengthDelimitedCodec>);

/// The messages that go out.
pub(super) struct Outgoing {
    frames: FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>,
    /// How long the other side may take to read a message.
    write_max: Duration,
}

/// Both directions of a connection.
pub(super) fn of(stream: UnixStream, write_max: Duration) -> (Incoming, Outgoing) {
    let codec = || LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec();
    let (read, write) = stream.into_split();
    let frames = FramedWrite::new(write, codec());
    (Incoming(FramedRead::new(read, codec())), Outgoing { frames, write_max })
}

impl Incoming {
    /// The next message and its length in bytes; `None` if the other side has closed the connection. Cancel-safe: if it
    /// is dropped while it waits, nothing is lost.
    pub(super) async fn next<M: DeserializeOwned>(&mut self) -> io::Result<Option<(M, usize)>> {
        let Some(frame) = self.0.next().await else { return Ok(None) };
        let frame = frame?;
        let message = serde_json::from_slice(&frame).map_err(|error| {
            let text = format!("a message that cannot be read: {error}; is the other program of the same version?");
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        Ok(Some((message, frame.len())))
    }
}

impl Outgoing {
    pub(super) async fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        self.send_bytes(serde_json::to_vec(message)?).await
    }

    /// Sends a message that is already encoded as JSON.
    pub(super) async fn send_bytes(&mut self, message: Vec<u8>) -> io::Result<()> {
        match timeout(self.write_max, self.frames.send(Bytes::from(message))).await {
            Ok(sent) => sent,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the other side reads nothing")),
        }
    }
}
