//! The socket of a connection, with what hyper does not do: it notes what is read and written, finds out which protocol
//! the client speaks, takes back hyper's own answers to what it cannot read, and gives the socket back at the end, so
//! that the connection's task can say why it ends.
//!
//! Depends on its neighbours.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use super::connection::{Begins, Connection, Protocol};

/// The first bytes of a connection that speaks HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A socket that tells its [`Connection`] what happens.
pub(super) struct Watched<S> {
    /// There until the end.
    socket: Option<S>,
    connection: Arc<Connection>,
    /// How many bytes of the preface have arrived, while nothing else has.
    preface_bytes: usize,
    has_ended: bool,
    owes_answer: bool,
    /// Whether the request line of the head that arrives is whole.
    line_is_whole: bool,
    home: Option<oneshot::Sender<Returned<S>>>,
}

/// A socket that hyper has done with.
pub(super) struct Returned<S> {
    pub(super) socket: S,
    /// Whether the client sends no more.
    pub(super) has_ended: bool,
    /// Whether hyper's own answer was not sent.
    pub(super) owes_answer: bool,
    /// Whether the head had ended before the end of its first line.
    pub(super) is_in_first_line: bool,
}

impl<S> Watched<S> {
    /// The socket comes back through the channel when this is dropped.
    pub(super) fn new(socket: S, connection: Arc<Connection>) -> (Self, oneshot::Receiver<Returned<S>>) {
        let (home, returned) = oneshot::channel();
        let watched = Self {
            socket: Some(socket),
            connection,
            preface_bytes: 0,
            has_ended: false,
            owes_answer: false,
            line_is_whole: false,
            home: Some(home),
        };
        (watched, returned)
    }
}

impl<S: Unpin> Watched<S> {
    fn socket(&mut self) -> io::Result<Pin<&mut S>> {
        self.socket.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Decides the protocol as hyper does: anything but the preface is HTTP/1.
    fn look_at(&mut self, bytes: &[u8]) {
        if !self.connection.is(Protocol::Undecided) {
            return;
        }
        let expected = &PREFACE[self.preface_bytes..];
        let common = expected.iter().zip(bytes).take_while(|(expected, byte)| expected == byte).count();
        self.preface_bytes += common;
        if self.preface_bytes == PREFACE.len() {
            self.connection.speaks(Protocol::Http2);
        } else if common < bytes.len() {
            self.connection.speaks(Protocol::Http1);
        }
    }

    /// Whether these bytes are an answer that hyper gives by itself. They are dropped, and the task sends a better one.
    fn is_taken_back(&mut self) -> bool {
        self.owes_answer |= self.connection.is_unasked();
        self.owes_answer
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.connection.wrote(bytes);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(self.socket()?.poll_read(cx, buffer))?;
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        if bytes.is_empty() {
            self.has_ended = true;
        } else {
            self.look_at(bytes);
            if self.connection.received(bytes.len()) == Begins::Head {
                self.line_is_whole = false;
            }
            self.line_is_whole = self.line_is_whole || bytes.contains(&b'\n');
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_taken_back() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = self.socket()?.poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_taken_back() {
            return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
        }
        let written = self.socket()?.poll_write_vectored(cx, parts);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.as_ref().is_some_and(S::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.socket()?.poll_flush(cx))?;
        self.connection.flushed();
        Poll::Ready(Ok(()))
    }

    /// The task shuts the socket down, perhaps after a last answer.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl<S> Drop for Watched<S> {
    fn drop(&mut self) {
        if let (Some(home), Some(socket)) = (self.home.take(), self.socket.take()) {
            // Nobody waits for it if the task was dropped.
            let _ = home.send(Returned {
                socket,
                has_ended: self.has_ended,
                owes_answer: self.owes_answer,
                is_in_first_line: !self.line_is_whole,
            });
        }
    }
}
