//! The exit codes, which a supervisor can act on, and the message of an error.
//!
//! Depends on `app`, `verify`, `http` and `config`.

use std::{error::Error, io, process::ExitCode, sync::Arc};

use souk::{
    config::ConfigError,
    http::TlsError,
    internals::{
        app::{
            control::client::ControlError,
            failure::FailureKind,
            import::{StopCause, Stopped},
            settings::SettingsError,
        },
        verify::VerifyError,
    },
};
use souk_load::LoadError;

/// The status of the answers of a shop that is overloaded or stopping.
const UNAVAILABLE: u16 = 503;

/// The exit codes besides 0. docs/OPERATIONS.md has them as a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Anything that has no code of its own.
    Failure = 1,
    /// The command line, a setting or a permission is wrong, so another start fails in the same way. 2 is clap's code,
    /// too.
    Usage = 2,
    /// Data is missing, damaged or belongs to another shop: somebody must look at it (`EX_DATAERR` of sysexits.h).
    Data = 65,
    /// The directory or the port is in use, the disk is full, or the running shop was stopped or cannot be reached:
    /// another try may succeed (`EX_TEMPFAIL`).
    Temporary = 75,
    /// An import was interrupted, and has printed where to go on. Shells use this code for Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<FailureKind> for Exit {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Other => Self::Failure,
            FailureKind::Usage => Self::Usage,
            FailureKind::Data => Self::Data,
            FailureKind::Temporary => Self::Temporary,
        }
    }
}

impl Exit {
    /// The code of the first error in the chain that has one.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        error.chain().find_map(Self::of_cause).unwrap_or(Self::Failure)
    }

    fn of_cause(cause: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(Stopped { cause: StopCause::Interrupted, .. }) = cause.downcast_ref() {
            return Some(Self::Interrupted);
        }
        if cause.is::<ConfigError>() || cause.is::<SettingsError>() || cause.is::<TlsError>() {
            return Some(Self::Usage);
        }
        Self::of_running_shop(cause).or_else(|| FailureKind::of(cause).map(Self::from))
    }

    /// The code of an error of a command that talks to a running shop: the shop may soon run again.
    fn of_running_shop(cause: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(error) = cause.downcast_ref() {
            return match error {
                ControlError::Busy | ControlError::Silent(_) | ControlError::Broken(_) => Some(Self::Temporary),
                // Their cause has the code.
                ControlError::Failed(_) | ControlError::Write(_) => None,
            };
        }
        if let Some(error) = cause.downcast_ref() {
            return match error {
                VerifyError::Address { .. } => Some(Self::Usage),
                VerifyError::Journal(error) => FailureKind::of(error).map(Self::from),
                VerifyError::Unreachable { .. } | VerifyError::Refused { status: UNAVAILABLE, .. } => {
                    Some(Self::Temporary)
                }
                _ => None,
            };
        }
        match cause.downcast_ref()? {
            LoadError::Address { .. } | LoadError::Impossible { .. } => Some(Self::Usage),
            LoadError::Unreachable { .. } | LoadError::Refused { status: UNAVAILABLE, .. } => Some(Self::Temporary),
            _ => None,
        }
    }
}

/// The prefix of the errors of an address that cannot be listened on; [`message`] uses it to pick the remedy.
pub(crate) use souk_gateway_sim::LISTENING;

/// The error with its causes, each once: many errors have their cause in their own text already, for logs. Where the
/// system refused something, what to do about it follows.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let message = error.chain().fold(String::new(), |message, cause| match cause.to_string() {
        cause if message.is_empty() => cause,
        cause if message.contains(&cause) => message,
        cause => format!("{message}: {cause}"),
    });
    let is_address = message.starts_with(LISTENING);
    match error.chain().find_map(io_error).and_then(|error| remedy(error, is_address)) {
        Some(remedy) => format!("{message}; {remedy}"),
        None => message,
    }
}

fn io_error<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    cause.downcast_ref::<Arc<io::Error>>().map(|error| &**error).or_else(|| cause.downcast_ref())
}

fn remedy(error: &io::Error, is_address: bool) -> Option<&'static str> {
    Some(match error.kind() {
        io::ErrorKind::AddrInUse => "stop the program that has the port, or set another address with listen",
        io::ErrorKind::AddrNotAvailable => "set an address of this machine with listen",
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => "restore what belongs there from a backup",
        io::ErrorKind::PermissionDenied if is_address => "a port below 1024 needs CAP_NET_BIND_SERVICE",
        io::ErrorKind::PermissionDenied => {
            "it must belong to the user who runs souk, who must be able to read and write it"
        }
        io::ErrorKind::ReadOnlyFilesystem => "mount the disk writable",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on the disk and start again",
        _ => return None,
    })
}
