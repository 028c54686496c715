//! The fake provider's books: what has become of each payment and each refund, and the ledger that they are read from
//! again.
//!
//! May depend on `domain`.

use std::{
    collections::{BTreeSet, HashMap},
    io::{self, Write},
};

use super::ledger::{self, Effect, LedgerLine};
use crate::{
    domain::{
        money::Money,
        order::{CaptureMode, PaymentState, RefundState},
    },
    payments::{Booked, Operation, OperationKey, Payment, Repayment},
};

/// Why nothing was booked.
#[derive(Debug, thiserror::Error)]
#[allow(unnameable_types, reason = "it only becomes a public error")]
pub enum BookError {
    /// The key is known with another request.
    #[error("the key was used for another request")]
    KeyReused,
    /// There is no such payment.
    #[error("there is no such payment")]
    NoSuchPayment,
    /// What is asked for cannot be done where the payment stands.
    #[error("the payment does not allow that")]
    NotAllowed,
    /// The ledger cannot be written.
    #[error("the ledger: {0}")]
    Ledger(#[from] io::Error),
}

/// Whether a request was the first with its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// It was.
    Yes,
    /// It was a repetition.
    No,
}

/// What a new payment comes to at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Begins {
    /// The money is taken, or held.
    Taken,
    /// The provider works on it.
    Processing,
    /// Definitely not.
    Declined(String),
}

/// A payment, by what its lines say.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub amount: Money,
    pub method: String,
    pub state: PaymentState,
    pub at_ms: u64,
    pub refunded_minor: u64,
    capture: CaptureMode,
}

impl Entry {
    pub(super) fn booked(&self, order: &str, attempt: u32) -> Booked {
        Booked {
            of: order.parse().ok().map(|order| (order, attempt)),
            reference: name(order, attempt),
            state: self.state.clone(),
            refunded_minor: self.refunded_minor,
        }
    }
}

/// The books.
pub(super) struct Books {
    file: Option<Box<dyn Write + Send>>,
    lines: Vec<LedgerLine>,
    /// By order and attempt.
    payments: HashMap<(String, u32), Entry>,
    /// By order and number.
    refunds: HashMap<(String, u32), (Money, RefundState)>,
    /// Payments by time.
    by_time: BTreeSet<(u64, String, u32)>,
}

fn name(order: &str, attempt: u32) -> String {
    format!("sim_{order}:charge:{attempt}")
}

impl Books {
    pub(super) fn new(file: Option<Box<dyn Write + Send>>, lines: Vec<LedgerLine>) -> Self {
        let (payments, refunds, by_time) = (HashMap::new(), HashMap::new(), BTreeSet::new());
        let mut books = Self { file, lines: Vec::new(), payments, refunds, by_time };
        for line in lines {
            books.read(line);
        }
        books
    }

    #[cfg(any(test, feature = "internals"))]
    pub(super) fn lines(&self) -> &[LedgerLine] {
        &self.lines
    }

    pub(super) fn payment(&self, order: &str, attempt: u32) -> Option<&Entry> {
        self.payments.get(&(order.to_owned(), attempt))
    }

    /// Payments from a moment on and before another, oldest first, after this one.
    pub(super) fn by_time(
        &self,
        since_ms: u64,
        until_ms: u64,
        after: Option<(u64, String, u32)>,
    ) -> impl Iterator<Item = (&(u64, String, u32), &Entry)> {
        let from = after.map_or(std::ops::Bound::Included((since_ms, String::new(), 0)), std::ops::Bound::Excluded);
        let keys = self.by_time.range((from, std::ops::Bound::Excluded((until_ms, String::new(), 0))));
        keys.filter_map(|key| Some((key, self.payment(&key.1, key.2)?)))
    }

    /// Writes a line, then takes note of it.
    fn book(&mut self, line: LedgerLine) -> Result<(), BookError> {
        if let Some(file) = &mut self.file {
            let text = ledger::line(&line)?;
            // The end of the line before comes first: one that was cut short by a kill or a full disk is not continued.
            file.write_all(format!("\n{text}").as_bytes())?;
        }
        self.read(line);
        Ok(())
    }

