//! Rate limits: how many requests a client may send within a time.
//!
//! They bound abuse, by whoever sends thousands of requests where people send dozens; what the shop can do at all is
//! bounded by [`admission`](super::admission). The client is the user of a valid token, or else the peer. Logins,
//! registrations and notices come without a token, so there it is always the peer. A request without a peer is exempt
//! from limits by peer (see [`peer`](super::peer)).
//!
//! The logins of a peer to one account have a limit of their own, before a password is hashed. It counts for this pair
//! alone: whatever others try, the owner of the account can log in.
//!
//! May depend on `config`, `domain` and `shop`.

mod buckets;
mod limit;

use std::{num::NonZeroU32, time::Duration};

use self::limit::Limit;
pub(super) use self::limit::{Exceeded, Left};
use super::{App, error::Problem, peer::Peer};
use crate::{
    config::{self, Config, Switch},
    domain::ids::{AccountId, UserId},
    shop,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// What a request counts where nothing else is said.
pub(super) const COST: NonZeroU32 = NonZeroU32::MIN;
/// What a write counts: it waits for the disk.
pub(super) const WRITE_COST: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
/// What a list or a search counts: it reads up to a hundred things.
pub(super) const LIST_COST: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);

/// The limit that counts a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// That of all requests without one of their own.
    Requests,
    Logins,
    Registrations,
    Reviews,
    Notices,
}

impl Policy {
    /// Whether it counts the requests of a user, if there is one, instead of those of a peer.
    pub(super) fn counts_users(self) -> bool {
        match self {
            Self::Requests | Self::Reviews => true,
            Self::Logins | Self::Registrations | Self::Notices => false,
        }
    }
}

/// The limits of a shop.
pub(super) struct Rates {
    requests: Limit<Client>,
    reviews: Limit<Client>,
    logins: Limit<Peer>,
    registrations: Limit<Peer>,
    notices: Limit<Peer>,
    wrong_passwords: Limit<(Peer, AccountId)>,
}

/// Who sends requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    User(UserId),
    Peer(Peer),
}

impl Rates {
    /// The limits that are configured; `None` if they are off.
    pub(super) fn new(config: &Config) -> Option<Self> {
        let config::Rates {
            requests_per_minute,
            logins_per_minute,
            wrong_passwords_per_hour,
            registrations_per_hour,
            reviews_per_hour,
            notices_per_minute,
        } = config.rates;
        (config.limits.rates == Switch::On).then(|| Self {
            requests: Limit::new("default", requests_per_minute, MINUTE),
            reviews: Limit::new("review", reviews_per_hour, HOUR),
            logins: Limit::new("login", logins_per_minute, MINUTE),
            registrations: Limit::new("registration", registrations_per_hour, HOUR),
            notices: Limit::new("notice", notices_per_minute, MINUTE),
            wrong_passwords: Limit::new("password", wrong_passwords_per_hour, HOUR),
        })
    }

    /// Counts a request. `None` if it is exempt, because its client is not known.
    pub(super) fn take(
        &self,
        policy: Policy,
        cost: NonZeroU32,
        user: Option<UserId>,
        peer: Option<Peer>,
    ) -> Option<Result<Left, Exceeded>> {
        let by_peer = |limit: &Limit<Peer>| peer.map(|peer| limit.take(&peer, cost));
        let client = || user.map(Client::User).or(peer.map(Client::Peer));
        match policy {
            Policy::Requests => client().map(|client| self.requests.take(&client, cost)),
            Policy::Reviews => client().map(|client| self.reviews.take(&client, cost)),
            Policy::Logins => by_peer(&self.logins),
            Policy::Registrations => by_peer(&self.registrations),
            Policy::Notices => by_peer(&self.notices),
        }
    }
}

/// Tries a password of an account. The attempts of a peer on one account are limited, and a right password ends the
/// count.
pub(super) async fn try_password<T>(
    app: &App,
    peer: Option<Peer>,
    account: AccountId,
    attempt: impl Future<Output = Result<T, shop::Error>>,
) -> Result<T, Problem> {
    let limited = app.rates.as_deref().zip(peer.map(|peer| (peer, account)));
    if let Some((rates, pair)) = &limited {
        rates.wrong_passwords.take(pair, COST).map_err(|exceeded| refusal(app, exceeded))?;
    }
    let done = attempt.await?;
    if let Some((rates, pair)) = &limited {
        rates.wrong_passwords.forgive(pair);
    }
    Ok(done)
}

/// Counts a refusal, and answers with it.
pub(super) fn refusal(app: &App, exceeded: Exceeded) -> Problem {
    app.metrics.refused(exceeded.left.name);
    Problem::rate_limited(exceeded)
}
