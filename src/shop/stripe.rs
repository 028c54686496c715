//! The adapter for Stripe, or for the fake provider that speaks Stripe's API, as it is configured: with its secrets.
//!
//! Depends on the rooms below.

use std::{io, path::Path, sync::Arc};

use secrecy::{ExposeSecret, SecretString};

use super::OpenShopError;
use crate::{
    config::{Payments, Provider, Secret},
    payments::{
        Gateway,
        stripe::{API_URL, FAKE_KEY, NAME, Stripe, StripeConfig},
    },
    text_file,
};

/// The name of the fake provider over HTTP, which speaks Stripe's API.
const SIMULATOR: &str = "simulator";
/// How long one answer of the provider may take, in milliseconds. What the shop asks of it may take several answers.
const ANSWER_MS_MAX: u64 = 10_000;
/// How many secrets of notices may be live: one, and the one that takes its place.
const WEBHOOK_SECRETS_MAX: usize = 2;

/// The adapter for this configuration.
pub(super) fn open(payments: &Payments) -> Result<Arc<dyn Gateway>, OpenShopError> {
    let (name, url, key, return_url) = if payments.provider == Provider::Stripe {
        let key = secret(payments.key.as_ref(), payments.key_file.as_deref())?;
        let url = payments.url.clone().unwrap_or_else(|| API_URL.to_owned());
        (NAME, url, key.unwrap_or_default(), payments.return_url.clone())
    } else {
        let url = payments.url.clone().unwrap_or_default();
        // The fake provider's customers come back to itself unless they are to go elsewhere.
        let return_url = payments.return_url.clone().or_else(|| Some(url.clone()));
        (SIMULATOR, url, FAKE_KEY.into(), return_url)
    };
    let webhook_secrets = webhook_secrets(payments)?;
    let config = StripeConfig { name, api_url: url, key, webhook_secrets, return_url, answer_ms_max: ANSWER_MS_MAX };
    Ok(Arc::new(Stripe::new(config)?))
}

/// A secret that is given, or stands in a file.
fn secret(given: Option<&Secret>, file: Option<&Path>) -> Result<Option<SecretString>, OpenShopError> {
    if let Some(given) = given {
        return Ok(Some(given.get().clone()));
    }
    let Some(file) = file else { return Ok(None) };
    let at_fault = |source| OpenShopError::Secret { file: file.to_owned(), source };
    text_file::warn_if_open(file);
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
