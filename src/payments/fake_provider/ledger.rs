//! The fake provider's ledger in memory: the state of each charge and each refund. Every change is a line that is
//! written to the file first, and a start applies the lines of the file again.
//!
//! May depend on `domain`.

use std::{
    collections::{BTreeSet, HashMap},
    io::{self, Write},
};

use super::ledger_file::{self, LedgerEffect, LedgerLine};
use crate::{
    domain::{
        money::Money,
        order::{CaptureMode, PaymentState, RefundState},
    },
    payments::{Operation, OperationKey, Payment, ProviderPayment, Repayment},
};

/// Why a request to the fake provider failed. Nothing was recorded.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the names say it")]
#[allow(unnameable_types, reason = "it only becomes a public error")]
pub enum FakeProviderError {
    /// The idempotency key was used before, for a request with another body.
    #[error("the key was used for another request")]
    KeyReused,
    #[error("there is no such payment")]
    NoSuchPayment,
    /// The state of the payment does not allow the operation.
    #[error("the payment does not allow that")]
    NotAllowed,
    /// The ledger's file cannot be written.
    #[error("the ledger: {0}")]
    Ledger(#[from] io::Error),
}

/// Whether a request was the first one with its idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum KeyUse {
    First,
    Repeated,
}

/// The first outcome of a new charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FirstOutcome {
    /// The money is captured or held, as the request says.
    Succeeded,
    /// The provider needs more time.
    Processing,
    /// The reason of the decline.
    Declined(String),
}

/// A charge in the state that the ledger's lines have brought it to.
#[derive(Debug, Clone)]
pub(super) struct Charge {
    pub amount: Money,
    pub method: String,
    pub state: PaymentState,
    pub at_ms: u64,
    pub refunded_minor: u64,
    capture: CaptureMode,
}

impl Charge {
    /// The charge as the gateway reports it.
    pub(super) fn report(&self, order: &str, attempt: u32) -> ProviderPayment {
        ProviderPayment {
            of: order.parse().ok().map(|order| (order, attempt)),
            reference: charge_id(order, attempt),
            state: self.state.clone(),
            refunded_minor: self.refunded_minor,
        }
    }
}

/// The lines of the ledger, and the charges and refunds that they describe.
pub(super) struct Ledger {
    /// `None` for a ledger that ends with the process.
    file: Option<Box<dyn Write + Send>>,
    lines: Vec<LedgerLine>,
    /// By order and attempt.
    charges: HashMap<(String, u32), Charge>,
    /// By order and number of the refund.
    refunds: HashMap<(String, u32), (Money, RefundState)>,
    /// The charges by time, order and attempt.
    by_time: BTreeSet<(u64, String, u32)>,
}

fn charge_id(order: &str, attempt: u32) -> String {
    format!("sim_{order}:charge:{attempt}")
}

impl Ledger {
    /// A ledger with the lines that were read from its file.
    pub(super) fn new(file: Option<Box<dyn Write + Send>>, lines: Vec<LedgerLine>) -> Self {
        let (charges, refunds, by_time) = (HashMap::new(), HashMap::new(), BTreeSet::new());
        let mut ledger = Self { file, lines: Vec::new(), charges, refunds, by_time };
        for line in lines {
            ledger.apply(line);
        }
        ledger
    }

    #[cfg(any(test, feature = "internals"))]
    pub(super) fn lines(&self) -> &[LedgerLine] {
        &self.lines
    }

    pub(super) fn charge(&self, order: &str, attempt: u32) -> Option<&Charge> {
        self.charges.get(&(order.to_owned(), attempt))
    }

    /// The charges from `since_ms` on and before `until_ms`, oldest first; those after the key `after`, if there is
    /// one.
    pub(super) fn by_time(
        &self,
        since_ms: u64,
        until_ms: u64,
        after: Option<(u64, String, u32)>,
    ) -> impl Iterator<Item = (&(u64, String, u32), &Charge)> {
        let from = after.map_or(std::ops::Bound::Included((since_ms, String::new(), 0)), std::ops::Bound::Excluded);
        let keys = self.by_time.range((from, std::ops::Bound::Excluded((until_ms, String::new(), 0))));
        keys.filter_map(|key| Some((key, self.charge(&key.1, key.2)?)))
    }

