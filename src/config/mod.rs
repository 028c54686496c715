//! All that can be configured of a shop, with its defaults and bounds. The program has a few settings more, and reads
//! all of them from a file and the environment.
//!
//! Depends on nothing of the crate.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _, IntoDeserializer, value},
};

/// All that can be configured of a shop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Who issues tokens (`iss`), and whom they are for (`aud`).
    pub token_issuer: String,
    /// How long an access token lives, in seconds.
    pub access_token_seconds: u64,
    /// How long a session lives without a login, in days.
    pub session_days: u64,
    /// How long a placed order may wait for its payment, in milliseconds; its stock is reserved meanwhile.
    pub payment_deadline_ms: u64,
    /// What shipping costs, in minor units of the order's currency, for every order.
    pub shipping_flat_minor: u64,
    /// Tax on top of the prices, in hundredths of a percent (1800 is 18 %), rounded half up.
    pub tax_basis_points: u64,
    /// Who takes the money, and how.
    pub payments: Payments,
    /// How much of the past is kept on the disk.
    pub retention: Retention,
    /// Every limit.
    pub limits: Limits,
}

/// A payment provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Provider {
    /// The built-in simulated one, for demos: no money moves.
    Simulated,
    /// `souk gateway-sim`, at `url`.
    Simulator,
    /// Stripe.
    Stripe,
}

/// Who takes the money, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Payments {
    /// The provider.
    #[serde(deserialize_with = "one_of")]
    pub provider: Provider,
    /// Where it is: of the simulator such as `http://127.0.0.1:8081`; of Stripe its own address unless given.
    pub url: Option<String>,
    /// The secret key for the provider; shown nowhere.
    #[serde(skip_serializing)]
    pub key: Option<Secret>,
    /// A file with that key.
    pub key_file: Option<PathBuf>,
    /// What the provider signs its notices with, one secret or, while it is replaced, two, with a comma between; shown
    /// nowhere.
    #[serde(skip_serializing)]
    pub webhook_secrets: Option<Secret>,
    /// A file with those secrets, one a line.
    pub webhook_secrets_file: Option<PathBuf>,
    /// Where customers come back to from their bank, such as the shop's page of the order.
    pub return_url: Option<String>,
    /// Whether payments are only held at first, and captured when the seller asks for it.
    pub capture_later: bool,
    /// Where the built-in simulated provider keeps its ledger; by default in the data directory.
    pub simulated_ledger: Option<PathBuf>,
    /// How often the provider's books are held against the orders, in seconds; all of the last month once a day.
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

/// A secret: neither printed nor written out.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(SecretString);

impl Secret {
    /// A secret of this text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// The secret, for whoever uses it.
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

/// How much of the past is kept on the disk: the log from before the newest base goes when it is beyond either of the
/// first two, or when the disk is short. What was erased is gone `log_days + base_days` later at the latest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Days.
    pub log_days: u64,
    /// After how many bytes of the log the next base is due; at least as many as the last base has.
    pub base_log_bytes: u64,
    /// After how many days it is due, if anything was written since.
    pub base_days: u64,
    /// How much of the time a base or a backup may work, in percent; the rest is for the shop.
    pub work_percent: u32,
}

/// Every limit of the running shop that an operator may want to move. Limits that are part of the rules stand beside
/// them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests at work at once: half of them reads, a quarter that begin something, a quarter that go on with it. Past
    /// it the answer is 503 at once: a queue would only make everybody wait.
    pub in_flight_max: usize,
    /// Open connections. A connection costs about 30 KB.
    pub connections_max: usize,
    /// Open event streams; they hold no request permit.
    pub event_streams_max: usize,
    /// The longest request body, in bytes.
    pub body_bytes_max: usize,
    /// How long a client may take to send its request's head, in milliseconds.
    pub header_ms_max: u64,
    /// How long a request may take in all, in milliseconds.
    pub request_ms_max: u64,
    /// How long a payment is waited for before the answer is "pending", in milliseconds. Below `request_ms_max`.
    pub payment_wait_ms_max: u64,
    /// How long requests may take to finish when the shop closes, in milliseconds.
    pub drain_ms_max: u64,
    /// How many entities of a kind may be alive; one costs about 11 KB.
    pub live_entities_max: usize,
    /// After how long an idle entity is passivated, in milliseconds.
    pub idle_ms_max: u64,
    /// How many messages may wait for one entity.
    pub mailbox_max: u32,
    /// How many bytes of views are cached for each kind of entity; a quarter as many for product pages.
    pub views_bytes_max: usize,
    /// How long a customer's list of orders waits to include their newest one, in milliseconds.
    pub list_wait_ms_max: u64,
    /// The least time between two commits of the search index, in milliseconds: a change is found at most this late.
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
            payments: Payments::default(),
            retention: Retention::default(),
            limits: Limits::default(),
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
            in_flight_max: 4_096,
            connections_max: 10_000,
            event_streams_max: 2_000,
            body_bytes_max: 256 * 1_024,
            header_ms_max: 10_000,
            request_ms_max: 15_000,
            payment_wait_ms_max: 5_000,
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

