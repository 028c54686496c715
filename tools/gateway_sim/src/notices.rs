//! Sends events to the shop: signed, in the background and in any order, until the shop accepts them.
//!
//! Depends on `script` and `signature`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{script::WebhookDelivery, signature::sign};

/// How many events wait to be sent: some seconds of a shop under load. Further events are not sent, and the shop asks
/// by itself.
const WAITING_MAX: usize = 10_000;
/// How many events are sent at the same time, so that a slow shop is not overloaded.
const SENDING_MAX: usize = 64;
/// How often an event is sent at most: with the pauses, for about half a minute, as long as a restart of the shop
/// takes.
const TRIES_MAX: u32 = 8;
/// The pause after the first attempt, in milliseconds; it doubles.
const PAUSE_MS_MIN: u64 = 200;
/// The longest pause, in milliseconds.
const PAUSE_MS_MAX: u64 = 10_000;
/// How long an attempt may take, in milliseconds.
const TRY_MS_MAX: u64 = 5_000;
/// How old the signature of a stale event is, in seconds: far beyond the tolerance.
const STALE_SECONDS: u64 = 3_600;
/// The header with the signature.
const SIGNATURE_HEADER: &str = "Stripe-Signature";

/// The URL for events, and the secret that signs them.
pub struct Webhook {
    http: reqwest::Client,
    url: reqwest::Url,
    secret: SecretString,
}

/// Why events cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// It is not a URL to which requests can be sent.
    #[error("{0:?} is not an http:// or https:// URL")]
    Address(String),
    /// The HTTP client cannot be created.
    #[error("the HTTP client cannot be created: {0}")]
    Http(#[from] reqwest::Error),
}

impl Webhook {
    /// Sends events to this URL.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub fn new(url: &str, secret: SecretString) -> Result<Self, WebhookError> {
        let address = || WebhookError::Address(url.to_owned());
        let url: reqwest::Url = url.parse().map_err(|_| address())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(address());
        }
        let http = reqwest::Client::builder()
            .timeout(Duration::from_millis(TRY_MS_MAX))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        Ok(Self { http: http.build()?, url, secret })
    }

    /// Sends an event until it is accepted or was sent often enough.
    async fn send(&self, waiting: Waiting) {
        let Waiting { id, body, delivery } = waiting;
        tokio::time::sleep(Duration::from_millis(delivery.delay_ms)).await;
        let mut pause_ms = PAUSE_MS_MIN;
        for left in (0..TRIES_MAX).rev() {
            let request = self.http.post(self.url.clone()).header(SIGNATURE_HEADER, self.signature(&body, delivery));
            let request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body.clone());
            let problem = match request.send().await {
                Ok(answer) if answer.status().is_success() => return,
                Ok(answer) => answer.status().to_string(),
                Err(error) => error.without_url().to_string(),
            };
            if left == 0 {
                tracing::warn!(id, problem, "an event was not accepted and is dropped");
                return;
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(pause_ms / 2..=pause_ms))).await;
            pause_ms = (pause_ms * 2).min(PAUSE_MS_MAX);
        }
    }

    fn signature(&self, body: &[u8], delivery: WebhookDelivery) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let at = now.saturating_sub(if delivery.stale { STALE_SECONDS } else { 0 });
        if delivery.bad_signature {
            return sign(&SecretString::from("somebody else's"), body, at);
        }
        sign(&self.secret, body, at)
    }
}

struct Waiting {
    id: String,
    body: Vec<u8>,
    delivery: WebhookDelivery,
}

/// The queue of events. Its worker ends when the queue is dropped and empty.
pub(crate) struct Notices(mpsc::Sender<Waiting>);

impl Notices {
    pub(crate) fn start(webhook: Webhook) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            let waiting = ReceiverStream::new(receiver);
            waiting.for_each_concurrent(SENDING_MAX, |waiting| webhook.send(waiting)).await;
        });
        Self(sender)
    }

    /// Queues the copies of an event, delivered as the script says.
    pub(crate) fn announce(&self, event: &Value, delivery: WebhookDelivery) {
        let id = event["id"].as_str().unwrap_or_default();
        for _ in 0..delivery.times {
            let waiting = Waiting { id: id.to_owned(), body: event.to_string().into_bytes(), delivery };
            if self.0.try_send(waiting).is_err() {
                tracing::warn!(id, "the queue of events is full; this one is not sent");
            }
        }
    }
}
