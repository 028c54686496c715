//! The configuration of a shop: settings, their defaults and their bounds.
//!
//! The program adds a few settings of its own (`app/settings`), and reads all of them from flags, the environment and a
//! file. Depends on nothing of the crate.

pub(crate) mod layout;
mod networks;
mod origins;
mod rates;

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

pub use self::{
    networks::Networks,
    origins::Origins,
    rates::{Rates, Switch},
};

/// The settings of a shop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The directory with all data of the shop.
    pub data_dir: PathBuf,
    /// The issuer (`iss`) and the audience (`aud`) of access tokens.
    pub token_issuer: String,
    /// The lifetime of an access token, in seconds.
    pub access_token_seconds: u64,
    /// The lifetime of a session without another login, in days.
    pub session_days: u64,
    /// How long a placed order may wait for its payment, in milliseconds; its stock is reserved meanwhile.
    pub payment_deadline_ms: u64,
    /// The shipping charge of every order, in minor units of the order's currency.
    pub shipping_flat_minor: u64,
    /// The tax that is added to the prices, in hundredths of a percent (1800 is 18 %), rounded half up.
    pub tax_basis_points: u64,
    /// The proxies in front of the shop: from their connections alone `Forwarded` and `X-Forwarded-For` say who sends a
    /// request. What they send on their own behalf is exempt from limits by peer.
    pub trusted_proxies: Networks,
    /// The payment provider.
    pub payments: Payments,
    /// How much of the log is kept.
    pub retention: Retention,
    /// Who may have an account.
    pub registration: Registration,
    /// How the shop answers over HTTP.
    pub http: Http,
    /// The limits of the running shop.
    pub limits: Limits,
    /// The limits of each client.
    pub rates: Rates,
}

/// Who may have an account.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registration {
    /// How sellers come into the shop.
    pub sellers: Sellers,
}

/// How sellers come into the shop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sellers {
    /// Whoever registers as a seller sells.
    #[default]
    Open,
    /// A seller who registers sells nothing until an admin has approved it.
    Approval,
}

/// How the shop answers over HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// The origins whose pages may call the shop (CORS), such as `https://shop.example`; `*` for every one. By default
    /// none: a shop need not know which web shops belong to it, so whoever has one says so.
    pub cors_origins: Origins,
    /// For how long everybody, such as a CDN, may keep product pages, lists, categories, sellers and reviews, in
    /// seconds; with 0 every answer must be asked for again (and is 304 if it is the same).
    pub cache_seconds: u64,
    /// Whether a change of a product, a stock-taking and a change of a line of a cart must say with `If-Match` what
    /// they change (428 otherwise).
    pub require_if_match: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self { cors_origins: Origins::default(), cache_seconds: 5, require_if_match: false }
    }
}

/// A payment provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Provider {
    /// The built-in fake provider, for demos: no money moves.
    Simulated,
    /// `souk gateway-sim` at `url`.
    Simulator,
    /// Stripe.
    Stripe,
}

/// The payment provider, and how it is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Payments {
    /// The provider that moves the money.
    pub provider: Provider,
    /// The base URL of the provider's API: required for `simulator`, such as `http://127.0.0.1:8081`; by default
    /// Stripe's own for Stripe.
    pub url: Option<String>,
    /// The secret key of the account at the provider. It is never printed.
    #[serde(skip_serializing)]
    pub key: Option<Secret>,
    /// A file with that key.
    pub key_file: Option<PathBuf>,
    /// The secrets with which the provider signs its notices, separated by a comma: one, or two while the old one is
    /// being replaced. They are never printed.
    #[serde(skip_serializing)]
    pub webhook_secrets: Option<Secret>,
    /// A file with those secrets, one on each line.
    pub webhook_secrets_file: Option<PathBuf>,
    /// The page to which customers return from their bank, such as the order's page in the web shop.
    pub return_url: Option<String>,
    /// Whether payments are only held at first, and captured when the seller sends a capture.
    pub capture_later: bool,
    /// The file with the ledger of the built-in fake provider; by default one in the data directory.
    pub simulated_ledger: Option<PathBuf>,
    /// The time between two comparisons of recent orders with the provider's payments, in seconds. The orders of the
    /// last month are compared once a day.
    pub reconcile_seconds: u64,
}

