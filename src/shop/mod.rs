//! The shop as a library: what shoppers, sellers and operators can do, as Rust functions on [`Shop`].
//!
//! [`Shop::open`] composes storage, actors and projections; each file beside this one is a capability. The HTTP edge
//! only translates requests into these calls, and a program that embeds the shop makes the same ones.
//!
//! May depend on `search`, `actors`, `storage`, `payments`, `identity` and `domain`.

mod access;
pub mod accounts;
mod applications;
pub mod carts;
pub mod catalogue;
mod data_directory;
mod ending;
pub mod erasure;
pub mod error;
mod figures;
mod foundation;
pub mod import;
pub mod issues;
mod lists;
pub mod notices;
mod once;
mod order_events;
pub mod order_lists;
pub mod orders;
pub mod payments;
mod provider;
pub mod refunds;
pub mod reviews;
pub mod search;
pub mod sellers;
pub mod stock;
mod store_identity;
#[cfg(feature = "stripe")]
mod stripe;
#[cfg(test)]
mod tests;
mod unpaid_units;
pub mod upkeep;

use std::{path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{runtime::Handle, task::AbortHandle};
use tokio_util::sync::CancellationToken;

use self::{
    ending::Ending,
    foundation::Foundation,
    once::{KeysInFlight, Once},
    store_identity::IdentityWriter,
};
pub use self::{
    error::{Allowed, Error, Missing},
    figures::{Figures, ISSUES_COUNTED_MAX, StorageFigures},
    lists::PAGE_ITEMS_MAX,
    order_events::{IssuedTicket, OrderEvents},
};
use crate::{
    actors::{
        directory::DirectoryLimits,
        drive::DriveLimits,
        follower::Progress,
        projection::{Projection, ProjectionFault},
        runtime::{ReadModel, Runtime, RuntimeParts},
    },
    clock::Clock,
    config::{Config, ConfigError},
    identity::Identity,
    payments::{Gateway, guard::Guarded},
    search::{IndexProjection, Search},
    storage::Journal,
};
pub use crate::{
    actors::{
        erasure::Finished,
        figures::{Actors, Busiest, KindFigures, Slow},
        follower::CaughtUp,
        lists::Listed,
        reconciler::{Pass, Reconciled},
        reply::{Changed, NotDelivered},
        sales::{MOVING, Reservation, Sales},
    },
    domain::{
        cursor::{Cursor, InvalidCursor},
        order::Stage,
    },
    identity::{
        IdentityError, Issued, Principal, TokenError, email::InvalidEmail, keys::KeyError, passwords::PasswordError,
        revocations::RevocationStatus,
    },
    payments::{
        AmountRefused, UnknownMethod,
        fake_provider::LedgerError,
        guard::{BreakerState, Call, CallMetrics, CallOutcome, GatewayFigures},
    },
    search::{
        CategoryCount, Hit, OpenError as SearchOpenError, PAGE_PRODUCTS_DEFAULT, PAGE_PRODUCTS_MAX, QUERY_BYTES_MAX,
        SearchError, SearchPage, SearchRequest, Sort, Status as SearchStatus,
    },
    storage::{
        Compacted, CopyProgress, Damage as StorageDamage, Fault as StorageFault, OpenError as StorageOpenError,
        Position, Status as StorageStatus,
    },
};

/// The least time between two commits of the lists while nobody waits for them, in milliseconds: most orders come and
/// go through several stages within it, of which only the last is written.
const LISTS_COMMIT_MS_MIN: u64 = 500;

/// How long the end of a rebuild is waited for before it is looked for again.
const CATCH_UP: Duration = Duration::from_secs(60);

/// Why a shop cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenShopError {
    /// A setting is out of bounds.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no tokio runtime, or it has no clock.
    #[error("the shop needs a tokio runtime with time enabled (`enable_all` of its builder)")]
    Runtime,
    /// A file or a directory cannot be made, read or written.
    #[error("{}: {source}", directory.display())]
    #[allow(missing_docs, reason = "the names say it")]
    Directory { directory: PathBuf, source: std::io::Error },
    /// The data directory is a file.
    #[error("{} is a file: data_dir must be a directory, or a path where there is nothing yet", .0.display())]
    NotADirectory(PathBuf),
    /// A part of the data directory is of another kind than it was made as.
    #[error("{} is {found} where a {belongs} belongs: {remedy}", path.display())]
    WrongKind {
        /// The part of the data directory.
        path: PathBuf,
        /// The kind of file that it is.
        found: &'static str,
        /// The kind of file that it should be.
        belongs: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// There is no shop in the directory, and only an existing one was asked for.
    #[error(
        "there is no shop in {}: is the path right, and its disk mounted? \
         `souk serve` or `souk import` makes a new shop",
        .0.display()
    )]
    NoShop(PathBuf),
    /// The directory is a part of a shop, or has one in it.
    #[error(
        "there is no shop in {}, but {} belongs to one: is the path one level too deep or too high? \
         Name the directory that has the shop's journal/ in it, or an empty one",
        directory.display(), found.display()
    )]
    Misplaced {
        /// Where a new shop would have been made.
        directory: PathBuf,
        /// What belongs to a shop.
        found: PathBuf,
    },
    /// A restore into this directory was cut short, so a part of the shop is missing.
    #[error(
        "{} shows that a restore was cut short, so data is missing: \
         run `souk restore` again on this directory; it begins anew",
        .0.display()
    )]
    UnfinishedRestore(PathBuf),
    /// The journal cannot be opened.
    #[error(transparent)]
    Storage(#[from] StorageOpenError),
    /// The keys cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// There was a shop here, and its journal is gone: perhaps its disk is not mounted.
    #[error(
        "{} is missing or empty, but {} shows that there was a shop here: is the journal's disk mounted? \
         If its data is lost, restore the whole data directory from a backup",
        journal.display(), proof.display()
    )]
    JournalMissing {
        /// Where the journal should be.
        journal: PathBuf,
        /// What shows that there was a shop.
        proof: PathBuf,
    },
    /// The journal was written by another shop.
    #[error(
        "{} is the journal of another shop than the one that {} names: \
         is the right disk mounted? If it is, restore the whole data directory from a backup",
        journal.display(), file.display()
    )]
    OtherJournal {
        /// Where the journal is.
        journal: PathBuf,
        /// What names the right one.
        file: PathBuf,
    },
    /// The log ends before a position that it was known to have reached: it is an older copy, or lost its end.
    #[error(
        "{} ends at byte {end} of the log, but {} knows that it reached byte {known}: data is missing; \
         put the newer journal back, or restore the whole data directory from a backup; \
         if this older journal is wanted, delete {}",
        journal.display(), file.display(), file.display()
    )]
    OlderJournal {
        /// Where the journal is.
        journal: PathBuf,
        /// What names the position.
        file: PathBuf,
        /// The position, in bytes.
        known: u64,
        /// Where the log ends, in bytes.
        end: u64,
    },
    /// The ledger of the built-in fake provider is not this shop's, or is damaged.
    #[error("{}: {source}", file.display())]
    Ledger {
        /// The ledger.
        file: PathBuf,
        /// What is wrong with the ledger.
        source: LedgerError,
    },
    /// What names the shop's journal and keys cannot be read.
    #[error(
        "{} is damaged: restore it from a backup; if journal/ and identity/ are certainly of the same shop, delete it",
        .0.display()
    )]
    IdentityDamaged(PathBuf),
    /// The accounts were written with other keys.
    #[error(
        "the keys in {} are not those that this shop's accounts were written with, by {}: \
         restore both from the same backup as the journal",
        directory.display(), file.display()
    )]
    OtherKeys {
        /// Where the keys are.
        directory: PathBuf,
        /// What names the right ones.
        file: PathBuf,
    },
    /// The payment provider cannot be asked.
    #[cfg(feature = "stripe")]
    #[error("the payment provider: {0}")]
    Gateway(#[from] crate::payments::ClientError),
    /// A secret cannot be read.
    #[error("the secret in {}: {source}", file.display())]
    Secret {
        /// Where the secret should be.
        file: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// A secret is not of the form that the provider gives to such secrets. The error does not show it.
    #[error("{origin}: {problem}")]
    SecretForm {
        /// The setting or the file that has it.
        origin: String,
        /// What it should be.
        problem: &'static str,
    },
    /// The search index cannot even be made.
    #[error(transparent)]
    Search(#[from] SearchOpenError),
    /// The actors do not start.
    #[error("the actors do not start: {0}")]
    Actors(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a shop is opened with, beside its configuration.
#[derive(Clone)]
pub struct Parts {
    /// Where the time comes from.
    pub clock: Clock,
    /// Who takes the money; `None` for the one that is configured.
    pub gateway: Option<Arc<dyn Gateway>>,
    /// The disk under the journal, for tests that make it slow or break it.
    #[cfg(test)]
    files: Option<Arc<dyn crate::storage::Files>>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            gateway: None,
            #[cfg(test)]
            files: None,
        }
    }
}

/// A running shop. Cheap to clone; all clones are the same shop.
#[derive(Clone)]
pub struct Shop(Arc<Inner>, Option<Arc<Once>>);

impl std::fmt::Debug for Shop {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Shop({})", self.0.config.data_dir.display())
    }
}

struct Inner {
    config: Config,
    clock: Clock,
    journal: Journal,
    identity: Identity,
    search: Search,
    gateway: Arc<Guarded>,
    runtime: Runtime,
    search_progress: Progress,
    /// Up to where the log was durable when the shop was opened.
    opened_at: Position,
    identity_writer: IdentityWriter,
    import_locks: import::ProductLocks,
    in_flight: KeysInFlight,
    ending: Ending,
}

impl Shop {
    /// Opens the shop in its data directory, or makes a new one there.
    ///
    /// # Errors
    /// [`OpenShopError`]: the directory is in use, damaged, or was emptied.
    pub async fn open(config: Config) -> Result<Self, OpenShopError> {
        Self::open_with(config, Parts::default()).await
    }

    /// Opens the shop in its data directory, and makes none where there is none: an empty one in the place of a disk
    /// that is not mounted would be copied or exported without a word.
    ///
    /// # Errors
    /// [`OpenShopError::NoShop`], or why the shop cannot be opened.
    pub async fn open_existing(config: Config) -> Result<Self, OpenShopError> {
        config.check()?;
        data_directory::refuse_without_shop(&config.data_dir)?;
        Self::open(config).await
    }

    /// Opens the shop with a clock or a payment provider of the caller's.
    ///
    /// # Errors
    /// [`OpenShopError`].
    pub async fn open_with(config: Config, parts: Parts) -> Result<Self, OpenShopError> {
        config.check()?;
        let ending = Ending::new()?;
        let Foundation { journal, identity, search, gateway, identity_writer } =
            Foundation::open(&config, &parts).await?;
        let (clock, limits) = (parts.clock, &config.limits);
        let directory_limits = DirectoryLimits {
            live_max: limits.live_entities_max,
            idle_ms_max: limits.idle_ms_max,
            mailbox_max: limits.mailbox_max,
            views_bytes_max: limits.views_bytes_max,
            ..DirectoryLimits::default()
        };
        let opened_at = journal.durable();
        let gateway = Arc::new(Guarded::new(gateway, Arc::new(identity_writer.clone())));
        let search_progress = Progress::new("search", journal.clone());
        let runtime = RuntimeParts {
            journal: journal.clone(),
            clock: clock.clone(),
            gateway: Arc::clone(&gateway) as Arc<dyn Gateway>,
            directory_limits,
            drive_limits: DriveLimits::default(),
            lists_commit_ms_min: LISTS_COMMIT_MS_MIN,
            reconcile_every_ms: config.payments.reconcile_seconds.saturating_mul(1_000),
            payment_deadline_ms: config.payment_deadline_ms,
            read_models: vec![ReadModel {
                progress: search_progress.clone(),
                open: search_follower(&search, &search_progress, ending.token()),
                commit_ms_min: limits.search_commit_ms_min,
            }],
        };
        let runtime = Runtime::start(runtime).await.map_err(|error| OpenShopError::Actors(error.into()))?;
        tokio::spawn(ending.token().clone().run_until_cancelled_owned(identity_writer.clone().run()));
        let inner = Inner {
            config,
            clock,
            journal,
            identity,
            search,
            gateway,
            runtime,
            search_progress,
            opened_at,
            identity_writer,
            import_locks: import::ProductLocks::default(),
            in_flight: KeysInFlight::default(),
            ending,
        };
        Ok(Self(Arc::new(inner), None))
    }

    /// Closes the shop: orders under way come to rest, entities answer what is queued, everything is written out, and
    /// streams of events end. Closing it again does nothing.
    ///
    /// Dropping the last clone of a shop that was not closed ends it too: nothing that was acknowledged is lost, but
    /// what was on its way is cut off, and the next start takes longer.
    ///
    /// # Errors
    /// The storage's fault, where something could not be written.
    pub async fn close(&self) -> Result<(), Error> {
        let inner = &self.0;
        inner.ending.begin();
        inner.runtime.close().await;
        // Before the journal lets go of the directory.
        inner.identity_writer.end().await;
        inner.journal.close().await?;
        inner.ending.finish();
        Ok(())
    }

    /// The configuration it was opened with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The configuration, for whoever may see it.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for others than admins.
    pub fn settings(&self, who: &Principal) -> Result<&Config, Error> {
        access::administer(who)?;
        Ok(&self.0.config)
    }

    /// The shop's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Whether the storage takes writes.
    #[must_use]
    pub fn storage_status(&self) -> StorageStatus {
        self.0.journal.status()
    }

    /// Completes when the storage has failed: a write or a sync of the disk went wrong, so nothing is written any more
    /// and the shop must be opened anew. Never completes otherwise.
    pub async fn storage_failed(&self) {
        let mut status = self.0.journal.watch_status();
        if status.wait_for(|status| matches!(status, StorageStatus::Failed(_))).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    #[cfg(feature = "internals")]
    pub(crate) fn journal(&self) -> &Journal {
        &self.0.journal
    }

    #[cfg(feature = "internals")]
    pub(crate) fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// Waits, at most `timeout`, until the lists and the search index contain everything that is durable now, so that a
    /// product that was just listed is found.
    pub async fn catch_up(&self, timeout: Duration) -> CaughtUp {
        let [lists, search] = self.progress();
        match tokio::join!(lists.catch_up(timeout), search.catch_up(timeout)) {
            (CaughtUp::Yes, CaughtUp::Yes) => CaughtUp::Yes,
            _ => CaughtUp::No,
        }
    }

    /// How far the read models have come: lists, search.
    fn progress(&self) -> [&Progress; 2] {
        [&self.0.runtime.lists_progress, &self.0.search_progress]
    }

    /// Whether the lists hold everything that was durable at the start.
    #[must_use]
    pub fn lists_are_whole(&self) -> bool {
        self.has_caught_up(&self.0.runtime.lists_progress)
    }

    /// Whether a read model has read what was durable at the start. Until then it shows an older shop.
    fn has_caught_up(&self, progress: &Progress) -> bool {
        progress.position() >= self.0.opened_at
    }

    /// The payment provider's name, and how it has answered.
    #[must_use]
    pub fn provider(&self) -> (&'static str, GatewayFigures) {
        (self.0.gateway.name(), self.0.gateway.figures())
    }

    /// The actors of the shop, for its operators.
    #[must_use]
    pub fn actors(&self) -> Actors {
        let runtime = &self.0.runtime;
        Actors { kinds: runtime.entities.figures(), restarts: runtime.root.restarts() }
    }

    /// How many entities are alive, by kind.
    #[must_use]
    pub fn live_entities(&self) -> [(&'static str, usize); 9] {
        self.0.runtime.entities.live_counts()
    }
}

fn search_follower(search: &Search, progress: &Progress, ending: &CancellationToken) -> crate::actors::follower::Open {
    let (search, progress, ending) = (search.clone(), progress.clone(), ending.clone());
    let waiting = Mutex::new(None::<AbortHandle>);
    Arc::new(move || -> Result<Box<dyn Projection>, ProjectionFault> {
        let projection = IndexProjection::new(search.clone())?;
        // An index that was opened empty or made anew is complete when it has caught up; until then it says that it is
        // rebuilding. It may begin far behind the one before, so the wait must not begin with the progress of that one.
        progress.begin(projection.position());
        let (rebuilt, progress) = (search.clone(), progress.clone());
        let caught_up = async move {
            while progress.catch_up(CATCH_UP).await == CaughtUp::No {}
            rebuilt.caught_up();
        };
        let task = Handle::current().spawn(ending.clone().run_until_cancelled_owned(caught_up));
        // An index that fails again and again would leave a task behind each time.
        if let Some(earlier) = waiting.lock().replace(task.abort_handle()) {
            earlier.abort();
        }
        Ok(Box::new(projection))
    })
}
