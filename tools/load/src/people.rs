//! The people who are logged in: customers, each of whom does one thing at a time, and the operator. Tokens are renewed
//! after half of their lifetime.
//!
//! Depends on `answer`, `client`, `files`, `kind` and `plan`.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::{Mutex as Turn, Semaphore, SemaphorePermit};

use crate::{
    answer::Answer,
    client::Client,
    files,
    kind::Kind,
    plan::{LoadError, Plan},
};

/// The password of the customers that the generator registers; their accounts exist for load runs only.
const PASSWORD: &str = "load generator password";
/// How many customers log in at once. A password costs the shop 20 ms of a core, and it hashes only a few at once.
const LOGINS_AT_ONCE: usize = 4;
/// How often a login is retried while the shop is busy hashing.
const LOGIN_TRIES: u32 = 50;
/// The pause between two tries, in milliseconds.
const LOGIN_PAUSE_MS: u64 = 100;
/// Tokens with a longer lifetime are renewed as if it were this.
const TOKEN_LIFE_MAX: Duration = Duration::from_secs(3_600);
/// The pause after a renewal that failed, while the token is still valid.
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);

/// A person who is logged in.
pub(crate) struct Person {
    pub(crate) number: usize,
    /// The user id.
    pub(crate) user: String,
    pub(crate) token: String,
    is_seller: bool,
    refresh_token: String,
    renew_at: Instant,
    ends_at: Instant,
}

/// The token has expired and could not be renewed, so its holder can do nothing.
pub(crate) struct LoggedOut;

impl Person {
    fn of(number: usize, session: &Value) -> Self {
        let text = |field: &str| session[field].as_str().unwrap_or_default().to_owned();
        let expires_at = text("access_expires_at").parse::<jiff::Timestamp>().unwrap_or(jiff::Timestamp::MAX);
        let expires_at_ms = u64::try_from(expires_at.as_millisecond()).unwrap_or_default();
        let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
        let life = Duration::from_millis(expires_at_ms.saturating_sub(now_ms));
        let (life, now) = (life.min(TOKEN_LIFE_MAX), Instant::now());
        Self {
            number,
            user: text("user_id"),
            token: text("access_token"),
            is_seller: session["role"] == "seller",
            refresh_token: text("refresh_token"),
            renew_at: now + life / 2,
            ends_at: now + life,
        }
    }

    /// Renews the token when it is time. A failed renewal is counted as such, instead of as refused requests later.
    async fn stay_logged_in(&mut self, client: &Client) -> Result<(), LoggedOut> {
        if Instant::now() < self.renew_at.min(self.ends_at) {
            return Ok(());
        }
        let body = json!({ "refresh_token": self.refresh_token });
        let session = client.post(Kind::Renewal, &["auth", "refresh"], &body, None, Instant::now()).await;
        if session.is_done() {
            *self = Self { user: std::mem::take(&mut self.user), ..Self::of(self.number, &session.body) };
            return Ok(());
        }
        let now = Instant::now();
        self.renew_at = now + RENEWAL_PAUSE;
        if now < self.ends_at { Ok(()) } else { Err(LoggedOut) }
    }
}

/// The operator's token, for one journey.
pub(crate) struct OperatorToken {
    pub(crate) token: String,
    /// A seller lists their own orders, an admin those of a stage.
    pub(crate) is_seller: bool,
}

/// All people who are logged in.
pub(crate) struct People {
    /// Customers without a journey, the longest idle first.
    idle: Mutex<VecDeque<Person>>,
    /// A permit for each idle customer.
    free: Semaphore,
    count: usize,
    /// Locked while the token is renewed.
    operator: Option<Turn<Person>>,
}

/// A customer on a journey; idle again when dropped.
pub(crate) struct Busy<'a> {
    person: Option<Person>,
    people: &'a People,
    _permit: SemaphorePermit<'a>,
}

impl std::ops::Deref for Busy<'_> {
    type Target = Person;

    fn deref(&self) -> &Person {
        self.person.as_ref().expect("there until dropped")
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.people.idle.lock().extend(self.person.take());
    }
}