impl Default for Payments {
    fn default() -> Self {
        Self {
            provider: Provider::Simulated,
            url: None,
            key: None,
            key_file: None,
            webhook_secrets: None,
            webhook_secrets_file: None,
            return_url: None,
            capture_later: false,
            simulated_ledger: None,
            reconcile_seconds: 300,
        }
    }
}

/// A secret, which is neither logged nor serialised.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps the text of a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// The secret, for a caller that needs its text.
    #[must_use]
    pub fn get(&self) -> &SecretString {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

/// How much of the log is kept on the disk. The log before the newest base is removed when it exceeds `log_bytes` or
/// `log_days`, or when the disk is nearly full. Erased data is gone from the disk after `log_days + base_days` at the
/// latest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// How many bytes of the log are kept.
    pub log_bytes: u64,
    /// For how many days the log is kept.
    pub log_days: u64,
    /// How many bytes the log grows before the next base is written; at least as many as the last base has.
    pub base_log_bytes: u64,
    /// How many days pass before the next base is written, if anything was written since the last one.
    pub base_days: u64,
    /// The share of the time in which a base or a backup may be written, in percent. The rest is left to the shop.
    pub work_percent: u32,
}

/// The limits of the running shop that an operator may want to change. Limits that are part of a rule are constants
/// beside the rule. Those of connections, bodies and requests belong to the feature `http` and hold nowhere else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Whether the rates of each client are limited. Off for load tests, whose clients share one address.
    pub rates: Switch,
    /// How many requests may be in flight: half of them reads, a quarter writes that start a purchase, and a quarter
    /// writes that continue one. One more is answered with 503 at once, because a queue would delay all of them.
    pub in_flight_max: usize,
    /// How many connections may be open. A connection takes about 30 KB. When all places are taken, the connections
    /// that have been idle for longest make room.
    pub connections_max: usize,
    /// How many of them one peer may have.
    pub connections_per_peer_max: usize,
    /// How many event streams may be open. They do not count as requests in flight.
    pub event_streams_max: usize,
    /// How many event streams of one user may be open.
    pub user_event_streams_max: usize,
    /// How many units of one product one customer may have in orders that are not paid.
    pub unpaid_units_max: u32,
    /// The same for a new account.
    pub new_account_unpaid_units_max: u32,
    /// How long an account counts as new, in hours.
    pub new_account_hours: u64,
    /// The longest request body, in bytes.
    pub body_bytes_max: usize,
    /// How long the TLS handshake of a connection may take, in milliseconds.
    pub handshake_ms_max: u64,
    /// How long a client may take to send the head of a request, from its first byte or from the beginning of the
    /// connection (with TLS, from the end of its handshake), in milliseconds.
    pub header_ms_max: u64,
    /// How long a client may take to send a body, in milliseconds. After `header_ms_max` it must also have come at the
    /// least rate.
    pub body_ms_max: u64,
    /// How many bodies of one peer may be arriving.
    pub bodies_per_peer_max: usize,
    /// How many bytes the bodies that are arriving and the heads of their requests may be, in all. The ones that have
    /// been arriving for longest are given up.
    pub bodies_bytes_max: u64,
    /// How long a connection may be without a request after an answer, in milliseconds. It is longer than what load
    /// balancers and pools of clients keep connections for, so that they are the ones who end them.
    pub keep_alive_ms_max: u64,
    /// How long a client may take the answers that wait for it at less than the least rate, in milliseconds.
    pub write_ms_max: u64,
    /// The least rate at which a client takes an answer and sends a body, in bytes per second.
    pub bytes_per_second_min: u64,
    /// How many bytes of answers may wait for their clients, on all connections together. The clients that have been
    /// behind for longest lose their connections.
    pub unread_bytes_max: u64,
    /// How long a request may take as a whole, in milliseconds.
    pub request_ms_max: u64,
    /// How long a request waits for the outcome of a payment before the answer is "pending", in milliseconds. It is
    /// below `request_ms_max`.
    pub payment_wait_ms_max: u64,
    /// How long the listener stays open after the shop was told to stop and `/readyz` says so, in milliseconds: long
    /// enough for a load balancer to notice.
    pub drain_lead_ms: u64,
    /// How long the requests in flight may take to finish when the shop closes, in milliseconds.
    pub drain_ms_max: u64,
    /// How many actors of each kind of entity may be alive. One takes about 11 KB.
    pub live_entities_max: usize,
    /// How long an entity may be idle before it is passivated, in milliseconds.
    pub idle_ms_max: u64,
    /// How many messages may wait in the mailbox of one entity.
    pub mailbox_max: u32,
    /// The size of the cache of views of each kind of entity, in bytes. The cache of product pages has a quarter of it.
    pub views_bytes_max: usize,
    /// How long a customer's list of orders waits until it includes the newest order, in milliseconds.
    pub list_wait_ms_max: u64,
    /// The least time between two commits of the search index, in milliseconds: searches find a change so much later at
    /// most.
    pub search_commit_ms_min: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("souk-data"),
            token_issuer: "souk".into(),
            access_token_seconds: 900,
            session_days: 30,
            payment_deadline_ms: 15 * 60 * 1_000,
            shipping_flat_minor: 0,
            tax_basis_points: 0,
            trusted_proxies: Networks::default(),
            payments: Payments::default(),
            retention: Retention::default(),
            registration: Registration::default(),
            http: Http::default(),
            limits: Limits::default(),
            rates: Rates::default(),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { log_bytes: 4 << 30, log_days: 30, base_log_bytes: 1 << 30, base_days: 7, work_percent: 25 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rates: Switch::On,
            in_flight_max: 4_096,
            connections_max: 10_000,
            connections_per_peer_max: 2_500,
            event_streams_max: 2_000,
            user_event_streams_max: 10,
            unpaid_units_max: 200,
            new_account_unpaid_units_max: 50,
            new_account_hours: 24,
            body_bytes_max: 256 * 1_024,
            handshake_ms_max: 10_000,
            header_ms_max: 10_000,
            body_ms_max: 30_000,
            bodies_per_peer_max: 256,
            bodies_bytes_max: 64 << 20,
            keep_alive_ms_max: 75_000,
            write_ms_max: 10_000,
            bytes_per_second_min: 1_024,
            unread_bytes_max: 64 << 20,
            request_ms_max: 15_000,
            payment_wait_ms_max: 5_000,
            drain_lead_ms: 0,
            drain_ms_max: 10_000,
            live_entities_max: 4_000,
            idle_ms_max: 60_000,
            mailbox_max: 4_096,
            views_bytes_max: 64 << 20,
            list_wait_ms_max: 2_000,
            search_commit_ms_min: 200,
        }
    }
}

