//! The provider at work: its books, its script and its events, behind one lock.
//!
//! Depends on `books`, `ledger`, `methods`, `notices`, `objects` and `script`.

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
    books::{Books, Intent, Status},
    ledger::{self, Capture, Effect, Line, Metadata},
    methods::SLOW_MS,
    notices::{Notices, Webhook},
    objects,
    script::{Operation, Script},
};

/// How many payments and refunds that take a while have a task each. The others come to their end when they are read.
const WORKING_MAX: usize = 1_000;
/// The letters of an object's name.
const NAME_LETTERS: usize = 24;

/// A fake provider.
pub struct Provider {
    pub(crate) books: Mutex<Books>,
    pub(crate) script: Script,
    /// Where customers authenticate themselves; the order and the attempt follow.
    pub(crate) page: String,
    notices: Option<Notices>,
    /// How many lines of the ledger have been announced.
    announced: Mutex<usize>,
    working: Arc<Semaphore>,
}

/// The time in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A new name, such as `pi_…`.
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

/// The operation that a line of the ledger is of.
fn operation_of(line: &Line) -> Operation {
    match line.effect {
        Effect::Created => Operation::Create,
        Effect::RefundPending | Effect::Refunded | Effect::RefundFailed => Operation::Refund,
        Effect::Disputed | Effect::DisputeClosed => Operation::Dispute,
        Effect::Voided => Operation::Void,
        _ if line.key.contains(":capture:") => Operation::Capture,
        _ => Operation::Charge,
    }
}

/// What a payment comes to when its charge succeeds.
pub(crate) fn charged(intent: &Intent) -> Line {
    let effect = match intent.capture {
        Capture::AtOnce => Effect::Captured,
        Capture::Later => Effect::Held,
    };
    line(intent, Operation::Charge, effect)
}

impl Provider {
    /// A provider whose ledger is kept in a file, if one is given, and whose customers come to it at `url`.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(ledger: Option<&Path>, url: &str, script: Script, webhook: Option<Webhook>) -> io::Result<Arc<Self>> {
        let books = match ledger {
            Some(path) => {
                let entries = match ledger::read(path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                    entries => entries?,
                };
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                Books::new(Some(Box::new(file)), entries)
            }
            None => Books::default(),
        };
        Ok(Arc::new(Self {
            // What happened before was announced then.
            announced: Mutex::new(books.lines().len()),
            books: Mutex::new(books),
            script,
            page: format!("{}/authenticate", url.trim_end_matches('/')),
            notices: webhook.map(Notices::start),
            working: Arc::new(Semaphore::new(WORKING_MAX)),
        }))
    }

    /// Announces what has happened since.
    pub(crate) fn announce(&self) {
        let Some(notices) = &self.notices else { return };
        let mut announced = self.announced.lock();
        let books = self.books.lock();
        for line in books.lines().get(*announced..).unwrap_or_default() {
            let method = books.intent(&line.payment).map(|intent| intent.method.as_str()).unwrap_or_default();
            for event in objects::events(&books, line, &self.page) {
                notices.announce(&event, self.script.of_event(&line.key, operation_of(line), method));
            }
        }
        *announced = books.lines().len();
    }

    /// Brings what takes a while to its end, where the while is over.
    pub(crate) fn settle(books: &mut Books, payment: &str) {
        let Some(intent) = books.intent(payment) else { return };
        let is_due = |since_ms: u64| now_ms() >= since_ms + SLOW_MS;
        let mut lines = Vec::new();
        if intent.status == Status::Processing && is_due(intent.since_ms) {
            lines.push(charged(intent));
        }
        for refund in intent.refunds.iter().filter_map(|id| books.refund(id)) {
            if refund.status == "pending" && is_due(refund.created_ms) {
                let (amount, object) = (refund.amount.clone(), Some(refund.id.clone()));
                lines.push(Line { amount, object, ..line(intent, Operation::Refund, Effect::Refunded) });
            }
        }
        lines.into_iter().for_each(|line| books.record(line));
    }

    /// Looks after a payment or a refund that takes a while, so that its end is announced although nobody asks.
    pub(crate) fn look_after(self: &Arc<Self>, payment: String) {
        let Ok(permit) = Arc::clone(&self.working).try_acquire_owned() else { return };
        let provider = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(SLOW_MS)).await;
            {
                let mut books = provider.books.lock();
                Self::settle(&mut books, &payment);
                if let Err(error) = books.flush() {
                    tracing::warn!(payment, %error, "the end of a payment is not in the ledger yet");
                }
            }
            provider.announce();
            drop(permit);
        });
    }
}
