//! The adapter for Stripe, or for the fake provider that speaks Stripe's API, as it is configured: with its secrets.
//!
//! Depends on the rooms below.

use std::{path::Path, sync::Arc};

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

const KEY_FORM: &str = "this is not a secret key of Stripe, which begins with sk_test_, sk_live_, rk_test_ or rk_live_ \
     and is one word without quotes";
const WEBHOOK_FORM: &str = "this is not a webhook secret of Stripe, which begins with whsec_ and is one word without quotes; \
     several are separated by a comma, or stand on lines of their own";
const EMPTY: &str = "there is no secret in it";
const TOO_MANY: &str = "at most two webhook secrets may be live";

/// The adapter for this configuration.
pub(super) fn open(payments: &Payments) -> Result<Arc<dyn Gateway>, OpenShopError> {
    let is_stripe = payments.provider == Provider::Stripe;
    let (name, url, key, return_url) = if is_stripe {
        let url = payments.url.clone().unwrap_or_else(|| API_URL.to_owned());
        (NAME, url, stripe_key(payments)?, payments.return_url.clone())
    } else {
        let url = payments.url.clone().unwrap_or_default();
        // The fake provider's customers come back to itself unless they are to go elsewhere.
        let return_url = payments.return_url.clone().or_else(|| Some(url.clone()));
        (SIMULATOR, url, FAKE_KEY.into(), return_url)
    };
    let webhook_secrets = webhook_secrets(payments, is_stripe)?;
    let config = StripeConfig { name, api_url: url, key, webhook_secrets, return_url, answer_ms_max: ANSWER_MS_MAX };
    Ok(Arc::new(Stripe::new(config)?))
}

/// A secret, with the setting or the file that has it.
type Found = (String, SecretString);

/// A secret that is given, or stands in a file.
fn secret(setting: &str, given: Option<&Secret>, file: Option<&Path>) -> Result<Option<Found>, OpenShopError> {
    if let Some(given) = given {
        return Ok(Some((setting.to_owned(), given.get().clone())));
    }
    let Some(file) = file else { return Ok(None) };
    text_file::warn_if_open(file);
    let read = text_file::read(file);
    let text = read.map_err(|source| OpenShopError::Secret { file: file.to_owned(), source })?;
    Ok(Some((file.display().to_string(), text.trim().to_owned().into())))
}

/// Stripe would answer a wrong key only when somebody pays.
fn stripe_key(payments: &Payments) -> Result<SecretString, OpenShopError> {
    let found = secret("payments.key", payments.key.as_ref(), payments.key_file.as_deref())?;
    let Some((origin, key)) = found else { return Ok(SecretString::default()) };
    let text = key.expose_secret();
    let is_key = ["sk_test_", "sk_live_", "rk_test_", "rk_live_"].iter().any(|start| is_word_with(text, start));
    match is_key {
        true => Ok(key),
        false if text.is_empty() => Err(OpenShopError::SecretForm { origin, problem: EMPTY }),
        false => Err(OpenShopError::SecretForm { origin, problem: KEY_FORM }),
    }
}

fn webhook_secrets(payments: &Payments, are_stripes: bool) -> Result<Vec<SecretString>, OpenShopError> {
    let (given, file) = (payments.webhook_secrets.as_ref(), payments.webhook_secrets_file.as_deref());
    let Some((origin, all)) = secret("payments.webhook_secrets", given, file)? else { return Ok(Vec::new()) };
    let wrong = |problem| Err(OpenShopError::SecretForm { origin: origin.clone(), problem });
    let each = all.expose_secret().split([',', '\n']).map(str::trim).filter(|secret| !secret.is_empty());
    let secrets: Vec<&str> = each.collect();
    if secrets.is_empty() {
        return wrong(EMPTY);
    }
    if secrets.len() > WEBHOOK_SECRETS_MAX {
        return wrong(TOO_MANY);
    }
    // The fake provider signs with whatever it is given.
    if are_stripes && !secrets.iter().all(|secret| is_word_with(secret, "whsec_")) {
        return wrong(WEBHOOK_FORM);
    }
    Ok(secrets.into_iter().map(SecretString::from).collect())
}

/// Whether a text is one word that begins like this and goes on.
fn is_word_with(text: &str, start: &str) -> bool {
    let rest = text.strip_prefix(start).unwrap_or_default();
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\''))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(payments: Payments) -> Result<(), String> {
        open(&Payments { provider: Provider::Stripe, ..payments }).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn secrets_of_another_kind_are_refused_with_their_place_and_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("the-file");
        let keys = [
            ("sk_test_abc", true),
            ("rk_live_abc", true),
            ("sk_test_abc\r\n", true),
            ("pk_test_abc", false),
            ("\"sk_test_abc\"", false),
            ("STRIPE_KEY=sk_test_abc", false),
            ("sk_test_", false),
            ("sk_test_abc\nsk_test_abd", false),
            ("whsec_abc", false),
            ("", false),
            (" \n", false),
        ];
        let secrets = [
            ("whsec_abc", true),
            ("whsec_abc\nwhsec_abd\n", true),
            ("whsec_abc,whsec_abd", true),
            ("whsec_abc,whsec_abd,whsec_abe", false),
            ("sk_test_abc", false),
            ("'whsec_abc'", false),
            ("whsec_abc whsec_abd", false),
            ("", false),
        ];
        let good = || Some(Secret::new("sk_test_1".to_owned()));
        for (is_key, text, is_good) in keys
            .map(|(text, good)| (true, text, good))
            .into_iter()
            .chain(secrets.map(|(text, good)| (false, text, good)))
        {
            std::fs::write(&file, text).unwrap();
            let in_file = if is_key {
                Payments { key_file: Some(file.clone()), ..Payments::default() }
            } else {
                Payments { key: good(), webhook_secrets_file: Some(file.clone()), ..Payments::default() }
            };
            let given = Some(Secret::new(text.trim().to_owned()));
            let in_setting = if is_key {
                Payments { key: given, ..Payments::default() }
            } else {
                Payments { key: good(), webhook_secrets: given, ..Payments::default() }
            };
            let setting = if is_key { "payments.key: " } else { "payments.webhook_secrets: " };
            for (payments, place) in [(in_file, "the-file: "), (in_setting, setting)] {
                let outcome = opened(payments);
                let is_refused = |said: &String| said.contains(place) && !said.contains("abc");
                assert!(outcome.as_ref().err().map_or(is_good, is_refused), "{text:?} in {place}: {outcome:?}");
                assert_eq!(outcome.is_ok(), is_good, "{text:?}");
            }
        }
    }
}