/// The most event streams that may be configured: a semaphore has an end.
const EVENT_STREAMS_MAX: usize = 1_000_000;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value that must be the address of a web server and is not.
    #[error("{setting}: {url:?} is no address of a web server: {remedy}")]
    Url {
        /// The setting.
        setting: &'static str,
        /// Its value.
        url: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The adapter for the payment provider is not in this program.
    #[error("payments.provider: {provider:?} needs the feature `stripe` of souk, which this program is built without")]
    NoAdapter {
        /// The provider.
        provider: Provider,
    },
    /// A value is out of bounds.
    #[error("{setting} must be {rule}")]
    Bounds {
        /// Which.
        setting: &'static str,
        /// Its rule.
        rule: &'static str,
    },
}

impl Config {
    /// Holds the values against their bounds.
    ///
    /// # Errors
    /// The first one out of bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        let rules = [
            (limits.in_flight_max > 0, "limits.in_flight_max", "at least 1"),
            (limits.connections_max > 0, "limits.connections_max", "at least 1"),
            (limits.body_bytes_max >= 1_024, "limits.body_bytes_max", "at least 1024"),
            (limits.event_streams_max <= EVENT_STREAMS_MAX, "limits.event_streams_max", "at most 1000000"),
            (limits.header_ms_max > 0, "limits.header_ms_max", "at least 1"),
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
            (self.payments.reconcile_seconds >= 1, "payments.reconcile_seconds", "at least 1"),
        ];
        if let Some((_, setting, rule)) = rules.into_iter().find(|(kept, ..)| !kept) {
            return Err(ConfigError::Bounds { setting, rule });
        }
        self.payments.check()
    }
}

impl Payments {
    /// A setting that the provider needs is given, and none that it would ignore.
    fn check(&self) -> Result<(), ConfigError> {
        if cfg!(not(feature = "stripe")) && self.provider != Provider::Simulated {
            return Err(ConfigError::NoAdapter { provider: self.provider });
        }
        let (simulated, stripe) = (self.provider == Provider::Simulated, self.provider == Provider::Stripe);
        let ignored = "left out: the built-in simulated provider has no use for it";
        let rules = [
            (!simulated || self.url.is_none(), "payments.url", ignored),
            (!simulated || self.key.is_none(), "payments.key", ignored),
            (!simulated || self.key_file.is_none(), "payments.key_file", ignored),
            (!simulated || self.return_url.is_none(), "payments.return_url", ignored),
            (
                simulated || self.simulated_ledger.is_none(),
                "payments.simulated_ledger",
                "left out: only the built-in simulated provider has this ledger",
            ),
            (
                self.provider != Provider::Simulator || self.url.is_some(),
                "payments.url",
                "given where the provider is the simulator",
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

/// The address of a web server begins with its scheme. A host and port alone is the usual mistake.
fn check_url(setting: &'static str, url: Option<&str>) -> Result<(), ConfigError> {
    let Some(url) = url else { return Ok(()) };
    let is_web = |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if is_web("http://") || is_web("https://") {
        return Ok(());
    }
    let remedy = if url.contains("://") { "it must begin with http:// or https://" } else { "write http:// before it" };
    Err(ConfigError::Url { setting, url: url.to_owned(), remedy })
}

/// Reads an enum from its name. The error then lists the names, which that of the `config` crate does not.
pub(crate) fn one_of<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let name = String::deserialize(deserializer)?;
    let name: value::StringDeserializer<value::Error> = name.into_deserializer();
    T::deserialize(name).map_err(D::Error::custom)
}