    fn read(&mut self, line: LedgerLine) {
        let Some((order, operation, number)) =
            line.parts().map(|(order, what, n)| (order.to_owned(), what.to_owned(), n))
        else {
            return;
        };
        let reason = || line.declined.clone().unwrap_or_default();
        if operation == Operation::Refund.as_str() {
            let state = match line.effect {
                Effect::RefundFailed => RefundState::Failed { reason: reason() },
                _ => RefundState::Refunded { reference: format!("sim_{}", line.key) },
            };
            // The method of a refund is the attempt whose money goes back.
            let payment =
                line.method.parse().ok().and_then(|attempt: u32| self.payments.get_mut(&(order.clone(), attempt)));
            if let (Some(payment), RefundState::Refunded { .. }) = (payment, &state) {
                payment.refunded_minor += line.amount.minor;
            }
            self.refunds.insert((order, number), (line.amount, state));
        } else {
            let reference = name(&order, number);
            let amount = line.amount;
            let state = match line.effect {
                Effect::Held => PaymentState::Authorised { reference, amount },
                Effect::Declined => PaymentState::Declined { reason: reason() },
                Effect::Voided => PaymentState::Voided { reference: Some(reference) },
                Effect::Processing => PaymentState::Processing { reference },
                Effect::Captured | Effect::Refunded | Effect::RefundFailed => {
                    PaymentState::Captured { reference, amount }
                }
            };
            let by_time = &mut self.by_time;
            let entry = self.payments.entry((order.clone(), number)).or_insert_with(|| {
                by_time.insert((line.at_ms, order, number));
                Entry {
                    amount,
                    method: line.method.clone(),
                    state: state.clone(),
                    at_ms: line.at_ms,
                    refunded_minor: 0,
                    capture: line.capture,
                }
            });
            entry.state = state;
        }
        self.lines.push(line);
    }

    /// Books a new payment, or finds it booked.
    pub(super) fn pay(
        &mut self,
        payment: &Payment,
        begins: Begins,
        now_ms: u64,
    ) -> Result<(PaymentState, First), BookError> {
        let order = payment.order.to_string();
        if let Some(known) = self.payment(&order, payment.attempt) {
            let is_void = matches!(known.state, PaymentState::Voided { .. }) && known.method.is_empty();
            if !is_void && (known.amount, known.method.as_str()) != (payment.amount, payment.method.as_str()) {
                return Err(BookError::KeyReused);
            }
            return Ok((known.state.clone(), First::No));
        }
        let (effect, declined) = match (begins, payment.capture) {
            (Begins::Taken, CaptureMode::AtOnce) => (Effect::Captured, None),
            (Begins::Taken, CaptureMode::Later) => (Effect::Held, None),
            (Begins::Processing, _) => (Effect::Processing, None),
            (Begins::Declined(reason), _) => (Effect::Declined, Some(reason)),
        };
        let method = payment.method.clone();
        let key = payment.key(Operation::Charge).to_string();
        let (amount, capture) = (payment.amount, payment.capture);
        self.book(LedgerLine { key, amount, method, declined, effect, capture, at_ms: now_ms })?;
        Ok((self.state(&order, payment.attempt)?, First::Yes))
    }

    fn state(&self, order: &str, attempt: u32) -> Result<PaymentState, BookError> {
        self.payment(order, attempt).map(|entry| entry.state.clone()).ok_or(BookError::NoSuchPayment)
    }

