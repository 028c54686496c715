//! How many requests a client may send.
//!
//! Depends on nothing of the crate.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Whether something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Switch {
    On,
    Off,
}

/// How many requests a client may send within a minute or an hour. A client that has been silent for as long may send
/// them all at once. The client is the user of a valid token, or else the peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// The requests of a client, each counted by its cost: 1 for a read, 2 for a write, 4 for a list or a search.
    pub requests_per_minute: u32,
    /// The logins of a peer, whoever it logs in.
    pub logins_per_minute: u32,
    /// The logins of a peer to one account since the last one with the right password.
    pub wrong_passwords_per_hour: u32,
    /// The registrations of a peer.
    pub registrations_per_hour: u32,
    /// The reviews of a user.
    pub reviews_per_hour: u32,
    /// The notices of a peer: there is one for each payment, and a provider has few addresses.
    pub notices_per_minute: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            requests_per_minute: 12_000,
            logins_per_minute: 600,
            wrong_passwords_per_hour: 30,
            registrations_per_hour: 600,
            reviews_per_hour: 120,
            notices_per_minute: 60_000,
        }
    }
}

impl Rates {
    /// Checks that no limit is below the cost of a single request.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let limits = [
            (self.requests_per_minute, "rates.requests_per_minute"),
            (self.logins_per_minute, "rates.logins_per_minute"),
            (self.wrong_passwords_per_hour, "rates.wrong_passwords_per_hour"),
            (self.registrations_per_hour, "rates.registrations_per_hour"),
            (self.reviews_per_hour, "rates.reviews_per_hour"),
            (self.notices_per_minute, "rates.notices_per_minute"),
        ];
        match limits.into_iter().find(|(limit, _)| *limit < 4) {
            Some((_, setting)) => Err(ConfigError::Bounds { setting, rule: "at least 4" }),
            None => Ok(()),
        }
    }
}
