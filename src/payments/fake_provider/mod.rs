//! The built-in fake provider, for demos and tests: no money moves. `souk gateway-sim` is another one, over HTTP.
//!
//! | token | what happens |
//! |---|---|
//! | `tok_success` | captured (or held, where it is captured later) |
//! | `tok_decline`, and whatever begins so | declined: `card_declined` |
//! | `tok_insufficient_funds` | declined: `insufficient_funds` |
//! | `tok_timeout_after_charge` | charged; the first answer is lost (unknown), a repeat with the same key is answered |
//! | `tok_slow` | captured after two seconds |
//! | `tok_3ds` | declined: `authentication_required`, as there is no page on which the customer could approve it |
//! | `tok_processing` | processing for two seconds, then captured |
//! | `tok_refund_fails` | captured, but every refund fails at once: `expired_or_canceled_card` |
//! | any other | refused before it is a payment; where it is one all the same, declined: `unknown_token` |
//!
//! `souk gateway-sim` knows these tokens, too. A refund that succeeds and fails later is announced by a notice, which
//! this provider never sends; there it is `pm_card_refundFail`.
//!
//! Its ledger outlives the shop's process, as that of a real provider does: a file of JSON lines, one for each
//! operation, written before the answer is sent. The file is not synced, because it stands for another company's
//! machine, which does not lose power together with ours.
//!
//! May depend on `domain`.

mod ledger;
mod ledger_file;

use std::{fs::OpenOptions, io, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};

use futures::{FutureExt, future};
use parking_lot::Mutex;

use self::ledger::{FirstOutcome, Ledger};
pub use self::{
    ledger::{FakeProviderError, KeyUse},
    ledger_file::{LedgerEffect, LedgerError, LedgerLine, is_whole, read_ledger},
};
use super::{
    Answer, Gateway, Notice, NoticeRefused, Payment, PaymentsPage, ProviderPayment, Repayment, Unknown, UnknownMethod,
};
use crate::{
    clock::Clock,
    config::layout::FILE_MODE,
    domain::{
        entity::Timestamp,
        order::{PaymentState, RefundState},
    },
};

/// How long `tok_slow` and `tok_processing` take, in milliseconds: longer than a shopper's request should wait.
pub const SLOW_MS: u64 = 2_000;
/// How many payments are on a page of the list.
const PAGE: usize = 100;
/// Why a refund fails whose token says so.
const REFUND_FAILS: &str = "expired_or_canceled_card";

/// A provider with a ledger of its own.
pub struct FakeProvider {
    ledger: Mutex<Ledger>,
}

/// The provider's time. It is another company's, and no clock of the shop moves it.
fn now_ms() -> u64 {
    Clock::system().now().0
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
        let file = OpenOptions::new().create(true).append(true).mode(FILE_MODE).open(path)?;
        Ok(Self { ledger: Mutex::new(Ledger::new(Some(Box::new(file)), lines)) })
    }

    /// The provider of the shop with this store, which the first line of the ledger names.
    ///
    /// # Errors
    /// [`LedgerError`]: the file is another shop's, or cannot be read or written.
    pub fn open_for(path: &Path, store: u64) -> Result<Self, LedgerError> {
        ledger_file::claim(path, store)?;
        Ok(Self::open(path)?)
    }

    /// A provider without a file: it ends with the process.
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn in_memory() -> Self {
        Self { ledger: Mutex::new(Ledger::new(None, Vec::new())) }
    }

    /// All lines of the ledger, oldest first.
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn ledger(&self) -> Vec<LedgerLine> {
        self.ledger.lock().lines().to_vec()
    }

    /// Charges a payment, or declines it for the reason `declined` whatever the token. If its key is known, returns the
    /// state of the payment instead.
    ///
    /// # Errors
    /// The key was used for another payment, or the ledger cannot be written; nothing is charged then.
    pub fn charge(
        &self,
        payment: &Payment,
        declined: Option<String>,
    ) -> Result<(PaymentState, KeyUse), FakeProviderError> {
        let outcome = match declined {
            Some(reason) => FirstOutcome::Declined(reason),
            None => {
                first_outcome(&payment.method).unwrap_or_else(|| FirstOutcome::Declined("unknown_token".to_owned()))
            }
        };
        self.finish_if_due(&payment.order.to_string(), payment.attempt)?;
        self.ledger.lock().create_charge(payment, outcome, now_ms())
    }

    /// The state of a payment; `None` if there is no such payment.
    ///
    /// # Errors
    /// The ledger cannot be written.
    fn payment_state(&self, order: &str, attempt: u32) -> Result<Option<PaymentState>, FakeProviderError> {
        self.finish_if_due(order, attempt)?;
        Ok(self.ledger.lock().charge(order, attempt).map(|charge| charge.state.clone()))
    }

    /// Ends the processing of a payment that began [`SLOW_MS`] ago.
    fn finish_if_due(&self, order: &str, attempt: u32) -> Result<(), FakeProviderError> {
        let mut ledger = self.ledger.lock();
        let is_due = ledger.charge(order, attempt).is_some_and(|charge| {
            matches!(charge.state, PaymentState::Processing { .. }) && now_ms() >= charge.at_ms + SLOW_MS
        });
        if is_due {
            ledger.finish_processing(order, attempt, None, now_ms())?;
        }
        Ok(())
    }

    /// Refunds money, or fails for the reason `fails` whatever the token. If its key is known, returns the state of the
    /// refund instead.
    ///
    /// # Errors
    /// There is no such payment, the key was used for another refund, or the ledger cannot be written.
    pub fn refund_payment(
        &self,
        repayment: &Repayment,
        fails: Option<String>,
    ) -> Result<(RefundState, KeyUse), FakeProviderError> {
        let mut ledger = self.ledger.lock();
        let charge = ledger.charge(&repayment.order.to_string(), repayment.attempt);
        let by_token = charge.filter(|charge| charge.method == "tok_refund_fails").map(|_| REFUND_FAILS.to_owned());
        ledger.refund(repayment, fails.or(by_token), now_ms())
    }

    /// A page of the payments made from `since` on and before `until`, oldest first.
    fn page_of(&self, since: Timestamp, until: Timestamp, after: Option<&str>) -> PaymentsPage {
        let ledger = self.ledger.lock();
        let after = after.and_then(|after| {
            let mut parts = after.splitn(3, '-');
            Some((parts.next()?.parse().ok()?, parts.next()?.to_owned(), parts.next()?.parse().ok()?))
        });
        let mut found: Vec<_> = ledger.by_time(since.0, until.0, after).take(PAGE + 1).collect();
        let more = found.len() > PAGE;
        found.truncate(PAGE);
        let last = found.last().filter(|_| more);
        let next = last.map(|((at_ms, order, attempt), _)| format!("{at_ms}-{order}-{attempt}"));
        let payments = found.into_iter().map(|((_, order, attempt), charge)| charge.report(order, *attempt));
        PaymentsPage { payments: payments.collect(), unreadable: Vec::new(), next }
    }
}