    /// A payment that is worked on comes to an end: the money is taken or held, or it is declined.
    pub(super) fn finish(
        &mut self,
        order: &str,
        attempt: u32,
        declined: Option<String>,
        now_ms: u64,
    ) -> Result<PaymentState, BookError> {
        let entry = self.payment(order, attempt).ok_or(BookError::NoSuchPayment)?;
        if matches!(entry.state, PaymentState::Processing { .. }) {
            let effect = match (&declined, entry.capture) {
                (Some(_), _) => Effect::Declined,
                (None, CaptureMode::AtOnce) => Effect::Captured,
                (None, CaptureMode::Later) => Effect::Held,
            };
            self.move_on(order, attempt, Operation::Charge, effect, declined, now_ms)?;
        }
        self.state(order, attempt)
    }

    fn move_on(
        &mut self,
        order: &str,
        attempt: u32,
        operation: Operation,
        effect: Effect,
        declined: Option<String>,
        now_ms: u64,
    ) -> Result<(), BookError> {
        let entry = self.payment(order, attempt).ok_or(BookError::NoSuchPayment)?;
        let (amount, method, capture) = (entry.amount, entry.method.clone(), entry.capture);
        let key = format!("{order}:{}:{attempt}", operation.as_str());
        self.book(LedgerLine { key, amount, method, declined, effect, capture, at_ms: now_ms })
    }

    pub(super) fn capture(&mut self, order: &str, attempt: u32, now_ms: u64) -> Result<PaymentState, BookError> {
        match self.state(order, attempt)? {
            PaymentState::Authorised { .. } => {
                self.move_on(order, attempt, Operation::Capture, Effect::Captured, None, now_ms)?;
                self.state(order, attempt)
            }
            PaymentState::Processing { .. } => Err(BookError::NotAllowed),
            state => Ok(state),
        }
    }

    /// Gives a payment up. One that was never heard of is remembered as given up, so that it cannot come later.
    pub(super) fn void(&mut self, payment: &Payment, now_ms: u64) -> Result<PaymentState, BookError> {
        let order = payment.order.to_string();
        match self.state(&order, payment.attempt) {
            Err(BookError::NoSuchPayment) => {
                let key = payment.key(Operation::Void).to_string();
                let (amount, method, effect) = (payment.amount, String::new(), Effect::Voided);
                let capture = payment.capture;
                self.book(LedgerLine { key, amount, method, declined: None, effect, capture, at_ms: now_ms })?;
            }
            Ok(PaymentState::Authorised { .. }) => {
                self.move_on(&order, payment.attempt, Operation::Void, Effect::Voided, None, now_ms)?;
            }
            known => return known,
        }
        self.state(&order, payment.attempt)
    }

    /// Books a refund, or finds it booked. `fails` says why it fails.
    pub(super) fn refund(
        &mut self,
        repayment: &Repayment,
        fails: Option<String>,
        now_ms: u64,
    ) -> Result<(RefundState, First), BookError> {
        let order = repayment.order.to_string();
        if let Some((amount, state)) = self.refunds.get(&(order.clone(), repayment.number)) {
            return if *amount == repayment.amount {
                Ok((state.clone(), First::No))
            } else {
                Err(BookError::KeyReused)
            };
        }
        let entry = self.payment(&order, repayment.attempt).ok_or(BookError::NoSuchPayment)?;
        let left = match entry.state {
            PaymentState::Captured { amount, .. } => amount.minor.saturating_sub(entry.refunded_minor),
            _ => 0,
        };
        let fails = fails.or_else(|| (repayment.amount.minor > left).then(|| "more_than_captured".to_owned()));
        let effect = if fails.is_some() { Effect::RefundFailed } else { Effect::Refunded };
        let key = OperationKey { order: repayment.order, operation: Operation::Refund, number: repayment.number };
        let (amount, method) = (repayment.amount, repayment.attempt.to_string());
        let (key, capture, effect) = (key.to_string(), CaptureMode::default(), effect);
        self.book(LedgerLine { key, amount, method, declined: fails, effect, capture, at_ms: now_ms })?;
        let (_, state) = self.refunds.get(&(order, repayment.number)).ok_or(BookError::NoSuchPayment)?;
        Ok((state.clone(), First::Yes))
    }
}
