//! The running provider: its state, its script and its queue of events.
//!
//! Depends on `store`, `ledger`, `methods`, `notices`, `objects` and `script`.

use std::{
    fs::OpenOptions,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::{
    ledger::{self, Capture, Effect, Line, Metadata},
    methods::{EXPIRED, SLOW_MS},
    notices::{Notices, Webhook},
    objects,
    script::{Operation, Script},
    store::{Intent, Status, Store},
};

/// How many delayed payments and refunds have a task each. The others are finished when they are read.
const WORKING_MAX: usize = 1_000;
/// How many letters an object's id has.
const NAME_LETTERS: usize = 24;

/// A fake provider.
pub struct Provider {
    pub(crate) store: Mutex<Store>,
    pub(crate) script: Script,
    /// The URL where customers authenticate themselves; the order and the attempt are appended.
    pub(crate) page: String,
    notices: Option<Notices>,
    /// For how many lines of the ledger events have been sent.
    announced: Mutex<usize>,
    working: Arc<Semaphore>,
}

/// The time in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A new id, such as `pi_…`.
pub(crate) fn new_name(prefix: &str) -> String {
    let letters = std::iter::repeat_with(fastrand::alphanumeric).take(NAME_LETTERS);
    format!("{prefix}_{}", letters.collect::<String>())
}

/// A line about a payment.
pub(crate) fn line(intent: &Intent, operation: Operation, effect: Effect) -> Line {
    let name = match operation {
        Operation::Create => "create",
        Operation::Charge => "charge",
        Operation::Capture => "capture",
        Operation::Void => "void",
        Operation::Refund => "refund",
        Operation::LookUp => "look_up",
        Operation::Dispute => "dispute",
    };
    Line {
        key: intent.key(name),
        amount: intent.amount.clone(),
        method: intent.method.clone(),
        declined: None,
        effect,
        capture: intent.capture,
        at_ms: now_ms(),
        payment: intent.id.clone(),
        object: None,
        metadata: Metadata::new(),
        return_url: None,
    }
}

/// The operation of a line of the ledger.
fn operation_of(line: &Line) -> Operation {
    match line.effect {
        Effect::Created => Operation::Create,
        Effect::RefundPending | Effect::Refunded | Effect::RefundFailed => Operation::Refund,
        Effect::Disputed | Effect::DisputeClosed => Operation::Dispute,
        Effect::Voided | Effect::Released => Operation::Void,
        _ if line.key.contains(":capture:") => Operation::Capture,
        _ => Operation::Charge,
    }
}

/// The line of a successful charge.
pub(crate) fn charged(intent: &Intent) -> Line {
    let effect = match intent.capture {
        Capture::AtOnce => Effect::Captured,
        Capture::Later => Effect::Held,
    };
    line(intent, Operation::Charge, effect)
}

impl Provider {
    /// A provider whose ledger is in this file, if one is given, and which customers reach at `url`.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(ledger: Option<&Path>, url: &str, script: Script, webhook: Option<Webhook>) -> io::Result<Arc<Self>> {
        let store = match ledger {
            Some(path) => {
                let entries = match ledger::read(path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                    entries => entries?,
                };
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                Store::new(Some(Box::new(file)), entries)
            }
            None => Store::default(),
        };
        Ok(Arc::new(Self {
            // The events of earlier lines were sent then.
            announced: Mutex::new(store.lines().len()),
            store: Mutex::new(store),
            script,
            page: format!("{}/authenticate", url.trim_end_matches('/')),
            notices: webhook.map(Notices::start),
            working: Arc::new(Semaphore::new(WORKING_MAX)),
        }))
    }

    /// Sends the events of new lines.
    pub(crate) fn announce(&self) {
        let Some(notices) = &self.notices else { return };
        let mut announced = self.announced.lock();
        let store = self.store.lock();
        for line in store.lines().get(*announced..).unwrap_or_default() {
            let method = store.intent(&line.payment).map(|intent| intent.method.as_str()).unwrap_or_default();
            for event in objects::events(&store, line, &self.page) {
                notices.announce(&event, self.script.of_event(&line.key, operation_of(line), method));
            }
        }
        *announced = store.lines().len();
    }

    /// Finishes delayed payments and refunds that are due.
    pub(crate) fn settle(store: &mut Store, payment: &str) {
        let Some(intent) = store.intent(payment) else { return };
        let is_due = |since_ms: u64| now_ms() >= since_ms + SLOW_MS;
        let mut lines = Vec::new();
        if intent.status == Status::Processing && is_due(intent.since_ms) {
            lines.push(charged(intent));
        }
        for refund in intent.refunds.iter().filter_map(|id| store.refund(id)) {
            if !store.will_change(refund) || !is_due(refund.created_ms) {
                continue;
            }
            let (effect, declined) = match refund.status {
                "pending" => (Effect::Refunded, None),
                _ => (Effect::RefundFailed, Some(EXPIRED.to_owned())),
            };
            let (amount, object) = (refund.amount.clone(), Some(refund.id.clone()));
            lines.push(Line { amount, object, declined, ..line(intent, Operation::Refund, effect) });
        }
        lines.into_iter().for_each(|line| store.record(line));
    }

    /// Finishes a delayed payment or refund in the background, so that its event is sent even if nobody asks.
    pub(crate) fn finish_later(self: &Arc<Self>, payment: String) {
        let Ok(permit) = Arc::clone(&self.working).try_acquire_owned() else { return };
        let provider = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(SLOW_MS)).await;
            {
                let mut store = provider.store.lock();
                Self::settle(&mut store, &payment);
                if let Err(error) = store.flush() {
                    tracing::warn!(payment, %error, "the end of a payment could not be written to the ledger yet");
                }
            }
            provider.announce();
            drop(permit);
        });
    }
}