    /// Writes a line to the file, then applies it.
    fn append(&mut self, line: LedgerLine) -> Result<(), FakeProviderError> {
        if let Some(file) = &mut self.file {
            let text = ledger_file::line(&line)?;
            // The line break comes first: if a kill or a full disk cut the previous line short, this one does not
            // continue it.
            file.write_all(format!("\n{text}").as_bytes())?;
        }
        self.apply(line);
        Ok(())
    }

    fn apply(&mut self, line: LedgerLine) {
        let Some((order, operation, number)) =
            line.parts().map(|(order, what, n)| (order.to_owned(), what.to_owned(), n))
        else {
            return;
        };
        let reason = || line.declined.clone().unwrap_or_default();
        if operation == Operation::Refund.as_str() {
            let state = match line.effect {
                LedgerEffect::RefundFailed => RefundState::Failed { reason: reason() },
                _ => RefundState::Refunded { reference: format!("sim_{}", line.key) },
            };
            // In the line of a refund, `method` is the number of the refunded attempt.
            let charge =
                line.method.parse().ok().and_then(|attempt: u32| self.charges.get_mut(&(order.clone(), attempt)));
            if let (Some(charge), RefundState::Refunded { .. }) = (charge, &state) {
                charge.refunded_minor += line.amount.minor;
            }
            self.refunds.insert((order, number), (line.amount, state));
        } else {
            let reference = charge_id(&order, number);
            let amount = line.amount;
            let state = match line.effect {
                LedgerEffect::Held => PaymentState::Authorised { reference, amount },
                LedgerEffect::Declined => PaymentState::Declined { reason: reason() },
                LedgerEffect::Voided => PaymentState::Voided { reference: Some(reference) },
                LedgerEffect::Processing => PaymentState::Processing { reference },
                LedgerEffect::Captured | LedgerEffect::Refunded | LedgerEffect::RefundFailed => {
                    PaymentState::Captured { reference, amount }
                }
            };
            let by_time = &mut self.by_time;
            let charge = self.charges.entry((order.clone(), number)).or_insert_with(|| {
                by_time.insert((line.at_ms, order, number));
                Charge {
                    amount,
                    method: line.method.clone(),
                    state: state.clone(),
                    at_ms: line.at_ms,
                    refunded_minor: 0,
                    capture: line.capture,
                }
            });
            charge.state = state;
        }
        self.lines.push(line);
    }

    /// Creates a charge. If its key is known, returns the state of the charge instead.
    pub(super) fn create_charge(
        &mut self,
        payment: &Payment,
        outcome: FirstOutcome,
        now_ms: u64,
    ) -> Result<(PaymentState, KeyUse), FakeProviderError> {
        let order = payment.order.to_string();
        if let Some(known) = self.charge(&order, payment.attempt) {
            let is_void = matches!(known.state, PaymentState::Voided { .. }) && known.method.is_empty();
            if !is_void && (known.amount, known.method.as_str()) != (payment.amount, payment.method.as_str()) {
                return Err(FakeProviderError::KeyReused);
            }
            return Ok((known.state.clone(), KeyUse::Repeated));
        }
        let (effect, declined) = match (outcome, payment.capture) {
            (FirstOutcome::Succeeded, CaptureMode::AtOnce) => (LedgerEffect::Captured, None),
            (FirstOutcome::Succeeded, CaptureMode::Later) => (LedgerEffect::Held, None),
            (FirstOutcome::Processing, _) => (LedgerEffect::Processing, None),
            (FirstOutcome::Declined(reason), _) => (LedgerEffect::Declined, Some(reason)),
        };
        let method = payment.method.clone();
        let key = payment.key(Operation::Charge).to_string();
        let (amount, capture) = (payment.amount, payment.capture);
        self.append(LedgerLine { key, amount, method, declined, effect, capture, at_ms: now_ms })?;
        Ok((self.state(&order, payment.attempt)?, KeyUse::First))
    }

    fn state(&self, order: &str, attempt: u32) -> Result<PaymentState, FakeProviderError> {
        self.charge(order, attempt).map(|charge| charge.state.clone()).ok_or(FakeProviderError::NoSuchPayment)
    }

