//! How notices are signed: Stripe's scheme, `t=<seconds>,v1=<hex>`, an HMAC-SHA-256 over the seconds, a full stop and
//! the raw body.
//!
//! Several `v1` may stand in one header, and several secrets may be live, so that a secret can be replaced without
//! losing a notice. Depends on nothing of its room.

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER_PERMISSIVE;
use secrecy::{ExposeSecret, SecretString};

use super::NoticeRefused;
use crate::domain::entity::Timestamp;

/// How far the time of a signature may be from ours, in seconds: an old notice cannot be played again for longer.
const TOLERANCE_SECONDS: u64 = 300;
/// How many signatures of a header are looked at.
const SIGNATURES_MAX: usize = 8;

/// The header of a notice that is signed at this moment.
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

/// Holds a header against the raw body of a notice.
///
/// # Errors
/// [`NoticeRefused::NotSetUp`] without secrets, [`NoticeRefused::Signature`] where none of them made it, or not lately.
pub fn verify(header: &str, secrets: &[SecretString], body: &[u8], now: Timestamp) -> Result<(), NoticeRefused> {
    if secrets.is_empty() {
        return Err(NoticeRefused::NotSetUp);
    }
    let mut times = header.split(',').filter_map(|part| part.trim().strip_prefix("t="));
    let (Some(seconds), None) = (times.next(), times.next()) else {
        return Err(NoticeRefused::Signature("it has no time"));
    };
    let at: u64 = seconds.parse().map_err(|_| NoticeRefused::Signature("it has no time"))?;
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
        return Err(NoticeRefused::Signature("none of the secrets made it"));
    }
    // After the signature, so that nobody else learns what time it is here.
    if at.abs_diff(now.0 / 1_000) > TOLERANCE_SECONDS {
        return Err(NoticeRefused::Signature("it is too old, or from the future"));
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
    fn what_was_signed_with_a_live_secret_holds_for_five_minutes_either_way() {
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
