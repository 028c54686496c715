//! The plan of a run, and the errors for which it does not begin.
//!
//! Depends on `scenario`.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Serialize;

use crate::scenario::Scenario;

/// What to do about a 429: all requests of a run come from one address.
pub(crate) const WITHOUT_LIMITS: &str =
    "the shop limits the requests of one client (429): for a load test start it with SOUK_LIMITS__RATES=off";
/// The longest run, in seconds: a day.
const SECONDS_MAX: u64 = 86_400;
/// The highest rate, in journeys per second: far above what one generator can send.
const RATE_MAX: f64 = 1_000_000.0;
/// The most callers or users.
pub(crate) const PEOPLE_MAX: usize = 100_000;

/// The plan of a run.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Plan {
    /// The shop's address: `http://host:port`, with a path where the shop is nested in another server.
    pub url: String,
    pub scenario: Scenario,
    pub arrivals: Arrivals,
    /// For how long journeys begin, in seconds.
    pub seconds: u64,
    /// The number of customers; each does one thing at a time. With `tokens` it is set to the number in the file.
    pub users: usize,
    /// A file of `souk tokens`: customers, and perhaps an operator, who are already logged in.
    pub tokens: Option<PathBuf>,
    /// Sends parcels and changes prices, if the file of tokens has no operator.
    pub operator: Option<Operator>,
    /// How many journeys may be under way at once in the open model; further arrivals are counted as not sent.
    pub in_flight_max: usize,
    /// The time-out of a request, in milliseconds.
    pub request_ms_max: u64,
    /// The number of different products that are viewed and bought.
    pub products: usize,
    /// The product of a flash sale; by default the first that can be bought.
    pub product: Option<String>,
    /// A CSV file with a column `query`; by default the queries are words of the products' names.
    pub queries: Option<PathBuf>,
    /// A CSV file with columns `invoice` and `quantity`, a row for each line of a basket; by default baskets have one
    /// to three lines of one unit.
    pub baskets: Option<PathBuf>,
    /// The file to write the history of the run to, for `souk verify`.
    pub history: Option<PathBuf>,
    /// The seed of all random choices.
    pub seed: u64,
    pub protocol: Protocol,
    /// The generator's version and commit, for the report.
    pub generator: String,
}

/// An admin or a seller who logs in for the run.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Operator {
    pub email: String,
    #[serde(skip)]
    pub password: SecretString,
}

/// How journeys arrive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Arrivals {
    /// Journeys begin at a constant rate, whether or not earlier ones have ended.
    Open {
        /// Journeys per second.
        rate: f64,
    },
    /// Each caller begins the next journey when its last one has ended.
    Closed { callers: usize },
}

/// The version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Protocol {
    /// HTTP/1.1, connections kept alive.
    #[serde(rename = "HTTP/1.1")]
    Http1,
    /// HTTP/2 without TLS, with prior knowledge.
    #[serde(rename = "HTTP/2")]
    Http2,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the names say it")]
pub enum LoadError {
    /// A setting is not valid.
    #[error("{setting} must be {rule}")]
    Impossible {
        setting: &'static str,
        /// The rule that it violates: "1 to 600000".
        rule: String,
    },
    /// No shop can have this address.
    #[error("{url} is no address of a shop: {problem}")]
    Address { url: String, problem: String },
    /// No shop answers at the address.
    #[error("{url} cannot be reached: {problem}")]
    Unreachable { url: String, problem: String },
    /// The shop refused a request that prepares the run.
    #[error("{what}: the shop answered {status}: {answer}")]
    Refused {
        what: String,
        status: u16,
        /// The beginning of its body.
        answer: String,
    },
    /// The shop limits the requests of one client, and the run has reached the limit before it has begun.
    #[error("{what}: {WITHOUT_LIMITS}")]
    RateLimited { what: String },
    /// No product can be bought.
    #[error("there is no product that can be bought now: import a catalogue with stock, or name one with --product")]
    NothingToBuy,
    /// The scenario has steps that only an operator may take.
    #[error(
        "this scenario needs an operator: name one with --operator (and the password in OPERATOR_PASSWORD) or in the file of tokens"
    )]
    NoOperator,
    /// A file cannot be used.
    #[error("{path}: {problem}")]
    File { path: String, problem: String },
}

impl Plan {
    /// Fails for a plan that cannot be carried out, with the setting's name.
    pub(crate) fn check(&self) -> Result<(), LoadError> {
        let within = |setting, fits: bool, rule: &dyn Fn() -> String| {
            if fits { Ok(()) } else { Err(LoadError::Impossible { setting, rule: rule() }) }
        };
        within("--seconds", (1..=SECONDS_MAX).contains(&self.seconds), &|| format!("1 to {SECONDS_MAX}"))?;
        within("--users", (1..=PEOPLE_MAX).contains(&self.users), &|| format!("1 to {PEOPLE_MAX}"))?;
        within("--products", (1..=10_000).contains(&self.products), &|| "1 to 10000".into())?;
        within("--in-flight", (1..=PEOPLE_MAX).contains(&self.in_flight_max), &|| format!("1 to {PEOPLE_MAX}"))?;
        within("--timeout-ms", (1..=600_000).contains(&self.request_ms_max), &|| "1 to 600000".into())?;
        match self.arrivals {
            Arrivals::Open { rate } => {
                within("--rate", rate > 0.0 && rate <= RATE_MAX, &|| format!("above 0 and at most {RATE_MAX}"))
            }
            Arrivals::Closed { callers } => {
                within("--callers", (1..=PEOPLE_MAX).contains(&callers), &|| format!("1 to {PEOPLE_MAX}"))
            }
        }
    }
}
