//! Opens what a shop needs: its directory, journal, keys, index and provider, in this order, and compares them with
//! each other.
//!
//! Depends on the rooms below.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    OpenShopError, Parts, data_directory, ending, provider,
    store_identity::{self, IdentityWriter, StoreIdentity},
};
use crate::{
    config::{
        Config, Retention,
        layout::{IDENTITY, JOURNAL, SEARCH, STORE_IDENTITY},
    },
    identity::{
        Identity, IdentityConfig, IdentityError,
        keys::{self, KeyError},
    },
    payments::Gateway,
    search::Search,
    storage::{Journal, JournalConfig, JournalLimits, OpenError, Position},
};

/// How long an open waits for the directory of a shop that was dropped in this process.
const DROPPED_WAIT: Duration = Duration::from_secs(10);
/// The interval of the checks for that.
const DROPPED_POLL: Duration = Duration::from_millis(5);

/// What a shop needs before its actors start.
pub(super) struct Foundation {
    pub(super) journal: Journal,
    pub(super) identity: Identity,
    pub(super) search: Search,
    pub(super) gateway: Arc<dyn Gateway>,
    pub(super) identity_writer: IdentityWriter,
}

impl Foundation {
    /// Opens all parts. A shop that was dropped in this process releases its directory a moment later, so this waits
    /// for it.
    pub(super) async fn open(config: &Config, parts: &Parts) -> Result<Self, OpenShopError> {
        let begun = Instant::now();
        loop {
            let may_wait = ending::is_pending() && begun.elapsed() < DROPPED_WAIT;
            let (config, parts) = (config.clone(), parts.clone());
            let opened = tokio::task::spawn_blocking(move || Self::open_once(&config, &parts)).await;
            match opened.map_err(|error| OpenShopError::Actors(error.into()))? {
                Err(OpenShopError::Storage(OpenError::Locked(_))) if may_wait => {
                    tokio::time::sleep(DROPPED_POLL).await;
                }
                opened => return opened,
            }
        }
    }

    /// Blocks.
    fn open_once(config: &Config, parts: &Parts) -> Result<Self, OpenShopError> {
        let (data, clock, gateway) = (&config.data_dir, &parts.clock, parts.gateway.clone());
        data_directory::make(data)?;
        data_directory::refuse_unfinished_restore(data)?;
        data_directory::check_kinds(data)?;
        if !store_identity::is_in(data) {
            // Whoever expects one there reads here that its disk is not mounted.
            tracing::info!(directory = %data.display(), "there was no shop in the data directory: a new one is made");
        }
        if let Some(proof) = store_identity::shop_without_journal(data) {
            return Err(OpenShopError::JournalMissing { journal: data.join(JOURNAL), proof });
        }
        let mut journal = JournalConfig::new(data.join(JOURNAL));
        journal.limits = journal_limits(&config.retention);
        #[cfg(test)]
        if let Some(files) = &parts.files {
            journal.files = Arc::clone(files);
        }
        let journal = Journal::open(journal)?;
        let found = StoreIdentity::read(data)?;
        if let Some(found) = &found {
            found.check_journal(data, &journal)?;
            found.check_clock(clock);
        }
        let has_data = journal.durable() > Position::BEGINNING;
        check_keys(data, found.as_ref(), has_data)?;
        if has_data {
            warn_of_missing_parts(data, found.as_ref());
        }
        let identity = Identity::open(&data.join(IDENTITY), journal.store(), &identity_config(config), clock)?;
        let search = Search::open_for(&data.join(SEARCH), journal.store(), &|position| journal.can_follow(position))?;
        let known_bytes = found.as_ref().map_or(0, |found| found.ledger);
        let ledger = provider::ledger(config).filter(|_| gateway.is_none());
        let gateway = match gateway {
            Some(gateway) => gateway,
            None => provider::open(config, &journal, known_bytes)?,
        };
        let identity_writer = IdentityWriter::start(data, &journal, identity.fingerprint(), ledger, (clock, found))?;
        Ok(Self { journal, identity, search, gateway, identity_writer })
    }
}

/// Passwords can only be verified with the secret key, so a shop with data is not opened without it, nor with that of
/// another shop. A first start that was interrupted has no keys either, but its journal is empty.
fn check_keys(data: &Path, found: Option<&StoreIdentity>, has_data: bool) -> Result<(), OpenShopError> {
    let directory = data.join(IDENTITY);
    let fingerprint = keys::fingerprint(&directory).map_err(IdentityError::from)?;
    match (fingerprint, found) {
        (None, _) if has_data => {
            let path = directory.join(keys::SECRET_FILE);
            Err(IdentityError::from(KeyError::SecretMissing { path }).into())
        }
        (Some(keys), Some(found)) if keys != found.keys => {
            Err(OpenShopError::OtherKeys { directory, file: data.join(STORE_IDENTITY) })
        }
        _ => Ok(()),
    }
}

/// Logs a warning for each part that is made anew.
fn warn_of_missing_parts(data: &Path, found: Option<&StoreIdentity>) {
    if found.is_none() {
        let file = data.join(STORE_IDENTITY);
        tracing::warn!(file = %file.display(), "the shop's identity is missing: it is taken from the journal and the keys");
    }
    if !data.join(IDENTITY).join(keys::SIGNING_FILE).exists() {
        tracing::warn!("signing.key is missing: it is made anew, and access tokens that are out end");
    }
    if !Search::is_present(&data.join(SEARCH)) {
        let directory = data.join(SEARCH);
        tracing::warn!(directory = %directory.display(), "the search index is missing: it is built anew");
    }
}

fn identity_config(config: &Config) -> IdentityConfig {
    IdentityConfig {
        issuer: config.token_issuer.clone(),
        audience: config.token_issuer.clone(),
        access_ms: config.access_token_seconds.saturating_mul(1_000),
        session_ms: config.session_days.saturating_mul(86_400_000),
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
