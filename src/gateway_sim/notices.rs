//! The simulator's notices: what happened is told to the shop, signed, in the background and in any order, until it is taken.
//!
//! May depend on `payments` and `domain`.

use std::time::Duration;

use futures::StreamExt;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::script::Mischief;
use crate::{
    clock::Clock,
    domain::entity::Timestamp,
    payments::{
        Operation,
        fake_provider::{Effect, LedgerLine},
        signature,
        simulator::{NoticeBody, SIGNATURE_HEADER},
    },
};

/// How many notices wait to be sent: some seconds of a shop under load. What comes beyond is not sent, and the shop asks by itself.
const NOTICES_WAITING_MAX: usize = 10_000;
/// How many are being sent at a time: a shop that is slow is not pressed harder.
const SENDING_MAX: usize = 64;
/// How often one is tried: with the pauses between, for about half a minute, as long as a restart of the shop takes.
const TRIES_MAX: u32 = 8;
/// The pause after the first try, in milliseconds; it doubles.
const PAUSE_MS_MIN: u64 = 200;
/// The longest pause, in milliseconds.
const PAUSE_MS_MAX: u64 = 10_000;
/// How long a try may take, in milliseconds.
const TRY_MS_MAX: u64 = 5_000;
/// How old the signature of a stale notice is, in milliseconds: far beyond what is tolerated.
const STALE_MS: u64 = 3_600_000;

/// Where notices go, and what they are signed with.
pub struct Webhook {
    http: reqwest::Client,
    url: reqwest::Url,
    secret: SecretString,
}

/// Notices cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// It is no URL to which they can go.
    #[error("{0:?} is no http:// or https:// address")]
    Address(String),
    /// The HTTP client cannot be made.
    #[error("the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

impl Webhook {
    /// Notices to this address.
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

    /// Sends one, until it is taken or was tried often enough.
    async fn send(&self, notice: Waiting) {
        let Waiting { id, body, mischief } = notice;
        tokio::time::sleep(Duration::from_millis(mischief.delay_ms)).await;
        let mut pause_ms = PAUSE_MS_MIN;
        for left in (0..TRIES_MAX).rev() {
            let signature = self.sign(&body, mischief);
            let request = self.http.post(self.url.clone()).header(SIGNATURE_HEADER, signature);
            let request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body.clone());
            let problem = match request.send().await {
                Ok(answer) if answer.status().is_success() => return,
                Ok(answer) => answer.status().to_string(),
                Err(error) => error.without_url().to_string(),
            };
            if left == 0 {
                tracing::warn!(id, problem, "a notice was not taken and is given up");
                return;
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(pause_ms / 2..=pause_ms))).await;
            pause_ms = (pause_ms * 2).min(PAUSE_MS_MAX);
        }
    }

    fn sign(&self, body: &[u8], mischief: Mischief) -> String {
        let now = Clock::system().now();
        let at = Timestamp(now.0.saturating_sub(if mischief.stale { STALE_MS } else { 0 }));
        if mischief.bad_signature {
            return signature::sign(&SecretString::from("somebody else's"), body, at);
        }
        signature::sign(&self.secret, body, at)
    }
}

struct Waiting {
    id: String,
    body: Vec<u8>,
    mischief: Mischief,
}

/// The queue of notices. Its worker ends when the queue is dropped and empty.
pub(super) struct Notices(mpsc::Sender<Waiting>);

impl Notices {
    pub(super) fn start(webhook: Webhook) -> Self {
        let (sender, receiver) = mpsc::channel(NOTICES_WAITING_MAX);
        tokio::spawn(async move {
            let waiting = ReceiverStream::new(receiver);
            waiting.for_each_concurrent(SENDING_MAX, |notice| webhook.send(notice)).await;
        });
        Self(sender)
    }

    /// Queues a notice, as often as its mischief says.
    pub(super) fn announce(&self, notice: &NoticeBody, mischief: Mischief) {
        let Ok(body) = serde_json::to_vec(notice) else { return };
        for _ in 0..mischief.times {
            let waiting = Waiting { id: notice.id.clone(), body: body.clone(), mischief };
            if self.0.try_send(waiting).is_err() {
                tracing::warn!(id = notice.id, "too many notices wait; this one is not sent");
            }
        }
    }
}

/// The operation that a line of the ledger is of.
pub(super) fn operation_of(line: &LedgerLine) -> Option<Operation> {
    let (_, named, _) = line.parts()?;
    let all = [Operation::Charge, Operation::Capture, Operation::Void, Operation::Refund];
    all.into_iter().find(|operation| operation.as_str() == named)
}

/// The notice of a line. None of a payment that waits or is worked on: nothing has come of it yet.
pub(super) fn notice_of(line: &LedgerLine) -> Option<NoticeBody> {
    let what = match line.effect() {
        Effect::Captured => "captured",
        Effect::Held => "authorised",
        Effect::Declined => "declined",
        Effect::Voided => "voided",
        Effect::Refunded => "refunded",
        Effect::RefundFailed => "refund_failed",
        Effect::Waits | Effect::Processing => return None,
    };
    let (order, _, number) = line.parts()?;
    let is_refund = operation_of(line)? == Operation::Refund;
    let reference = if is_refund { format!("sim_{}", line.key) } else { format!("sim_{order}:charge:{number}") };
    Some(NoticeBody {
        // A payment or a refund comes to each of its states once, so this is one of a kind, also after a restart.
        id: format!("evt_{}_{what}", line.key),
        created: line.at_ms / 1_000,
        what: what.to_owned(),
        order: Some(order.to_owned()),
        attempt: (!is_refund).then_some(number),
        refund: is_refund.then_some(number),
        reference: Some(reference),
    })
}
