//! A payment provider of one's own: a till that takes every payment, and whose line is bad now and then.
//!
//! Depends on `souk`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use souk::{
    Money, OrderId, Timestamp,
    domain::order::{PaymentState, RefundState},
    payments::{Answer, Gateway, Payment, PaymentsPage, ProviderPayment, Repayment, Unknown},
};

/// An order and the number of an attempt to pay it.
type Key = (OrderId, u32);

#[derive(Clone, Debug)]
struct Entry {
    state: PaymentState,
    refunded: BTreeMap<u32, Money>,
}

impl Entry {
    fn report(&self, key: Key) -> ProviderPayment {
        let refunded_minor = self.refunded.values().map(|amount| amount.minor).sum();
        ProviderPayment { of: Some(key), reference: reference(key), state: self.state.clone(), refunded_minor }
    }
}

#[derive(Default)]
pub(crate) struct Till {
    entries: Mutex<BTreeMap<Key, Entry>>,
    /// How many of the next answers are lost on their way.
    lost: AtomicUsize,
}

/// The till's name for a payment.
fn reference((order, attempt): Key) -> String {
    format!("till-{order}-{attempt}")
}

impl Till {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The answers to the next `calls` are lost, although the till does what it is asked.
    pub(crate) fn lose_answers(&self, calls: usize) {
        self.lost.store(calls, Ordering::SeqCst);
    }

    /// What it took, less what it gave back, in minor units.
    pub(crate) fn total(&self) -> u64 {
        let of = |entry: &Entry| match entry.state {
            PaymentState::Captured { amount, .. } => {
                amount.minor - entry.refunded.values().map(|amount| amount.minor).sum::<u64>()
            }
            _ => 0,
        };
        self.entries().values().map(of).sum()
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<T: Send + 'static>(&self, answer: T) -> Answer<'_, T> {
        let is_lost = self.lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        Box::pin(async move { if is_lost { Err(Unknown::new("the line is dead")) } else { Ok(answer) } })
    }
}

/// Each call may be repeated, and then changes nothing more: what is there already is the answer.
impl Gateway for Till {
    fn name(&self) -> &'static str {
        "till"
    }

    fn pay(&self, payment: Payment) -> Answer<'_, PaymentState> {
        let key = (payment.order, payment.attempt);
        let captured = PaymentState::Captured { reference: reference(key), amount: payment.amount };
        let new = || Entry { state: captured, refunded: BTreeMap::new() };
        let state = self.entries().entry(key).or_insert_with(new).state.clone();
        self.answer(state)
    }

    fn find(&self, payment: Payment) -> Answer<'_, Option<PaymentState>> {
        let found = self.entries().get(&(payment.order, payment.attempt)).map(|entry| entry.state.clone());
        self.answer(found)
    }

    fn look_up(&self, wanted: String) -> Answer<'_, Option<ProviderPayment>> {
        let found = self.entries().iter().map(|(key, entry)| entry.report(*key)).find(|it| it.reference == wanted);
        self.answer(found)
    }

    /// Payments are captured at once here, so there is nothing to capture later.
    fn capture(&self, payment: Payment) -> Answer<'_, PaymentState> {
        self.pay(payment)
    }

    fn void(&self, payment: Payment) -> Answer<'_, PaymentState> {
        let voided = Entry { state: PaymentState::Voided { reference: None }, refunded: BTreeMap::new() };
        let state = self.entries().entry((payment.order, payment.attempt)).or_insert(voided).state.clone();
        self.answer(state)
    }

    fn refund(&self, repayment: Repayment) -> Answer<'_, RefundState> {
        let key = (repayment.order, repayment.attempt);
        let state = match self.entries().get_mut(&key) {
            Some(entry) => {
                entry.refunded.insert(repayment.number, repayment.amount);
                RefundState::Refunded { reference: format!("{}-{}", reference(key), repayment.number) }
            }
            None => RefundState::Failed { reason: "not_found".into() },
        };
        self.answer(state)
    }

    fn list_payments(&self, _: Timestamp, _: Timestamp, _: Option<String>) -> Answer<'_, PaymentsPage> {
        let payments = self.entries().iter().map(|(key, entry)| entry.report(*key)).collect();
        self.answer(PaymentsPage { payments, unreadable: Vec::new(), next: None })
    }
}
