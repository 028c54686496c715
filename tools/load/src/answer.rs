//! What came back from a request, or why nothing did.
//!
//! Depends on `plan` and on `url`.

use std::{error::Error, io};

use serde::Serialize;
use serde_json::Value;
use url::Url;

use crate::plan::LoadError;

/// How much of an unexpected answer an error shows, in characters.
const SHOWN_CHARACTERS: usize = 200;

/// The status of a request that a limit of one client refuses.
pub(crate) const TOO_MANY_REQUESTS: u16 = 429;

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum NoAnswer {
    TimedOut,
    ConnectionRefused,
    ConnectionReset,
    /// The shop closed the connection before it had answered.
    ConnectionClosed,
    /// The generator's machine has no port left for another connection.
    NoPortLeft,
    /// The generator's process may open no more files.
    NoFileLeft,
    /// Another error of the connection.
    Broken,
    /// The generator did not send it: its address was invalid, or the history could not be written.
    NotSent,
}

impl NoAnswer {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TimedOut => "timed out",
            Self::ConnectionRefused => "connection refused",
            Self::ConnectionReset => "connection reset",
            Self::ConnectionClosed => "connection closed before the answer",
            Self::NoPortLeft => "no local port left",
            Self::NoFileLeft => "too many open files",
            Self::Broken => "connection broken",
            Self::NotSent => "not sent",
        }
    }

    /// The innermost reason in an error of hyper.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let causes = || std::iter::successors(Some(error), |error| (*error).source());
        if let Some(error) = causes().filter_map(|error| error.downcast_ref::<io::Error>()).last() {
            return match error.kind() {
                io::ErrorKind::ConnectionRefused => Self::ConnectionRefused,
                io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Self::ConnectionReset,
                io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => Self::ConnectionClosed,
                io::ErrorKind::AddrNotAvailable => Self::NoPortLeft,
                io::ErrorKind::TimedOut => Self::TimedOut,
                _ if matches!(error.raw_os_error(), Some(TOO_MANY_FILES | TOO_MANY_FILES_OF_ALL)) => Self::NoFileLeft,
                _ => Self::Broken,
            };
        }
        let closed = causes().filter_map(|error| error.downcast_ref::<hyper::Error>());
        let mut closed = closed.filter(|error| error.is_incomplete_message() || error.is_closed());
        if closed.next().is_some() { Self::ConnectionClosed } else { Self::Broken }
    }
}

/// `EMFILE` and `ENFILE`, which `io::ErrorKind` does not tell apart from others.
const TOO_MANY_FILES: i32 = 24;
const TOO_MANY_FILES_OF_ALL: i32 = 23;

/// The status of an answer, or why there is none.
pub(crate) type Status = Result<u16, NoAnswer>;

/// Whether a request failed: 5xx or no answer.
pub(crate) fn is_failure(status: Status) -> bool {
    !matches!(status, Ok(..500))
}

/// The answer to a request.
pub(crate) struct Answer {
    pub(crate) status: Status,
    /// Null if there was no answer, or none in JSON.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn missing(reason: NoAnswer) -> Self {
        Self { status: Err(reason), body: Value::Null }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.status, Ok(200..=399))
    }

    /// The body of an answer that a run cannot do without.
    pub(crate) fn required(self, base: &Url, what: &str) -> Result<Value, LoadError> {
        match self.status {
            Ok(200..=299) => Ok(self.body),
            Ok(TOO_MANY_REQUESTS) => Err(LoadError::RateLimited { what: what.to_owned() }),
            Ok(status) => {
                let answer = self.body.to_string().chars().take(SHOWN_CHARACTERS).collect();
                Err(LoadError::Refused { what: what.to_owned(), status, answer })
            }
            Err(reason) => {
                Err(LoadError::Unreachable { url: base.to_string(), problem: format!("{what}: {}", reason.name()) })
            }
        }
    }
}
