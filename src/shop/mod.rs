//! The shop as a library: what shoppers, sellers and operators can do, as Rust functions on [`Shop`].
//!
//! [`Shop::open`] composes storage, actors and projections; each file beside this one is a capability. The HTTP edge only
//! translates requests into these calls, and a program that embeds the shop makes the same ones.
//!
//! May depend on `search`, `actors`, `storage`, `payments`, `identity` and `domain`.

mod access;
pub mod accounts;
pub mod carts;
pub mod catalogue;
mod ending;
pub mod erasure;
pub mod error;
pub mod import;
pub mod issues;
pub mod notices;
mod order_events;
pub mod orders;
pub mod payments;
mod provider;
pub mod refunds;
pub mod reviews;
pub mod search;
pub mod stock;
mod store_identity;
pub mod upkeep;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use self::{ending::Ending, store_identity::Match};
pub use self::{
    error::{Error, PAGE_ITEMS_MAX},
    order_events::OrderEvents,
};
use crate::{
    actors::{
        directory::DirectoryLimits,
        drive::DriveLimits,
        follower::{CaughtUp, Progress},
        projection::{Projection, ProjectionFault},
        runtime::{ReadModel, Runtime, RuntimeParts},
    },
    clock::Clock,
    config::{Config, ConfigError, Retention},
    identity::{Identity, IdentityConfig, IdentityError},
    payments::{
        ClientError, Gateway,
        guard::{GatewayFigures, Guarded},
    },
    search::{IndexProjection, Search},
    storage::{Journal, JournalConfig, JournalLimits, OpenError},
};
pub use crate::{
    actors::{
        erasure::Finished,
        reconciler::{Pass, Reconciled},
        reply::{Effect, NotDelivered},
    },
    domain::order::Stage,
    identity::{Principal, passwords::PasswordError},
    payments::guard::{Call, CallOutcome},
    search::{CategoryCount, Cursor, Hit, SearchError, SearchPage, SearchRequest, Sort, Status as SearchStatus},
    storage::Status as StorageStatus,
};