impl People {
    /// Logs in everybody whom the plan needs, or reads them from the file of tokens.
    pub(crate) async fn log_in(plan: &Plan, client: &Client) -> Result<Self, LoadError> {
        let (mut customers, mut operator) = (Vec::new(), None);
        if let Some(path) = &plan.tokens {
            let sessions = files::sessions(path)?;
            for (number, session) in sessions.iter().enumerate() {
                match (session["role"].as_str(), &operator) {
                    (Some("customer"), _) => customers.push(Person::of(number, session)),
                    (_, None) => operator = Some(Person::of(number, session)),
                    (_, Some(_)) => {}
                }
            }
            for person in customers.last().into_iter().chain(&operator) {
                let what = format!(
                    "the tokens of {} (they are valid at one shop, and once renewed for one run)",
                    path.display()
                );
                let token = Some(person.token.as_str()).filter(|_| Instant::now() < person.ends_at);
                // An expired token is renewed before it is used.
                if token.is_some() {
                    let cart = client.get(Kind::Setup, &["cart"], &[], token, Instant::now()).await;
                    cart.required(client.base(), &what)?;
                }
            }
        } else if plan.scenario.buys() {
            let logins = stream::iter((0..plan.users).map(|number| register_and_log_in(client, plan.seed, number)));
            let logins: Vec<Result<Person, LoadError>> = logins.buffer_unordered(LOGINS_AT_ONCE).collect().await;
            customers = logins.into_iter().collect::<Result<_, _>>()?;
        }
        if let Some(named) = &plan.operator {
            let credentials = json!({ "email": named.email, "password": named.password.expose_secret() });
            let session = post_when_not_busy(client, "login", &credentials).await;
            let session = session.required(client.base(), &format!("logging in {}", named.email))?;
            operator = Some(Person::of(usize::MAX, &session));
        }
        if plan.scenario.needs_an_operator() && operator.is_none() {
            return Err(LoadError::NoOperator);
        }
        if plan.scenario.buys() && customers.is_empty() {
            return Err(LoadError::Impossible { setting: "--tokens", rule: "a file with tokens of customers".into() });
        }
        Ok(Self {
            count: customers.len(),
            free: Semaphore::new(customers.len()),
            idle: Mutex::new(customers.into()),
            operator: operator.map(Turn::new),
        })
    }

    /// The number of customers.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The next idle customer; waits for one.
    pub(crate) async fn customer(&self, client: &Client) -> Result<Busy<'_>, LoggedOut> {
        let permit = self.free.acquire().await.map_err(|_| LoggedOut)?;
        let person = self.idle.lock().pop_front().ok_or(LoggedOut)?;
        let mut busy = Busy { person: Some(person), people: self, _permit: permit };
        if let Some(person) = &mut busy.person {
            person.stay_logged_in(client).await?;
        }
        Ok(busy)
    }

    pub(crate) fn has_an_operator(&self) -> bool {
        self.operator.is_some()
    }

    /// The operator's token.
    pub(crate) async fn operator(&self, client: &Client) -> Result<OperatorToken, LoggedOut> {
        let mut person = self.operator.as_ref().ok_or(LoggedOut)?.lock().await;
        person.stay_logged_in(client).await?;
        Ok(OperatorToken { token: person.token.clone(), is_seller: person.is_seller })
    }

    /// The tokens of all idle customers, by their numbers.
    pub(crate) fn tokens(&self) -> HashMap<usize, String> {
        self.idle.lock().iter().map(|customer| (customer.number, customer.token.clone())).collect()
    }
}

async fn register_and_log_in(client: &Client, seed: u64, number: usize) -> Result<Person, LoadError> {
    let email = format!("load-{seed}-{number}@load.example");
    let credentials = json!({ "email": email, "password": PASSWORD });
    // It is refused if an earlier run has registered the account.
    post_when_not_busy(client, "register", &credentials).await;
    let session = post_when_not_busy(client, "login", &credentials).await.required(client.base(), "logging in")?;
    Ok(Person::of(number, &session))
}

/// Retries while the shop is busy hashing passwords.
async fn post_when_not_busy(client: &Client, what: &str, credentials: &Value) -> Answer {
    let mut tries = 0;
    loop {
        let answer = client.post(Kind::Setup, &["auth", what], credentials, None, Instant::now()).await;
        tries += 1;
        if answer.status != Ok(503) || tries == LOGIN_TRIES {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(LOGIN_PAUSE_MS)).await;
    }
}
