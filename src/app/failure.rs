//! Classifies errors for the exit code and the control socket. A command's own process and the running shop use the
//! same kinds; the shop sends the kind with the reason.
//!
//! May depend on `shop`.

use std::{error::Error as StdError, io, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::shop::{
    Error, IdentityError, KeyError, LedgerError, NotDelivered, OpenShopError, PasswordError, StorageFault as Fault,
    StorageOpenError as OpenError, upkeep::UpkeepError,
};

/// What a supervisor can do about a failure. docs/OPERATIONS.md has the exit codes as a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Anything that has no kind of its own.
    Other,
    /// The command line, a setting or a permission is wrong, so another try fails in the same way.
    Usage,
    /// Data is missing, damaged or belongs to another shop: an operator must look at it.
    Data,
    /// The directory or the port is in use, the disk is full, or the shop is stopping: another try may succeed.
    Temporary,
}

/// The text of an error with its kind.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    pub reason: String,
    pub kind: FailureKind,
}

impl Failure {
    /// The failure with the text of an error. The first error in the source chain that has a kind decides.
    #[must_use]
    pub fn of(error: &(dyn StdError + 'static)) -> Self {
        let (mut cause, mut kind) = (Some(error), None);
        while let (Some(error), None) = (cause, kind) {
            kind = FailureKind::of(error);
            cause = error.source();
        }
        Self { reason: error.to_string(), kind: kind.unwrap_or(FailureKind::Other) }
    }
}

impl FailureKind {
    /// The kind of an error, without regard to its causes; `None` where it has none of its own.
    #[must_use]
    pub fn of(error: &(dyn StdError + 'static)) -> Option<Self> {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return Some(failure.kind);
        }
        if let Some(error) = error.downcast_ref() {
            return Some(Self::of_opening(error));
        }
        if let Some(error) = error.downcast_ref() {
            return Some(Self::of_upkeep(error));
        }
        if let Some(error) = error.downcast_ref() {
            return Self::of_shop(error);
        }
        if let Some(fault) = error.downcast_ref() {
            return Some(Self::of_fault(fault));
        }
        if let Some(error) = error.downcast_ref() {
            return Some(Self::of_storage(error));
        }
        let arc = error.downcast_ref::<Arc<io::Error>>().map(|error| &**error);
        arc.or_else(|| error.downcast_ref()).map(Self::of_io)
    }

    fn of_shop(error: &Error) -> Option<Self> {
        match error {
            Error::NotDelivered(NotDelivered::Busy | NotDelivered::ReadOnly) => Some(Self::Temporary),
            // What somebody has typed.
            Error::Email(_) | Error::Password(PasswordError::Length { .. } | PasswordError::ControlCharacter) => {
                Some(Self::Usage)
            }
            Error::Fault(fault) => Self::of(&**fault),
            _ => None,
        }
    }

    fn of_opening(error: &OpenShopError) -> Self {
        match error {
            OpenShopError::Config(_)
            | OpenShopError::NotADirectory(_)
            | OpenShopError::Misplaced { .. }
            | OpenShopError::Gateway(_)
            | OpenShopError::Secret { .. }
            | OpenShopError::SecretForm { .. } => Self::Usage,
            OpenShopError::Directory { source, .. } => Self::of_io(source),
            OpenShopError::Ledger { source: LedgerError::Io(source), .. } => Self::of_io(source),
            OpenShopError::Storage(error) => Self::of_storage(error),
            OpenShopError::Identity(IdentityError::Keys(error)) => Self::of_keys(error),
            OpenShopError::Search(error) => error.cause.as_deref().map_or(Self::Other, Self::of_io),
            OpenShopError::Identity(IdentityError::Config { .. }) => Self::Usage,
            OpenShopError::Runtime
            | OpenShopError::Actors(_)
            | OpenShopError::Identity(IdentityError::Passwords(_)) => Self::Other,
            // All other reasons why a shop does not open are in its data directory.
            _ => Self::Data,
        }
    }

    fn of_storage(error: &OpenError) -> Self {
        match error {
            OpenError::Locked(_) => Self::Temporary,
            OpenError::Fault(fault) => Self::of_fault(fault),
            _ => Self::Data,
        }
    }

    fn of_upkeep(error: &UpkeepError) -> Self {
        match error {
            UpkeepError::Exists(_) | UpkeepError::Within { .. } => Self::Usage,
            UpkeepError::Target(error) => Self::of_opening(error),
            UpkeepError::InUse(_) => Self::Temporary,
            UpkeepError::Storage(fault) => Self::of_fault(fault),
            UpkeepError::Keys(error) => Self::of_keys(error),
            UpkeepError::Io { source, .. } => Self::of_io(source),
            UpkeepError::NoBackup { .. } | UpkeepError::Damaged(_) => Self::Data,
            UpkeepError::Cut(_) => Self::Other,
        }
    }

    fn of_fault(fault: &Fault) -> Self {
        match fault {
            Fault::Io { source, .. } => Self::of_io(source),
            Fault::Damaged(_) => Self::Data,
            // The shop was stopped meanwhile.
            Fault::Closed => Self::Temporary,
            Fault::State(_) | Fault::TooLarge { .. } | Fault::Failed => Self::Other,
        }
    }

    fn of_keys(error: &KeyError) -> Self {
        match error {
            KeyError::OpenToOthers { .. } => Self::Usage,
            KeyError::Damaged { .. } | KeyError::OtherShop { .. } | KeyError::SecretMissing { .. } => Self::Data,
            KeyError::Io { source, .. } => Self::of_io(source),
            KeyError::NotMade => Self::Other,
        }
    }

    fn of_io(error: &io::Error) -> Self {
        use io::ErrorKind::{
            AddrInUse, AddrNotAvailable, AlreadyExists, IsADirectory, NotADirectory, PermissionDenied, QuotaExceeded,
            ReadOnlyFilesystem, ResourceBusy, StorageFull,
        };
        match error.kind() {
            // An address may not be available yet while the machine boots.
            AddrInUse | AddrNotAvailable | QuotaExceeded | ResourceBusy | StorageFull => Self::Temporary,
            AlreadyExists | IsADirectory | NotADirectory | PermissionDenied | ReadOnlyFilesystem => Self::Usage,
            _ => Self::Other,
        }
    }
}
