//! The signature of events: Stripe's scheme, `t=<seconds>,v1=<hex>`, an HMAC-SHA-256 over the seconds, a full stop and
//! the body.
//!
//! Depends on no other file of its crate.

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};

/// The header of an event signed at this moment, in seconds since 1970.
pub(crate) fn sign(secret: &SecretString, body: &[u8], seconds: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    format!("t={seconds},v1={}", data_encoding::HEXLOWER.encode(context.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_that_of_stripes_documents() {
        // Computed by `printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac new`.
        let header = sign(&SecretString::from("new"), br#"{"id":"evt_1"}"#, 1_700_000_000);
        assert_eq!(header, "t=1700000000,v1=cf693a4b560b05592ce075bbc072d5b59db3a490a3d56fe963680673d41ce564");
    }
}
