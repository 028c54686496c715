//! Opens the payment provider that is configured.
//!
//! Depends on the rooms below.

use std::{path::PathBuf, sync::Arc};

use super::OpenShopError;
#[cfg(not(feature = "stripe"))]
use crate::config::ConfigError;
use crate::{
    config::{Config, Provider, layout},
    payments::{Gateway, fake_provider::FakeProvider},
    storage::{Journal, Position},
};

/// Where the built-in fake provider keeps its ledger, if the shop uses it.
pub(super) fn ledger(config: &Config) -> Option<PathBuf> {
    let payments = &config.payments;
    let default = || config.data_dir.join(layout::LEDGER);
    (payments.provider == Provider::Simulated).then(|| payments.simulated_ledger.clone().unwrap_or_else(default))
}

/// Opens the provider of this configuration for the shop of this journal. `ledger_bytes` is the length that the ledger
/// of the fake provider is known to have had: a shorter one has lost charges.
pub(super) fn open(config: &Config, journal: &Journal, ledger_bytes: u64) -> Result<Arc<dyn Gateway>, OpenShopError> {
    let payments = &config.payments;
    Ok(match payments.provider {
        Provider::Simulated => {
            let ledger = ledger(config).unwrap_or_default();
            let found = std::fs::metadata(&ledger).map_or(0, |ledger| ledger.len());
            if found == 0 && journal.durable() > Position::BEGINNING {
                let ledger = ledger.display();
                tracing::warn!(%ledger, "the fake provider's ledger is not there: it has forgotten all charges");
            } else if found < ledger_bytes {
                tracing::warn!(
                    ledger = %ledger.display(), bytes = found, known = ledger_bytes,
                    "the fake provider's ledger is shorter than it was: it has forgotten charges"
                );
            }
            let opened = FakeProvider::open_for(&ledger, journal.store());
            Arc::new(opened.map_err(|source| OpenShopError::Ledger { file: ledger, source })?)
        }
        #[cfg(feature = "stripe")]
        Provider::Simulator | Provider::Stripe => super::stripe::open(payments)?,
        #[cfg(not(feature = "stripe"))]
        provider => return Err(ConfigError::NoAdapter { provider }.into()),
    })
}
