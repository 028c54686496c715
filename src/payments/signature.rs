//! The signature of notices: Stripe's scheme, `t=<seconds>,v1=<hex>`, an HMAC-SHA-256 over the seconds, a full stop and
//! the raw body.
//!
//! A header may have several `v1`, and several secrets may be valid, so that a secret can be replaced without losing a
//! notice. Depends on `domain` and on no other file of its room.

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER_PERMISSIVE;
use secrecy::{ExposeSecret, SecretString};

use super::NoticeRefused;
use crate::domain::entity::Timestamp;

/// How far the time of a signature may differ from the shop's clock, in seconds. It limits for how long an old notice
/// can be replayed.
const TOLERANCE_SECONDS: u64 = 300;
/// How many signatures of a header are checked.
const SIGNATURES_MAX: usize = 8;

/// The header of a notice signed at this moment.
#[cfg(any(test, feature = "internals"))]
#[must_use]
pub fn sign(secret: &SecretString, body: &[u8], at: Timestamp) -> String {
    let seconds = at.0 / 1_000;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    format!("t={seconds},v1={}", data_encoding::HEXLOWER.encode(context.sign().as_ref()))
}

/// Checks the header of a notice against its raw body.
///
/// # Errors
/// [`NoticeRefused::NotSetUp`] without secrets, [`NoticeRefused::Signature`] if none of them made it, or if it is too
/// old or in the future.
pub fn verify(header: &str, secrets: &[SecretString], body: &[u8], now: Timestamp) -> Result<(), NoticeRefused> {
    if secrets.is_empty() {
        return Err(NoticeRefused::NotSetUp);
    }
    let mut times = header.split(',').filter_map(|part| part.trim().strip_prefix("t="));
    let (Some(seconds), None) = (times.next(), times.next()) else {
        return Err(NoticeRefused::Signature("the header has no time"));
    };
    let at: u64 = seconds.parse().map_err(|_| NoticeRefused::Signature("the header has no time"))?;
    let message = [seconds.as_bytes(), b".", body].concat();
    let signatures = header.split(',').filter_map(|part| part.trim().strip_prefix("v1="));
    let signatures = signatures.take(SIGNATURES_MAX).filter_map(|hex| HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok());
    let made_by = |signature: &[u8]| {
        let made = |secret: &SecretString| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
            hmac::verify(&key, &message, signature).is_ok()
        };
        secrets.iter().any(made)
    };
    if !signatures.into_iter().any(|signature| made_by(&signature)) {
        return Err(NoticeRefused::Signature("no configured secret made it"));
    }
    // Checked after the signature, so that nobody else learns the shop's time.
    if at.abs_diff(now.0 / 1_000) > TOLERANCE_SECONDS {
        return Err(NoticeRefused::Signature("it is too old or in the future"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);
    const BODY: &[u8] = br#"{"id":"evt_1"}"#;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    #[test]
    fn a_signature_of_a_valid_secret_is_accepted_for_five_minutes_either_way() {
        let live = [secret("new"), secret("old")];
        for made_with in ["new", "old"] {
            let header = sign(&secret(made_with), BODY, NOW);
            for (shift, holds) in
                [(0_i64, true), (300_000, true), (-300_000, true), (301_000, false), (-301_000, false)]
            {
                let now = Timestamp(NOW.0.saturating_add_signed(shift));
                assert_eq!(verify(&header, &live, BODY, now).is_ok(), holds, "{made_with} after {shift} ms");
            }
        }
    }

    #[test]
    fn the_scheme_is_that_of_the_providers_documents() {
        // Computed by `printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac new`.
        let header = sign(&secret("new"), BODY, NOW);
        assert_eq!(header, "t=1700000000,v1=cf693a4b560b05592ce075bbc072d5b59db3a490a3d56fe963680673d41ce564");
    }

    #[test]
    fn anything_else_is_refused() {
        let live = [secret("new")];
        let good = sign(&secret("new"), BODY, NOW);
        let hex = good.split_once("v1=").unwrap().1;
        let headers = [
            String::new(),
            "nonsense".into(),
            "t=1700000000".into(),
            format!("v1={hex}"),
            format!("t=1700000001,v1={hex}"),
            format!("t=1700000000,t=1700000000,v1={hex}"),
            format!("t=,v1={hex}"),
            format!("t=1700000000,v0={hex}"),
            format!("t=1700000000,v1={}", &hex[2..]),
            "t=1700000000,v1=".into(),
            sign(&secret("retired"), BODY, NOW),
            format!("t=1700000000,{}v1={hex}", "v1=00,".repeat(SIGNATURES_MAX)),
        ];
        for header in headers {
            assert!(matches!(verify(&header, &live, BODY, NOW), Err(NoticeRefused::Signature(_))), "{header}");
        }
        assert!(verify(&good, &live, br#"{"id":"evt_2"}"#, NOW).is_err(), "another body");
        assert_eq!(verify(&good, &[], BODY, NOW), Err(NoticeRefused::NotSetUp));
        let among = format!("t=1700000000,v1=00,v0=abc,v1={}", hex.to_uppercase());
        assert_eq!(verify(&among, &live, BODY, NOW), Ok(()), "one of several signatures is enough");
    }
}
