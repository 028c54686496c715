//! Those who are logged in: customers who each do one thing at a time, and the operator. Tokens are renewed at half their life.
//!
//! Depends on `clock`.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::{Mutex as Turn, Semaphore, SemaphorePermit};

use super::{
    client::{Answer, Client},
    files,
    plan::{LoadError, Plan},
    recorder::Kind,
};
use crate::clock::Clock;

/// What all customers log in with who register themselves; their accounts are good for nothing else.
const PASSWORD: &str = "load generator password";
/// How many customers log in at once. A password costs the shop 20 ms of a core, and it takes only so many at once.
const LOGINS_AT_ONCE: usize = 4;
/// How often a login is tried again while the shop is busy hashing.
const LOGIN_TRIES: u32 = 50;
/// The pause between two tries, in milliseconds.
const LOGIN_PAUSE_MS: u64 = 100;
/// The longest that a token is used before it is renewed, whatever it says.
const TOKEN_LIFE_MAX: Duration = Duration::from_secs(3_600);
/// After how long a renewal that failed is tried again while the token is still good.
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);

/// Somebody who is logged in.
pub(super) struct Person {
    pub(super) number: usize,
    /// Who they are to the shop.
    pub(super) user: String,
    pub(super) token: String,
    is_seller: bool,
    refresh_token: String,
    /// When half of the token's life is over.
    renew_at: Instant,
    ends_at: Instant,
}

/// The token could not be renewed and is past its time: there is nothing that its holder could do.
pub(super) struct LoggedOut;

impl Person {
    fn of(number: usize, session: &Value) -> Self {
        let text = |field: &str| session[field].as_str().unwrap_or_default().to_owned();
        let expires_at = text("access_expires_at").parse::<jiff::Timestamp>().unwrap_or(jiff::Timestamp::MAX);
        let expires_at_ms = u64::try_from(expires_at.as_millisecond()).unwrap_or_default();
        let life = Duration::from_millis(expires_at_ms.saturating_sub(Clock::system().now().0));
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

    /// Renews the token where it is time. A renewal that fails is counted as one, and does not show as refused requests later.
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

/// The operator's token for one request.
pub(super) struct Pass {
    pub(super) token: String,
    /// A seller sees their own orders, an admin those in a stage.
    pub(super) is_seller: bool,
}

/// Everybody who is logged in.
pub(super) struct People {
    /// Customers who do nothing at the moment, the longest idle first.
    idle: Mutex<VecDeque<Person>>,
    free: Semaphore,
    count: usize,
    /// One at a time renews the operator's token.
    operator: Option<Turn<Person>>,
}

/// A customer who is busy, until dropped.
pub(super) struct Busy<'a> {
    person: Option<Person>,
    people: &'a People,
    _place: SemaphorePermit<'a>,
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
    /// Lets everybody log in that the plan needs, or takes them from the file of tokens.
    pub(super) async fn gather(plan: &Plan, client: &Client) -> Result<Self, LoadError> {
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
                    "the tokens of {} (they are good for one shop, and once renewed for one run)",
                    path.display()
                );
                let token = Some(person.token.as_str()).filter(|_| Instant::now() < person.ends_at);
                // One that is past its time is renewed before it is used.
                if token.is_some() {
                    let cart = client.get(Kind::Errand, &["cart"], &[], token, Instant::now()).await;
                    cart.needed(client.base(), &what)?;
                }
            }
        } else if plan.scenario.needs_customers() {
            let logins = stream::iter((0..plan.users).map(|number| register_and_log_in(client, plan.seed, number)));
            let logins: Vec<Result<Person, LoadError>> = logins.buffer_unordered(LOGINS_AT_ONCE).collect().await;
            customers = logins.into_iter().collect::<Result<_, _>>()?;
        }
        if let Some(named) = &plan.operator {
            let credentials = json!({ "email": named.email, "password": named.password.expose_secret() });
            let session = patient(client, "login", &credentials).await;
            let session = session.needed(client.base(), &format!("logging in {}", named.email))?;
            operator = Some(Person::of(usize::MAX, &session));
        }
        if plan.scenario.needs_an_operator() && operator.is_none() {
            return Err(LoadError::NoOperator);
        }
        if plan.scenario.needs_customers() && customers.is_empty() {
            return Err(LoadError::Impossible { setting: "--tokens", rule: "a file with tokens of customers".into() });
        }
        Ok(Self {
            count: customers.len(),
            free: Semaphore::new(customers.len()),
            idle: Mutex::new(customers.into()),
            operator: operator.map(Turn::new),
        })
    }

    /// How many customers there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The next customer who has time.
    pub(super) async fn customer(&self, client: &Client) -> Result<Busy<'_>, LoggedOut> {
        let place = self.free.acquire().await.map_err(|_| LoggedOut)?;
        let person = self.idle.lock().pop_front().ok_or(LoggedOut)?;
        let mut busy = Busy { person: Some(person), people: self, _place: place };
        if let Some(person) = &mut busy.person {
            person.stay_logged_in(client).await?;
        }
        Ok(busy)
    }

    /// Whether there is an operator.
    pub(super) fn has_an_operator(&self) -> bool {
        self.operator.is_some()
    }

    /// The operator, where there is one.
    pub(super) async fn operator(&self, client: &Client) -> Result<Pass, LoggedOut> {
        let mut person = self.operator.as_ref().ok_or(LoggedOut)?.lock().await;
        person.stay_logged_in(client).await?;
        Ok(Pass { token: person.token.clone(), is_seller: person.is_seller })
    }

    /// The tokens of all customers who do nothing, by their numbers.
    pub(super) fn tokens(&self) -> HashMap<usize, String> {
        self.idle.lock().iter().map(|customer| (customer.number, customer.token.clone())).collect()
    }
}

async fn register_and_log_in(client: &Client, seed: u64, number: usize) -> Result<Person, LoadError> {
    let email = format!("load-{seed}-{number}@load.example");
    let credentials = json!({ "email": email, "password": PASSWORD });
    // Whoever was here before has an account.
    patient(client, "register", &credentials).await;
    let session = patient(client, "login", &credentials).await.needed(client.base(), "logging in")?;
    Ok(Person::of(number, &session))
}

/// Asks again while the shop has too many passwords to hash.
async fn patient(client: &Client, what: &str, credentials: &Value) -> Answer {
    let mut tries = 0;
    loop {
        let answer = client.post(Kind::Errand, &["auth", what], credentials, None, Instant::now()).await;
        tries += 1;
        if answer.status != Some(503) || tries == LOGIN_TRIES {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(LOGIN_PAUSE_MS)).await;
    }
}
