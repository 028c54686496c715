//! The built-in fake provider, for demos and tests: no money moves. Over HTTP there is another, `souk gateway-sim`.
//!
//! | token | what happens |
//! |---|---|
//! | `tok_success` | captured (or held, where it is captured later) |
//! | `tok_decline` | declined: `card_declined` |
//! | `tok_insufficient_funds` | declined: `insufficient_funds` |
//! | `tok_timeout_after_charge` | charged; the first answer is lost (unknown), a repeat with the same key is answered |
//! | `tok_slow` | captured after two seconds |
//! | `tok_3ds` | there is no page on which its customer could approve it: declined, `authentication_required` |
//! | `tok_processing` | the provider works on it for two seconds, then it is captured |
//! | `tok_refund_fails` | captured, but no refund of it succeeds |
//! | any other | declined: `unknown_token` |
//!
//! Like a real one it has a ledger that outlives the shop's process: a file of JSON lines, one for each thing that
//! happened, written before the answer leaves. It is not synced: it stands for another company's machine, which does
//! not lose power with ours.
//!
//! May depend on `domain`.

mod book;
mod ledger;

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{FutureExt, future};
use parking_lot::Mutex;

use self::book::{Begins, Books};
pub use self::{
    book::{BookError, First},
    ledger::{Effect, LedgerError, LedgerLine, is_whole, read_ledger},
};
use super::{Answer, Booked, Gateway, Notice, NoticeRefused, Payment, PaymentsPage, Repayment, Unknown};
use crate::domain::{
    entity::Timestamp,
    order::{PaymentState, RefundState},
};

/// How long `tok_slow` and `tok_processing` take, in milliseconds: longer than a shopper's request should wait.
pub const SLOW_MS: u64 = 2_000;
/// How many payments are on a page of the books.
const PAGE: usize = 100;

