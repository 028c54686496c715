//! The payment provider that is configured, with its secrets.
//!
//! Depends on the rooms below.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use secrecy::{ExposeSecret, SecretString};

use super::OpenShopError;
use crate::{
    config::{Config, Payments, Provider, Secret},
    payments::{
        Gateway,
        fake_provider::FakeProvider,
        stripe::{API_URL, FAKE_KEY, NAME, Stripe, StripeConfig},
    },
    storage::{Journal, Position},
    text_file,
};

/// The simulated provider's ledger in the data directory, unless the settings name another.
pub(super) const LEDGER: &str = "simulated-provider.jsonl";
/// The name of the fake provider over HTTP, which speaks Stripe's API.
const SIMULATOR: &str = "simulator";
/// How long one answer of the provider may take, in milliseconds. What the shop asks of it may take several answers.
const ANSWER_MS_MAX: u64 = 10_000;
/// How many secrets of notices may be live: one, and the one that takes its place.
const WEBHOOK_SECRETS_MAX: usize = 2;

/// Where the built-in provider keeps its ledger, if the shop uses it.
pub(super) fn ledger(config: &Config) -> Option<PathBuf> {
    let payments = &config.payments;
    let default = || config.data_dir.join(LEDGER);
    (payments.provider == Provider::Simulated).then(|| payments.simulated_ledger.clone().unwrap_or_else(default))
}

/// The provider of this configuration, for the shop of this journal. The ledger was known to have so many bytes.
pub(super) fn open(config: &Config, journal: &Journal, ledger_bytes: u64) -> Result<Arc<dyn Gateway>, OpenShopError> {
    let payments = &config.payments;
    Ok(match payments.provider {
        Provider::Simulated => {
            let ledger = ledger(config).unwrap_or_default();
            let found = std::fs::metadata(&ledger).map_or(0, |ledger| ledger.len());
            if found == 0 && journal.durable() > Position::BEGINNING {
                let ledger = ledger.display();
                tracing::warn!(%ledger, "the simulated provider's ledger is not there: it has forgotten all charges");
            } else if found < ledger_bytes {
                tracing::warn!(
                    ledger = %ledger.display(), bytes = found, known = ledger_bytes,
                    "the simulated provider's ledger is shorter than it was: it has forgotten charges"
                );
            }
            let opened = FakeProvider::open_for(&ledger, journal.store());
            Arc::new(opened.map_err(|source| OpenShopError::Ledger { file: ledger, source })?)
        }
        Provider::Simulator => {
            let url = payments.url.clone().unwrap_or_default();
            Arc::new(Stripe::new(StripeConfig {
                name: SIMULATOR,
                // Its customers come back to the provider itself unless they are to go elsewhere.
                return_url: payments.return_url.clone().or_else(|| Some(url.clone())),
                api_url: url,
                key: FAKE_KEY.into(),
                webhook_secrets: webhook_secrets(payments)?,
                answer_ms_max: ANSWER_MS_MAX,
            })?)
        }
        Provider::Stripe => {
            let key = secret(payments.key.as_ref(), payments.key_file.as_deref())?;
            Arc::new(Stripe::new(StripeConfig {
                name: NAME,
                api_url: payments.url.clone().unwrap_or_else(|| API_URL.to_owned()),
                key: key.unwrap_or_default(),
                webhook_secrets: webhook_secrets(payments)?,
                return_url: payments.return_url.clone(),
                answer_ms_max: ANSWER_MS_MAX,
            })?)
        }
    })
}

/// A secret that is given, or stands in a file.
fn secret(given: Option<&Secret>, file: Option<&Path>) -> Result<Option<SecretString>, OpenShopError> {
    if let Some(given) = given {
        return Ok(Some(given.get().clone()));
    }
    let Some(file) = file else { return Ok(None) };
    let at_fault = |source| OpenShopError::Secret { file: file.to_owned(), source };
    let text = text_file::read(file).map_err(at_fault)?;
    if text.trim().is_empty() {
        return Err(at_fault(io::Error::from(io::ErrorKind::UnexpectedEof)));
    }
    Ok(Some(text.trim().to_owned().into()))
}

fn webhook_secrets(payments: &Payments) -> Result<Vec<SecretString>, OpenShopError> {
    let all = secret(payments.webhook_secrets.as_ref(), payments.webhook_secrets_file.as_deref())?;
    let all = all.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
    let each = all.split([',', '\n']).map(str::trim).filter(|secret| !secret.is_empty());
    let secrets: Vec<SecretString> = each.map(|secret| secret.to_owned().into()).collect();
    if secrets.len() > WEBHOOK_SECRETS_MAX {
        return Err(OpenShopError::TooManySecrets);
    }
    Ok(secrets)
}