/// The greatest number of event streams that may be configured: a semaphore has a limit of its own.
const EVENT_STREAMS_MAX: usize = 1_000_000;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value is not the address of a web server.
    #[error("{setting}: {url:?} is no address of a web server: {remedy}")]
    Url {
        /// The name of the setting.
        setting: &'static str,
        /// The value of the setting.
        url: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A value is not the origin of a web page.
    #[error("http.cors_origins: {origin:?} is no origin: write it as browsers send it, such as https://shop.example")]
    Origin {
        /// The value.
        origin: String,
    },
    /// The adapter for the payment provider is not in this program.
    #[error("payments.provider: {provider:?} needs the feature `stripe` of souk, which this program is built without")]
    NoAdapter {
        /// The configured provider.
        provider: Provider,
    },
    /// A value is out of bounds.
    #[error("{setting} must be {rule}")]
    Bounds {
        /// The name of the setting.
        setting: &'static str,
        /// What its value must be, such as `at least 1`.
        rule: &'static str,
    },
}

impl Config {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// [`ConfigError`] of the first value that is out of bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        let rules = [
            (limits.in_flight_max > 0, "limits.in_flight_max", "at least 1"),
            (limits.connections_max > 0, "limits.connections_max", "at least 1"),
            (limits.body_bytes_max >= 1_024, "limits.body_bytes_max", "at least 1024"),
            (limits.event_streams_max <= EVENT_STREAMS_MAX, "limits.event_streams_max", "at most 1000000"),
            (limits.connections_per_peer_max > 0, "limits.connections_per_peer_max", "at least 1"),
            (limits.new_account_unpaid_units_max > 0, "limits.new_account_unpaid_units_max", "at least 1"),
            (
                limits.new_account_unpaid_units_max <= limits.unpaid_units_max,
                "limits.new_account_unpaid_units_max",
                "at most limits.unpaid_units_max",
            ),
            (limits.handshake_ms_max > 0, "limits.handshake_ms_max", "at least 1"),
            (limits.header_ms_max > 0, "limits.header_ms_max", "at least 1"),
            (limits.body_ms_max > 0, "limits.body_ms_max", "at least 1"),
            (limits.bodies_per_peer_max > 0, "limits.bodies_per_peer_max", "at least 1"),
            (limits.bodies_bytes_max >= 1 << 20, "limits.bodies_bytes_max", "at least 1048576"),
            (limits.keep_alive_ms_max > 0, "limits.keep_alive_ms_max", "at least 1"),
            (limits.write_ms_max > 0, "limits.write_ms_max", "at least 1"),
            (self.access_token_seconds > 0, "access_token_seconds", "at least 1"),
            (self.session_days > 0, "session_days", "at least 1"),
            (self.shipping_flat_minor < 1 << 53, "shipping_flat_minor", "below 9007199254740992"),
            (limits.live_entities_max >= 16, "limits.live_entities_max", "at least 16"),
            (limits.mailbox_max > 0, "limits.mailbox_max", "at least 1"),
            (
                limits.payment_wait_ms_max < limits.request_ms_max,
                "limits.payment_wait_ms_max",
                "below limits.request_ms_max",
            ),
            (self.payment_deadline_ms >= 1_000, "payment_deadline_ms", "at least 1000"),
            ((1..=100).contains(&self.retention.work_percent), "retention.work_percent", "from 1 to 100"),
            (self.retention.base_log_bytes >= 1 << 20, "retention.base_log_bytes", "at least 1048576"),
            (self.tax_basis_points <= 10_000, "tax_basis_points", "at most 10000 (100 %)"),
            (self.http.cache_seconds <= 86_400, "http.cache_seconds", "at most 86400"),
            (self.payments.reconcile_seconds >= 1, "payments.reconcile_seconds", "at least 1"),
        ];
        if let Some((_, setting, rule)) = rules.into_iter().find(|(kept, ..)| !kept) {
            return Err(ConfigError::Bounds { setting, rule });
        }
        self.http.cors_origins.check()?;
        self.rates.check()?;
        self.payments.check()
    }
}

