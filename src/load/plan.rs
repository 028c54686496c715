//! What a run is to do, and what can be wrong with it.
//!
//! Depends on nothing of the crate.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Serialize;

use super::scenario::Scenario;

/// The longest run, in seconds: a day.
const SECONDS_MAX: u64 = 86_400;
/// The highest rate of journeys, per second: far above what one generator can send.
const RATE_MAX: f64 = 1_000_000.0;
/// The most callers or users.
pub(super) const PEOPLE_MAX: usize = 100_000;

/// A run.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Where the shop is: `http://host:port`.
    pub url: String,
    /// What customers do.
    pub scenario: Scenario,
    /// How they come.
    pub arrivals: Arrivals,
    /// For how long new ones come, in seconds.
    pub seconds: u64,
    /// How many customers there are; each does one thing at a time. With `tokens` it is as many as the file has.
    pub users: usize,
    /// A file of `souk tokens`: customers, and perhaps an operator, who are logged in already.
    pub tokens: Option<PathBuf>,
    /// Who sends parcels and changes prices, where the file of tokens names nobody.
    pub operator: Option<Operator>,
    /// How many journeys may be under way at once in the open model; later arrivals are counted as not sent.
    pub in_flight_max: usize,
    /// How long a request may take, in milliseconds; after it, it counts as unanswered.
    pub request_ms_max: u64,
    /// How many different products are looked at and bought.
    pub products: usize,
    /// The product of a flash sale; without it the first that can be bought.
    pub product: Option<String>,
    /// A CSV file with a column `query`; without it words of the products' names are searched for.
    pub queries: Option<PathBuf>,
    /// A CSV file with columns `invoice` and `quantity`, a row a line: what baskets look like. Without it they have one to three
    /// lines of one piece.
    pub baskets: Option<PathBuf>,
    /// A file for the history of the run, which the checker reads.
    pub history: Option<PathBuf>,
    /// What chance is made from: the same seed makes the same choices.
    pub seed: u64,
    /// How requests travel.
    pub protocol: Protocol,
}

/// An admin or a seller who logs in for the run.
#[derive(Debug, Clone, Serialize)]
pub struct Operator {
    /// The e-mail address.
    pub email: String,
    /// The password.
    #[serde(skip)]
    pub password: SecretString,
}

/// How customers come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// So many journeys begin each second, whatever becomes of the earlier ones.
    Open {
        /// Journeys per second.
        rate: f64,
    },
    /// So many callers begin the next journey when the last one has ended.
    Closed {
        /// Callers.
        callers: usize,
    },
}

/// How requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Protocol {
    /// HTTP/1.1, connections kept alive.
    #[serde(rename = "HTTP/1.1")]
    Http1,
    /// HTTP/2 without TLS, known beforehand.
    #[serde(rename = "HTTP/2")]
    Http2,
}

impl Protocol {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The plan cannot be carried out.
    #[error("{setting} must be {rule}")]
    Impossible {
        /// Which setting.
        setting: &'static str,
        /// What it has to be.
        rule: String,
    },
    /// The shop does not answer.
    #[error("{url} cannot be reached: {problem}")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What happened.
        problem: String,
    },
    /// The shop answered the preparations with something else than was needed.
    #[error("{what}: the shop answered {status}: {answer}")]
    Refused {
        /// What was asked.
        what: String,
        /// The status.
        status: u16,
        /// The beginning of the answer.
        answer: String,
    },
    /// The shop has nothing to sell.
    #[error("there is no product that can be bought now: import a catalogue with stock, or name one with --product")]
    NothingToBuy,
    /// The scenario has steps that only an operator can do.
    #[error(
        "this scenario needs an operator: name one with --operator (and the password in OPERATOR_PASSWORD) or in the file of tokens"
    )]
    NoOperator,
    /// A file cannot be used.
    #[error("{path}: {problem}")]
    File {
        /// Which file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Plan {
    /// Refuses what cannot be carried out, naming the setting.
    pub(super) fn check(&self) -> Result<(), LoadError> {
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
