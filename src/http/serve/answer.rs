//! The body of an answer on its way to hyper: it counts what the client has yet to take, and keeps its request in
//! flight until hyper has all of it.
//!
//! To HTTP/2 it is handed in pieces, each when the client's window is open: hyper would buffer the whole body as soon
//! as the window is open by a byte.
//!
//! Depends on its neighbours.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

use super::connection::{Exchange, Protocol};

/// The most that HTTP/2 buffers of an answer beyond its window, in bytes: a frame of the usual size.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// The body of an answer.
pub(super) struct Answer {
    body: Body,
    /// What was taken from the body, and hyper has not asked for.
    rest: Bytes,
    /// The size of the piece that HTTP/2 holds until the window is open.
    in_hand: u64,
    /// Bytes that the exchange owes, and that hyper has not taken.
    owed: u64,
    exchange: Exchange,
}

impl Answer {
    pub(super) fn new(body: Body, exchange: Exchange) -> Self {
        let owed = body.size_hint().exact().unwrap_or(0);
        exchange.owe(owed);
        Self { body, rest: Bytes::new(), in_hand: 0, owed, exchange }
    }

    fn hand_over(&mut self, bytes: u64) {
        let bytes = bytes.min(self.owed);
        self.owed -= bytes;
        self.exchange.hand_over(bytes);
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let in_hand = std::mem::take(&mut self.in_hand);
        self.hand_over(in_hand);
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
            // A body of unknown length owes what it has brought so far.
            let unknown = (self.rest.len() as u64).saturating_sub(self.owed);
            self.owed += unknown;
            self.exchange.owe(unknown);
        }
        let piece = if self.exchange.is(Protocol::Http2) {
            let bytes = self.rest.len().min(PIECE_BYTES_MAX);
            self.in_hand = bytes as u64;
            self.rest.split_to(bytes)
        } else {
            let whole = std::mem::take(&mut self.rest);
            self.hand_over(whole.len() as u64);
            whole
        };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // The last piece was taken, or its stream was reset.
        let in_hand = std::mem::take(&mut self.in_hand);
        self.hand_over(in_hand);
        self.exchange.forgive(self.owed);
    }
}