impl Payments {
    /// Checks that all settings are given that the provider needs, and none that it would ignore.
    fn check(&self) -> Result<(), ConfigError> {
        if cfg!(not(feature = "stripe")) && self.provider != Provider::Simulated {
            return Err(ConfigError::NoAdapter { provider: self.provider });
        }
        let (simulated, stripe) = (self.provider == Provider::Simulated, self.provider == Provider::Stripe);
        let ignored = "left out: the built-in fake provider has no use for it";
        let rules = [
            (!simulated || self.url.is_none(), "payments.url", ignored),
            (!simulated || self.key.is_none(), "payments.key", ignored),
            (!simulated || self.key_file.is_none(), "payments.key_file", ignored),
            (!simulated || self.return_url.is_none(), "payments.return_url", ignored),
            (
                self.key.is_none() || self.key_file.is_none(),
                "payments.key",
                "left out where payments.key_file is given",
            ),
            (
                self.webhook_secrets.is_none() || self.webhook_secrets_file.is_none(),
                "payments.webhook_secrets",
                "left out where payments.webhook_secrets_file is given",
            ),
            (
                simulated || self.simulated_ledger.is_none(),
                "payments.simulated_ledger",
                "left out: only the built-in fake provider has this ledger",
            ),
            (
                self.provider != Provider::Simulator || self.url.is_some(),
                "payments.url",
                "given where payments.provider is simulator",
            ),
            (
                !stripe || self.key.is_some() || self.key_file.is_some(),
                "payments.key_file",
                "given (or payments.key) where the provider is Stripe",
            ),
        ];
        if let Some((_, setting, rule)) = rules.into_iter().find(|(kept, ..)| !kept) {
            return Err(ConfigError::Bounds { setting, rule });
        }
        check_url("payments.url", self.url.as_deref())?;
        check_url("payments.return_url", self.return_url.as_deref())
    }
}

/// Checks that a URL begins with the scheme of a web server. The usual mistake is to give only a host and a port.
fn check_url(setting: &'static str, url: Option<&str>) -> Result<(), ConfigError> {
    let Some(url) = url else { return Ok(()) };
    let is_web = |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if is_web("http://") || is_web("https://") {
        return Ok(());
    }
    let remedy = if url.contains("://") { "it must begin with http:// or https://" } else { "write http:// before it" };
    Err(ConfigError::Url { setting, url: url.to_owned(), remedy })
}