/// The provider.
pub struct FakeProvider {
    books: Mutex<Books>,
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl FakeProvider {
    /// A provider whose ledger is kept in a file.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let lines = match read_ledger(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            lines => lines?,
        };
        let file = OpenOptions::new().create(true).append(true).mode(ledger::MODE).open(path)?;
        Ok(Self { books: Mutex::new(Books::new(Some(Box::new(file)), lines)) })
    }

    /// The provider of one shop, the one with this store: its ledger says so in its first line.
    ///
    /// # Errors
    /// [`LedgerError`]: the file is another shop's, or cannot be read or written.
    pub fn open_for(path: &Path, store: u64) -> Result<Self, LedgerError> {
        ledger::claim(path, store)?;
        Ok(Self::open(path)?)
    }

    /// A provider that forgets with the process.
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn in_memory() -> Self {
        Self { books: Mutex::new(Books::new(None, Vec::new())) }
    }

    /// All that ever happened, oldest first.
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn ledger(&self) -> Vec<LedgerLine> {
        self.books.lock().lines().to_vec()
    }

    /// Books a payment, or finds it booked. `declined` declines it, whatever the token.
    ///
    /// # Errors
    /// The key is known with another payment, or the ledger cannot be written; nothing is booked then.
    pub fn book(&self, payment: &Payment, declined: Option<String>) -> Result<(PaymentState, First), BookError> {
        let begins = match (declined, payment.method.as_str()) {
            (Some(reason), _) => Begins::Declined(reason),
            (None, "tok_success" | "tok_timeout_after_charge" | "tok_slow" | "tok_refund_fails") => Begins::Taken,
            (None, "tok_processing") => Begins::Processing,
            (None, "tok_3ds") => Begins::Declined("authentication_required".to_owned()),
            (None, "tok_decline") => Begins::Declined("card_declined".to_owned()),
            (None, "tok_insufficient_funds") => Begins::Declined("insufficient_funds".to_owned()),
            (None, _) => Begins::Declined("unknown_token".to_owned()),
        };
        self.settle(&payment.order.to_string(), payment.attempt)?;
        self.books.lock().pay(payment, begins, now_ms())
    }

    /// What has become of a payment; `None` where it was never heard of.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn look(&self, order: &str, attempt: u32) -> Result<Option<PaymentState>, BookError> {
        self.settle(order, attempt)?;
        Ok(self.books.lock().payment(order, attempt).map(|entry| entry.state.clone()))
    }

    /// What the provider works on comes to its end after a while.
    fn settle(&self, order: &str, attempt: u32) -> Result<(), BookError> {
        let mut books = self.books.lock();
        let is_due = books.payment(order, attempt).is_some_and(|entry| {
            matches!(entry.state, PaymentState::Processing { .. }) && now_ms() >= entry.at_ms + SLOW_MS
        });
        if is_due {
            books.finish(order, attempt, None, now_ms())?;
        }
        Ok(())
    }

    /// Captures what is held.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn capture_held(&self, order: &str, attempt: u32) -> Result<PaymentState, BookError> {
        self.books.lock().capture(order, attempt, now_ms())
    }

    /// Gives a payment up, also one that was never heard of.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn give_up(&self, payment: &Payment) -> Result<PaymentState, BookError> {
        self.settle(&payment.order.to_string(), payment.attempt)?;
        self.books.lock().void(payment, now_ms())
    }

    /// Gives money back. `fails` fails it, whatever the token.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn repay(&self, repayment: &Repayment, fails: Option<String>) -> Result<(RefundState, First), BookError> {
        let mut books = self.books.lock();
        let entry = books.payment(&repayment.order.to_string(), repayment.attempt);
        let by_token = entry.filter(|entry| entry.method == "tok_refund_fails").map(|_| "refused".to_owned());
        books.refund(repayment, fails.or(by_token), now_ms())
    }

    /// A payment with what has gone back of it.
    #[must_use]
    pub fn booked(&self, order: &str, attempt: u32) -> Option<Booked> {
        self.books.lock().payment(order, attempt).map(|entry| entry.booked(order, attempt))
    }

    /// A page of the payments made from `since` on and before `until`, oldest first.
    #[must_use]
    pub fn page_of(&self, since: Timestamp, until: Timestamp, after: Option<&str>) -> PaymentsPage {
        let books = self.books.lock();
        let after = after.and_then(|after| {
            let mut parts = after.splitn(3, '-');
            Some((parts.next()?.parse().ok()?, parts.next()?.to_owned(), parts.next()?.parse().ok()?))
        });
        let mut found: Vec<_> = books.by_time(since.0, until.0, after).take(PAGE + 1).collect();
        let more = found.len() > PAGE;
        found.truncate(PAGE);
        let last = found.last().filter(|_| more);
        let next = last.map(|((at_ms, order, attempt), _)| format!("{at_ms}-{order}-{attempt}"));
        let payments = found.into_iter().map(|((_, order, attempt), entry)| entry.booked(order, *attempt));
        PaymentsPage { payments: payments.collect(), unreadable: Vec::new(), next }
    }
}

impl From<BookError> for Unknown {
    fn from(error: BookError) -> Self {
        Self::new(error.to_string())
    }
}

fn ready<'a, T: Send + 'a>(answer: Result<T, BookError>) -> Answer<'a, T> {
    future::ready(answer.map_err(Unknown::from)).boxed()
}

