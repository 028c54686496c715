//! Tickets: what a browser presents to follow an order, because its `EventSource` sends no token.
//!
//! A ticket stands in the address of the stream, where it may be seen; so it is good for one order and for a minute.
//! Like a refresh token it is a sealed text, and nothing is stored for it. Depends on `domain`, [`super::keys`],
//! `sealed`.

use secrecy::SecretString;

use crate::{
    domain::{
        entity::Timestamp,
        ids::{AccountId, OrderId},
    },
    identity::{
        Principal, TokenError,
        keys::{Keys, Purpose},
        sealed::{Fields, Seal},
    },
};

/// How long a ticket is good, in milliseconds: a browser uses it at once, and reconnects a few times with it.
pub const TICKET_MS: u64 = 60_000;

/// The length of account, family, epoch, the end of access, order and expiry.
const CONTENT_BYTES: usize = 16 + 16 + 4 + 8 + 16 + 8;
/// The 1 is the version of the format.
const SEAL: Seal = Seal { prefix: "souk_ticket_1_", purpose: Purpose::Ticket };

/// The content of a ticket with a valid hash. Whether its session still exists is up to the account.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub account: AccountId,
    /// The session.
    pub family: u128,
    /// The account's epoch when its holder's token was issued.
    pub epoch: u32,
    /// When the access of its holder ends, and with it the stream.
    pub access_expires_at: Timestamp,
    /// The only order that it shows.
    pub order: OrderId,
    pub expires_at: Timestamp,
}

impl Ticket {
    /// A ticket for an order. It expires with the caller's access token, if that is sooner.
    #[must_use]
    pub fn new(who: &Principal, order: OrderId, now: Timestamp) -> Self {
        let Principal { account, family, epoch, expires_at: access_expires_at, .. } = *who;
        let expires_at = now.plus_ms(TICKET_MS).min(access_expires_at);
        Self { account, family, epoch, access_expires_at, order, expires_at }
    }

    /// Formats the ticket for the client.
    pub(super) fn write(&self, keys: &Keys) -> SecretString {
        let Self { account, family, epoch, access_expires_at, order, expires_at } = self;
        let (account, family, order) = (account.0.to_be_bytes(), family.to_be_bytes(), order.0.to_be_bytes());
        let times = [access_expires_at, expires_at].map(|time| time.0.to_be_bytes());
        SEAL.write(keys, [&account[..], &family, &epoch.to_be_bytes(), &times[0], &order, &times[1]].concat())
    }

    /// Parses and verifies a ticket.
    pub(super) fn read(keys: &Keys, text: &str, now: Timestamp) -> Result<Self, TokenError> {
        let content: [u8; CONTENT_BYTES] = SEAL.read(keys, text)?;
        let mut fields = Fields(&content);
        let ticket = Self {
            account: AccountId(fields.next_u128()?),
            family: fields.next_u128()?,
            epoch: fields.next_u32()?,
            access_expires_at: fields.next_time()?,
            order: OrderId(fields.next_u128()?),
            expires_at: fields.next_time()?,
        };
        if ticket.expires_at.has_come(now) {
            return Err(TokenError::Expired { expired_at: ticket.expires_at });
        }
        Ok(ticket)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::identity::refresh::RefreshToken;

    const TICKET: Ticket = Ticket {
        account: AccountId(1),
        family: u128::MAX,
        epoch: 3,
        access_expires_at: Timestamp(9_000),
        order: OrderId(7),
        expires_at: Timestamp(5_000),
    };
    const NOW: Timestamp = Timestamp(4_999);

    #[test]
    fn a_ticket_reads_as_it_was_written_until_it_expires_and_is_no_other_token() {
        let keys = Keys::open(&tempfile::tempdir().unwrap().path().join("identity"), 1).unwrap();
        let text = TICKET.write(&keys).expose_secret().to_owned();
        assert_eq!(Ticket::read(&keys, &text, NOW), Ok(TICKET));
        let expired_at = TICKET.expires_at;
        assert_eq!(Ticket::read(&keys, &text, expired_at), Err(TokenError::Expired { expired_at }));
        for at in 0..text.len() {
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            // The last letter has bits beyond the last byte, which must be zero.
            assert!(Ticket::read(&keys, &changed, NOW).is_err(), "{at}");
            assert!(Ticket::read(&keys, &text[..at], NOW).is_err(), "cut to {at}");
        }
        assert_eq!(RefreshToken::read(&keys, &text, NOW), Err(TokenError::TooLong { bytes: 148, bytes_max: 122 }));
        let refresh =
            RefreshToken { account: AccountId(1), family: 1, counter: 1, expires_at: Timestamp(9_000) }.write(&keys);
        assert_eq!(Ticket::read(&keys, refresh.expose_secret(), NOW), Err(TokenError::Malformed));
    }
}