    /// Ends the processing of a charge: the money is captured or held, or `declined` says why not.
    pub(super) fn finish_processing(
        &mut self,
        order: &str,
        attempt: u32,
        declined: Option<String>,
        now_ms: u64,
    ) -> Result<PaymentState, FakeProviderError> {
        let charge = self.charge(order, attempt).ok_or(FakeProviderError::NoSuchPayment)?;
        if matches!(charge.state, PaymentState::Processing { .. }) {
            let effect = match (&declined, charge.capture) {
                (Some(_), _) => LedgerEffect::Declined,
                (None, CaptureMode::AtOnce) => LedgerEffect::Captured,
                (None, CaptureMode::Later) => LedgerEffect::Held,
            };
            self.append_to_charge(order, attempt, Operation::Charge, effect, declined, now_ms)?;
        }
        self.state(order, attempt)
    }

    /// Appends a line about a charge that exists.
    fn append_to_charge(
        &mut self,
        order: &str,
        attempt: u32,
        operation: Operation,
        effect: LedgerEffect,
        declined: Option<String>,
        now_ms: u64,
    ) -> Result<(), FakeProviderError> {
        let charge = self.charge(order, attempt).ok_or(FakeProviderError::NoSuchPayment)?;
        let (amount, method, capture) = (charge.amount, charge.method.clone(), charge.capture);
        let key = format!("{order}:{}:{attempt}", operation.as_str());
        self.append(LedgerLine { key, amount, method, declined, effect, capture, at_ms: now_ms })
    }

    pub(super) fn capture(
        &mut self,
        order: &str,
        attempt: u32,
        now_ms: u64,
    ) -> Result<PaymentState, FakeProviderError> {
        match self.state(order, attempt)? {
            PaymentState::Authorised { .. } => {
                self.append_to_charge(order, attempt, Operation::Capture, LedgerEffect::Captured, None, now_ms)?;
                self.state(order, attempt)
            }
            PaymentState::Processing { .. } => Err(FakeProviderError::NotAllowed),
            state => Ok(state),
        }
    }

    /// Voids a charge that is not captured. A charge that does not exist is recorded as voided, so that a late request
    /// cannot create it.
    pub(super) fn void(&mut self, payment: &Payment, now_ms: u64) -> Result<PaymentState, FakeProviderError> {
        let order = payment.order.to_string();
        match self.state(&order, payment.attempt) {
            Err(FakeProviderError::NoSuchPayment) => {
                let key = payment.key(Operation::Void).to_string();
                let (amount, method, effect) = (payment.amount, String::new(), LedgerEffect::Voided);
                let capture = payment.capture;
                self.append(LedgerLine { key, amount, method, declined: None, effect, capture, at_ms: now_ms })?;
            }
            Ok(PaymentState::Authorised { .. }) => {
                self.append_to_charge(&order, payment.attempt, Operation::Void, LedgerEffect::Voided, None, now_ms)?;
            }
            known => return known,
        }
        self.state(&order, payment.attempt)
    }

    /// Creates a refund, which fails for the reason `fails` if there is one. If its key is known, returns the state of
    /// the refund instead.
    pub(super) fn refund(
        &mut self,
        repayment: &Repayment,
        fails: Option<String>,
        now_ms: u64,
    ) -> Result<(RefundState, KeyUse), FakeProviderError> {
        let order = repayment.order.to_string();
        if let Some((amount, state)) = self.refunds.get(&(order.clone(), repayment.number)) {
            return if *amount == repayment.amount {
                Ok((state.clone(), KeyUse::Repeated))
            } else {
                Err(FakeProviderError::KeyReused)
            };
        }
        let charge = self.charge(&order, repayment.attempt).ok_or(FakeProviderError::NoSuchPayment)?;
        let left = match charge.state {
            PaymentState::Captured { amount, .. } => amount.minor.saturating_sub(charge.refunded_minor),
            _ => 0,
        };
        let fails = fails.or_else(|| (repayment.amount.minor > left).then(|| "more_than_captured".to_owned()));
        let effect = if fails.is_some() { LedgerEffect::RefundFailed } else { LedgerEffect::Refunded };
        let key = OperationKey { order: repayment.order, operation: Operation::Refund, number: repayment.number };
        let (amount, method) = (repayment.amount, repayment.attempt.to_string());
        let (key, capture, effect) = (key.to_string(), CaptureMode::default(), effect);
        self.append(LedgerLine { key, amount, method, declined: fails, effect, capture, at_ms: now_ms })?;
        let (_, state) = self.refunds.get(&(order, repayment.number)).ok_or(FakeProviderError::NoSuchPayment)?;
        Ok((state.clone(), KeyUse::First))
    }
}