impl From<FakeProviderError> for Unknown {
    fn from(error: FakeProviderError) -> Self {
        Self::new(error.to_string())
    }
}

/// What happens first to a payment with this token; `None` if there is no such token.
fn first_outcome(token: &str) -> Option<FirstOutcome> {
    Some(match token {
        "tok_success" | "tok_timeout_after_charge" | "tok_slow" | "tok_refund_fails" => FirstOutcome::Succeeded,
        "tok_processing" => FirstOutcome::Processing,
        "tok_3ds" => FirstOutcome::Declined("authentication_required".to_owned()),
        _ if token.starts_with("tok_decline") => FirstOutcome::Declined("card_declined".to_owned()),
        "tok_insufficient_funds" => FirstOutcome::Declined("insufficient_funds".to_owned()),
        _ => return None,
    })
}

fn ready<'a, T: Send + 'a>(answer: Result<T, FakeProviderError>) -> Answer<'a, T> {
    future::ready(answer.map_err(Unknown::from)).boxed()
}

impl Gateway for FakeProvider {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn check_method(&self, method: &str) -> Result<(), UnknownMethod> {
        first_outcome(method).map(|_| ()).ok_or(UnknownMethod)
    }

    fn pay(&self, payment: Payment) -> Answer<'_, PaymentState> {
        async move {
            let (state, key) = self.charge(&payment, None)?;
            match (payment.method.as_str(), key) {
                ("tok_slow", KeyUse::First) => tokio::time::sleep(Duration::from_millis(SLOW_MS)).await,
                ("tok_timeout_after_charge", KeyUse::First) => {
                    return Err(Unknown::new("no answer in time (simulated)"));
                }
                _ => {}
            }
            Ok(state)
        }
        .boxed()
    }

    fn find(&self, payment: Payment) -> Answer<'_, Option<PaymentState>> {
        ready(self.payment_state(&payment.order.to_string(), payment.attempt))
    }

    fn look_up(&self, reference: String) -> Answer<'_, Option<ProviderPayment>> {
        let named = reference.strip_prefix("sim_").and_then(|key| key.split_once(":charge:"));
        let found = named.and_then(|(order, attempt)| {
            let attempt = attempt.parse().ok()?;
            Some(self.ledger.lock().charge(order, attempt)?.report(order, attempt))
        });
        ready(Ok(found))
    }

    fn capture(&self, payment: Payment) -> Answer<'_, PaymentState> {
        ready(self.ledger.lock().capture(&payment.order.to_string(), payment.attempt, now_ms()))
    }

    fn void(&self, payment: Payment) -> Answer<'_, PaymentState> {
        let finished = self.finish_if_due(&payment.order.to_string(), payment.attempt);
        ready(finished.and_then(|()| self.ledger.lock().void(&payment, now_ms())))
    }

    fn refund(&self, repayment: Repayment) -> Answer<'_, RefundState> {
        ready(self.refund_payment(&repayment, None).map(|(state, _)| state))
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

    /// A file on a disk that has room for so many bytes, is full once, and has room again afterwards.
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
            let provider = FakeProvider { ledger: Mutex::new(Ledger::new(Some(file), Vec::new())) };
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
        let repeated = provider.pay(payment(1, "tok_timeout_after_charge")).await.unwrap();
        assert!(matches!(repeated, PaymentState::Captured { .. }));
        assert_eq!(provider.ledger().len(), 1, "charged once");
    }

    /// The same as over HTTP (`tests/it/gateway_sim/`).
    #[tokio::test]
    async fn a_refund_fails_at_once_where_the_token_says_so() {
        let provider = FakeProvider::in_memory();
        let paid = payment(1, "tok_refund_fails");
        let state = provider.pay(paid.clone()).await.unwrap();
        let (order, payment, amount) = (paid.order, state.reference().unwrap().to_owned(), paid.amount);
        let repayment = Repayment { order, attempt: 1, number: 1, payment, amount, reference: None };
        for _ in 0..2 {
            let refund = provider.refund(repayment.clone()).await.unwrap();
            assert_eq!(refund, RefundState::Failed { reason: "expired_or_canceled_card".into() });
        }
        let seen = provider.look_up(state.reference().unwrap().to_owned()).await.unwrap();
        assert_eq!(seen.unwrap().refunded_minor, 0);
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