impl Gateway for FakeProvider {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn pay(&self, payment: Payment) -> Answer<'_, PaymentState> {
        async move {
            let (state, first) = self.book(&payment, None)?;
            match (payment.method.as_str(), first) {
                ("tok_slow", First::Yes) => tokio::time::sleep(Duration::from_millis(SLOW_MS)).await,
                ("tok_timeout_after_charge", First::Yes) => {
                    return Err(Unknown::new("no answer in time (simulated)"));
                }
                _ => {}
            }
            Ok(state)
        }
        .boxed()
    }

    fn find(&self, payment: Payment) -> Answer<'_, Option<PaymentState>> {
        ready(self.look(&payment.order.to_string(), payment.attempt))
    }

    fn look_up(&self, reference: String) -> Answer<'_, Option<Booked>> {
        let named = reference.strip_prefix("sim_").and_then(|key| key.split_once(":charge:"));
        let named = named.and_then(|(order, attempt)| Some((order, attempt.parse().ok()?)));
        ready(Ok(named.and_then(|(order, attempt)| self.booked(order, attempt))))
    }

    fn capture(&self, payment: Payment) -> Answer<'_, PaymentState> {
        ready(self.capture_held(&payment.order.to_string(), payment.attempt))
    }

    fn void(&self, payment: Payment) -> Answer<'_, PaymentState> {
        ready(self.give_up(&payment))
    }

    fn refund(&self, repayment: Repayment) -> Answer<'_, RefundState> {
        ready(self.repay(&repayment, None).map(|(state, _)| state))
    }

    fn list_payments(&self, since: Timestamp, until: Timestamp, after: Option<String>) -> Answer<'_, PaymentsPage> {
        ready(Ok(self.page_of(since, until, after.as_deref())))
    }

    fn signature_header(&self) -> &'static str {
        "souk-signature"
    }

    fn notice(&self, _: &str, _: &[u8], _: Timestamp) -> Result<Notice, NoticeRefused> {
        Err(NoticeRefused::NotSetUp)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write};

    use super::*;
    use crate::{
        domain::{
            ids::OrderId,
            money::{Currency, Money},
            order::CaptureMode,
        },
        payments::Operation,
    };

    fn payment(attempt: u32, method: &str) -> Payment {
        let amount = Money::new(500, Currency::INR).unwrap();
        let (order, method, capture) = (OrderId(1), method.into(), CaptureMode::AtOnce);
        Payment { order, attempt, amount, method, capture, requested_at: Timestamp(0), reference: None }
    }

    #[tokio::test]
    async fn the_same_key_charges_once_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.jsonl");
        let provider = FakeProvider::open(&path).unwrap();
        let first = provider.pay(payment(1, "tok_success")).await.unwrap();
        assert_eq!(provider.pay(payment(1, "tok_success")).await.unwrap(), first);
        let restarted = FakeProvider::open(&path).unwrap();
        assert_eq!(restarted.pay(payment(1, "tok_success")).await.unwrap(), first);
        assert_eq!(restarted.ledger().len(), 1);
    }

    /// A file on a disk that is full after so many bytes, once.
    struct FullOnce(File, usize);

    impl Write for FullOnce {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match std::mem::replace(&mut self.1, usize::MAX) {
                0 => Err(io::ErrorKind::StorageFull.into()),
                room => {
                    let written = self.0.write(&bytes[..bytes.len().min(room)])?;
                    self.1 = if room == usize::MAX { room } else { room - written };
                    Ok(written)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    #[tokio::test]
    async fn a_line_that_a_full_disk_cut_short_does_not_spoil_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.jsonl");
        for room in [1, 20] {
            let file: Box<dyn Write + Send> = Box::new(FullOnce(File::create(&path).unwrap(), room));
            let provider = FakeProvider { books: Mutex::new(Books::new(Some(file), Vec::new())) };
            assert!(provider.pay(payment(1, "tok_success")).await.is_err());
            provider.pay(payment(2, "tok_success")).await.unwrap();
            provider.pay(payment(1, "tok_success")).await.unwrap();
            let mut keys: Vec<String> = read_ledger(&path).unwrap().into_iter().map(|line| line.key).collect();
            keys.sort_unstable();
            assert_eq!(keys, [1, 2].map(|attempt| payment(attempt, "").key(Operation::Charge).to_string()));
        }
    }

    #[tokio::test]
    async fn a_lost_answer_is_found_again_under_the_same_key() {
        let provider = FakeProvider::in_memory();
        assert!(provider.pay(payment(1, "tok_timeout_after_charge")).await.is_err());
        let told = provider.pay(payment(1, "tok_timeout_after_charge")).await.unwrap();
        assert!(matches!(told, PaymentState::Captured { .. }));
        assert_eq!(provider.ledger().len(), 1, "charged once");
    }

    #[tokio::test]
    async fn declines_say_why() {
        let provider = FakeProvider::in_memory();
        let cases = [
            ("tok_decline", "card_declined"),
            ("tok_insufficient_funds", "insufficient_funds"),
            ("tok_x", "unknown_token"),
        ];
        for (attempt, (method, reason)) in (1..).zip(cases) {
            let outcome = provider.pay(payment(attempt, method)).await.unwrap();
            assert_eq!(outcome, PaymentState::Declined { reason: reason.into() });
        }
    }
}
