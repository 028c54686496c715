//! `souk gateway-sim`: a payment provider to try a shop with, as a program of its own: it moves no money, has a ledger, announces what
//! happened, and fails when its script says so. What it understands stands in `payments/simulator/mod.rs`; beside that, for whoever tests:
//!
//! | request | what |
//! |---|---|
//! | `GET /authenticate/{order}/{attempt}` | the page on which a customer approves or declines a payment with `tok_3ds` |
//! | `POST /authenticate/{order}/{attempt}` | the form `decision=approve` or `decision=decline`; then to `return_url`, where one is given |
//! | `GET /ledger` | all that ever happened, declined charges included |
//! | `GET /script`, `PUT /script` | the rules by which it fails: a list of [`Rule`] |
//! | `GET /livez` | 200 |
//!
//! May depend on `payments` and `domain`.

mod notices;
mod operations;
mod page;
mod script;

use std::{io, path::Path, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Semaphore;

use self::notices::{Notices, notice_of, operation_of};
pub use self::{
    notices::{Webhook, WebhookError},
    script::{COPIES_MAX, DELAY_MS_MAX, Fault, Mischief, RULES_MAX, Rule, Script, ScriptError},
};
use crate::payments::{
    Operation,
    fake_provider::{BookError, FakeProvider, LedgerLine, SLOW_MS},
};

/// The longest request, in bytes: a script of as many rules as it may have.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How many payments are worked on with somebody looking after them. Of the others it is noticed when they are asked about.
const PROCESSING_MAX: usize = 1_000;

/// The provider at work.
struct Provider {
    books: FakeProvider,
    script: Script,
    notices: Option<Notices>,
    /// How much of the ledger has been announced.
    announced: Mutex<usize>,
    processing: Arc<Semaphore>,
}

/// A provider whose ledger is kept in a file, whose customers authenticate themselves at an address that begins like `page`.
///
/// # Errors
/// The ledger cannot be read or written.
pub fn open(ledger: &Path, page: String, script: Script, webhook: Option<Webhook>) -> io::Result<Router> {
    Ok(router(FakeProvider::open(ledger)?.with_page(page), script, webhook))
}

/// A provider over these books, which fails by this script. With a webhook it needs a runtime, where its notices are sent from.
pub fn router(books: FakeProvider, script: Script, webhook: Option<Webhook>) -> Router {
    let provider = Provider {
        // What happened before was announced then.
        announced: Mutex::new(books.ledger().len()),
        books,
        script,
        notices: webhook.map(Notices::start),
        processing: Arc::new(Semaphore::new(PROCESSING_MAX)),
    };
    Router::new()
        .route("/charges", post(operations::charge))
        .route("/charges/find", post(operations::find))
        .route("/charges/look_up", post(operations::look_up))
        .route("/charges/capture", post(operations::capture))
        .route("/charges/void", post(operations::void))
        .route("/refunds", post(operations::refund))
        .route("/refunds/find", post(operations::find_refund))
        .route("/books", post(operations::list_payments))
        .route("/authenticate/{order}/{attempt}", get(page::show).post(page::decide))
        .route("/ledger", get(ledger))
        .route("/script", get(show_script).put(replace_script))
        .route("/livez", get(|| async { StatusCode::OK }))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(provider))
}

async fn ledger(State(provider): State<Arc<Provider>>) -> Json<Vec<LedgerLine>> {
    Json(provider.books.ledger())
}

async fn show_script(State(provider): State<Arc<Provider>>) -> Json<Vec<Rule>> {
    Json(provider.script.rules())
}

async fn replace_script(State(provider): State<Arc<Provider>>, Json(rules): Json<Vec<Rule>>) -> Response {
    match provider.script.replace(rules) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refused(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
    }
}

impl Provider {
    /// The token of a payment, empty where it is not known.
    fn method_of(&self, order: &str, attempt: u32) -> String {
        self.books.method_of(order, attempt).unwrap_or_default()
    }

    /// Announces what has happened since.
    fn announce(&self) {
        let Some(notices) = &self.notices else { return };
        let mut announced = self.announced.lock();
        let lines = self.books.happened_after(*announced);
        *announced += lines.len();
        for line in lines {
            let (Some(notice), Some(operation)) = (notice_of(&line), operation_of(&line)) else { continue };
            // The ledger has the attempt in this place of a refund.
            let method = match (operation, line.method.parse()) {
                (Operation::Refund, Ok(attempt)) => {
                    self.method_of(notice.order.as_deref().unwrap_or_default(), attempt)
                }
                _ => line.method.clone(),
            };
            notices.announce(&notice, self.script.of_notice(&line.key, operation, &method));
        }
    }

    /// Looks after a payment that is worked on, so that its end is announced although nobody asks.
    fn look_after(self: &Arc<Self>, order: String, attempt: u32) {
        if self.notices.is_none() {
            return;
        }
        let Ok(place) = Arc::clone(&self.processing).try_acquire_owned() else { return };
        let provider = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(SLOW_MS)).await;
            if let Err(error) = provider.books.look(&order, attempt) {
                tracing::warn!(order, attempt, %error, "a payment could not be brought to its end");
            }
            provider.announce();
            drop(place);
        });
    }
}

fn refused(status: StatusCode, problem: &str) -> Response {
    (status, Json(json!({ "problem": problem }))).into_response()
}

fn failed(error: &BookError) -> Response {
    let status = match error {
        BookError::KeyReused | BookError::NotAllowed => StatusCode::CONFLICT,
        BookError::NoSuchPayment => StatusCode::NOT_FOUND,
        BookError::Ledger(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    refused(status, &error.to_string())
}