/// The least time between two commits of the lists while nobody waits for them, in milliseconds: most orders come and go through
/// several stages within it, of which only the last is written.
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
    /// The directory cannot be made.
    #[error("{}: {source}", directory.display())]
    Directory {
        /// Which.
        directory: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The storage refuses.
    #[error(transparent)]
    Storage(#[from] OpenError),
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
    #[error("the payment provider: {0}")]
    Gateway(#[from] ClientError),
    /// A secret cannot be read.
    #[error("the secret in {}: {source}", file.display())]
    Secret {
        /// Where it should be.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Notices may be signed with two secrets at most.
    #[error("payments.webhook_secrets: at most two secrets may be live")]
    TooManySecrets,
    /// The search index cannot even be made.
    #[error(transparent)]
    Search(#[from] crate::search::OpenError),
    /// The actors do not start.
    #[error("the actors do not start: {0}")]
    Actors(String),
}

/// What a shop is opened with, beside its configuration.
pub struct Parts {
    /// Where the time comes from.
    pub clock: Clock,
    /// Who takes the money; `None` for the one that is configured.
    pub gateway: Option<Arc<dyn Gateway>>,
}

impl Default for Parts {
    fn default() -> Self {
        Self { clock: Clock::system(), gateway: None }
    }
}

/// A running shop. Cheap to clone; all clones are the same shop.
#[derive(Clone)]
pub struct Shop(Arc<Inner>);

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
    import_turns: import::Turns,
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

    /// Opens the shop with a clock or a payment provider of the caller's.
    ///
    /// # Errors
    /// [`OpenShopError`].
    pub async fn open_with(config: Config, parts: Parts) -> Result<Self, OpenShopError> {
        config.check()?;
        let ending = Ending::new()?;
        let Foundation { journal, identity, search, gateway } = ending::foundation(&config, &parts).await?;
        let (clock, limits) = (parts.clock, &config.limits);
        let directory_limits = DirectoryLimits {
            live_max: limits.live_entities_max,
            idle_ms_max: limits.idle_ms_max,
            mailbox_max: limits.mailbox_max,
            views_bytes_max: limits.views_bytes_max,
            ..DirectoryLimits::default()
        };
        let gateway = Arc::new(Guarded::new(gateway));
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
        let runtime = Runtime::start(runtime).await.map_err(|error| OpenShopError::Actors(error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            config,
            clock,
            journal,
            identity,
            search,
            gateway,
            runtime,
            search_progress,
            import_turns: import::Turns::default(),
            ending,
        })))
    }

    /// Closes the shop: orders under way come to rest, entities answer what is queued, everything is written out, and streams
    /// of events end. Closing it again does nothing.
    ///
    /// Dropping the last clone of a shop that was not closed ends it too: nothing that was acknowledged is lost, but what was
    /// on its way is cut off, and the next start takes longer.
    ///
    /// # Errors
    /// The storage's fault, where something could not be written.
    pub async fn close(&self) -> Result<(), Error> {
        let inner = &self.0;
        inner.ending.begin();
        inner.runtime.close().await;
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

    /// The journal, for figures and its status.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// Tokens and keys.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// How far the read models have come: lists, search.
    #[must_use]
    pub fn progress(&self) -> [&Progress; 2] {
        [&self.0.runtime.lists_progress, &self.0.search_progress]
    }

    /// The payment provider's name, and how it has answered.
    #[must_use]
    pub fn provider(&self) -> (&'static str, GatewayFigures) {
        (self.0.gateway.name(), self.0.gateway.figures())
    }

    /// How many entities are alive, by kind.
    #[must_use]
    pub fn live_entities(&self) -> [(&'static str, usize); 8] {
        self.0.runtime.entities.live_counts()
    }
}

/// What stands on the disk, opened on a blocking thread.
struct Foundation {
    journal: Journal,
    identity: Identity,
    search: Search,
    gateway: Arc<dyn Gateway>,
}

impl Foundation {
    fn open(config: &Config, clock: &Clock, gateway: Option<Arc<dyn Gateway>>) -> Result<Self, OpenShopError> {
        let at = |directory: PathBuf| move |source| OpenShopError::Directory { directory, source };
        let data = &config.data_dir;
        std::fs::create_dir_all(data).map_err(at(data.clone()))?;
        let mut journal = JournalConfig::new(data.join("journal"));
        journal.limits = journal_limits(&config.retention);
        if let Some(proof) = store_identity::shop_without_journal(data) {
            return Err(OpenShopError::JournalMissing { journal: data.join("journal"), proof });
        }
        let journal = Journal::open(journal)?;
        let tokens = IdentityConfig {
            issuer: config.token_issuer.clone(),
            audience: config.token_issuer.clone(),
            access_ms: config.access_token_seconds.saturating_mul(1_000),
            session_ms: config.session_days.saturating_mul(86_400_000),
        };
        let (keys, file) = (data.join("identity"), data.join(store_identity::FILE_NAME));
        if store_identity::keys_are_missing(data, &journal) {
            return Err(OpenShopError::OtherKeys { directory: keys, file });
        }
        let identity = Identity::open(&keys, &tokens, clock)?;
        let parts = store_identity::check(data, journal.store(), identity.fingerprint()).map_err(at(data.clone()))?;
        match parts {
            Match::New | Match::Same => {}
            Match::OtherJournal => return Err(OpenShopError::OtherJournal { journal: data.join("journal"), file }),
            Match::OtherKeys => return Err(OpenShopError::OtherKeys { directory: keys, file }),
            Match::Damaged => return Err(OpenShopError::IdentityDamaged(file)),
        }
        let search = Search::open_for(&data.join("search"), journal.store(), &|position| journal.can_follow(position))?;
        let gateway = match gateway {
            Some(gateway) => gateway,
            None => provider::open(config, parts == Match::New)?,
        };
        Ok(Self { journal, identity, search, gateway })
    }
}

fn journal_limits(retention: &Retention) -> JournalLimits {
    let ms = |days: u64| days.saturating_mul(86_400_000);
    JournalLimits {
        log_keep_bytes: retention.log_bytes,
        log_keep_ms: ms(retention.log_days),
        base_log_bytes: retention.base_log_bytes,
        base_age_ms: ms(retention.base_days),
        base_work_percent: retention.work_percent,
        ..JournalLimits::default()
    }
}

fn search_follower(search: &Search, progress: &Progress, ending: &CancellationToken) -> crate::actors::follower::Open {
    let (search, progress, ending) = (search.clone(), progress.clone(), ending.clone());
    Arc::new(move || -> Result<Box<dyn Projection>, ProjectionFault> {
        // An index that was opened empty or anew is complete when it has caught up; until then it says that it is rebuilding.
        let (rebuilt, progress) = (search.clone(), progress.clone());
        let caught_up = async move {
            while progress.catch_up(CATCH_UP).await == CaughtUp::No {}
            rebuilt.caught_up();
        };
        tokio::runtime::Handle::current().spawn(ending.clone().run_until_cancelled_owned(caught_up));
        Ok(Box::new(IndexProjection::new(search.clone())?))
    })
}
