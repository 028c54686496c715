//! An attempt to pay an order, and its state at the provider.
//!
//! ```text
//!              ┌─▶ ActionRequired ─┐
//!  (asked) ────┼─▶ Processing ─────┼──▶ Authorised ──▶ Captured      final: the shop has the money
//!              └───────────────────┴────────┴────────▶ Declined      final: nothing was charged, nor will be
//!                                                      Voided        final: cancelled, nothing will be charged
//! ```
//!
//! A final state stays final. If a provider captures what it had declined or voided, that capture is a stray: it pays
//! for nothing and is refunded. Depends on `serde` and its neighbours.

use serde::{Deserialize, Serialize};

use super::{ATTEMPTS_MAX, About, EndReason, METHOD_CHARACTERS_MAX, Order, Rejection, Status, Text, notices};
use crate::domain::{entity::Timestamp, ids::RequestKey, money::Money};

/// The state of a payment, as the provider reports it. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PaymentState {
    /// The money is captured.
    Captured {
        /// The provider's name of the payment.
        reference: String,
        /// Must be the order's total.
        amount: Money,
    },
    /// Nothing was charged, and nothing will be.
    Declined {
        /// The provider's reason code.
        reason: String,
    },
    /// Cancelled before it was captured: nothing will be charged.
    Voided {
        /// The provider's name of the payment, if it has one.
        reference: Option<String>,
    },
    /// The money is held and can be captured.
    Authorised {
        /// The provider's name of the payment.
        reference: String,
        /// Must be the order's total.
        amount: Money,
    },
    /// The customer has to do something first, such as 3-D Secure.
    ActionRequired {
        /// The provider's name of the payment.
        reference: String,
        /// Where the customer does it.
        url: String,
    },
    /// The provider is processing the payment: it is neither paid nor declined.
    Processing {
        /// The provider's name of the payment.
        reference: String,
    },
}

impl PaymentState {
    /// Whether the state can change no more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Captured { .. } | Self::Declined { .. } | Self::Voided { .. })
    }

    /// The provider's name of the payment.
    #[must_use]
    pub fn reference(&self) -> Option<&str> {
        match self {
            Self::Captured { reference, .. }
            | Self::Authorised { reference, .. }
            | Self::ActionRequired { reference, .. }
            | Self::Processing { reference } => Some(reference),
            Self::Voided { reference } => reference.as_deref(),
            Self::Declined { .. } => None,
        }
    }

    /// The amount held or captured.
    #[must_use]
    pub fn amount(&self) -> Option<Money> {
        match self {
            Self::Captured { amount, .. } | Self::Authorised { amount, .. } => Some(*amount),
            _ => None,
        }
    }

    /// The word used in the API.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Captured { .. } => "success",
            Self::Declined { .. } => "fail",
            Self::Voided { .. } => "voided",
            Self::Authorised { .. } => "authorised",
            Self::ActionRequired { .. } => "action_required",
            Self::Processing { .. } => "pending",
        }
    }
}

/// When the money of an attempt is captured. Frozen with the intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureMode {
    /// As soon as the payment is authorised.
    #[default]
    AtOnce,
    /// When the seller asks for it; until then the money is only held.
    Later,
}

/// What the shop intends to do with an attempt that is not final. Recorded before the provider is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Intent {
    /// Capture the money that is held.
    Capture,
    /// Void the attempt.
    Void,
}

/// An attempt to pay.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Attempt {
    /// 1, 2, 3 …; part of the key under which the provider is asked.
    pub number: u32,
    /// The provider's token of the payment method. Never a card number; empty after the customer is erased.
    pub method: String,
    pub key: Option<RequestKey>,
    /// When the intent was recorded.
    pub requested_at: Timestamp,
    /// What the provider reported last; `None` while nothing is known.
    pub state: Option<PaymentState>,
    /// When the money is captured.
    pub capture: CaptureMode,
    /// What the shop intends with it, other than to be paid.
    pub intent: Option<Intent>,
    /// Whether the provider has announced news about which it has not been asked yet.
    pub needs_refresh: bool,
    /// Whether it was captured after it had been declined or voided, so that the money has to be refunded.
    pub stray: bool,
}

impl Attempt {
    pub(super) fn new(
        number: u32,
        method: String,
        key: Option<RequestKey>,
        at: Timestamp,
        capture: CaptureMode,
    ) -> Self {
        Self {
            number,
            method,
            key,
            requested_at: at,
            state: None,
            capture,
            intent: None,
            needs_refresh: false,
            stray: false,
        }
    }

    /// Whether its state can change no more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.state.as_ref().is_some_and(PaymentState::is_final)
    }

    /// What it captured, whether or not it is a stray.
    #[must_use]
    pub fn captured(&self) -> Option<(&str, Money)> {
        match &self.state {
            Some(PaymentState::Captured { reference, amount }) => Some((reference, *amount)),
            _ => None,
        }
    }
}

/// An event of payments. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    /// The intent to charge, durable before a byte leaves for the provider.
    Requested {
        /// The provider's token of the payment method.
        method: String,
        key: Option<RequestKey>,
        capture: CaptureMode,
        at: Timestamp,
    },
    /// The provider reported the state of a payment.
    Advanced { attempt: u32, state: PaymentState, at: Timestamp },
    /// The intent to capture the money that is held.
    CaptureRequested { attempt: u32, at: Timestamp },
    /// The intent to void an attempt; the order continues.
    VoidRequested { attempt: u32, at: Timestamp },
    /// The provider captured what cannot pay the order: it had declined or voided the attempt, or it took another
    /// amount for one that was to be given up.
    StrayCaptured {
        attempt: u32,
        /// The provider's name of the payment.
        reference: String,
        amount: Money,
        at: Timestamp,
    },
}

impl Order {
    /// An attempt by its number.
    #[must_use]
    pub fn attempt(&self, number: u32) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.number == number)
    }

    /// The attempt that paid the order.
    #[must_use]
    pub fn paying_attempt(&self) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.captured().is_some() && !attempt.stray)
    }

    /// The attempt that is not final.
    #[must_use]
    pub fn open_attempt(&self) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| !attempt.is_final())
    }

    /// The attempt of a payment under way: the last one, from which such a `status` is computed.
    pub(super) fn pending_attempt(&self, status: Status) -> Result<&Attempt, Rejection> {
        self.attempts.last().ok_or(Rejection::WrongStatus { status })
    }

    pub(super) fn decide_payment(
        &self,
        method: &str,
        key: Option<RequestKey>,
        capture: CaptureMode,
        now: Timestamp,
    ) -> Result<Option<super::Event>, Rejection> {
        let (placement, status) = self.placed()?;
        if let Some(key) = key
            && key.repeats(self.attempts.iter().filter_map(|attempt| attempt.key))?
        {
            return Ok(None);
        }
        match status {
            Status::AwaitingPayment => {}
            Status::PaymentPending | Status::Authorised => {
                let pending = self.pending_attempt(status)?;
                let joins = key.is_none() && pending.method == method;
                return if joins { Ok(None) } else { Err(Rejection::PaymentInProgress { attempt: pending.number }) };
            }
            Status::Paid | Status::Confirmed | Status::Packed | Status::Shipped | Status::Delivered => {
                return if key.is_none() { Ok(None) } else { Err(Rejection::AlreadyPaid) };
            }
            Status::Placed | Status::Cancelling | Status::Cancelled | Status::Expired | Status::Rejected => {
                return Err(Rejection::WrongStatus { status });
            }
        }
        Text::PaymentMethod.check(method, METHOD_CHARACTERS_MAX)?;
        if now >= placement.deadline {
            return Err(Rejection::DeadlinePassed);
        }
        if self.attempts.len() >= ATTEMPTS_MAX {
            return Err(Rejection::TooManyAttempts);
        }
        Ok(Some(Event::Requested { method: method.to_owned(), key, capture, at: now }.into()))
    }

    /// Decides what the provider reported about an attempt: in the answer to a request, a notice, or a reconciliation.
    pub(super) fn decide_advance_payment(
        &self,
        number: u32,
        state: &PaymentState,
        now: Timestamp,
    ) -> Result<Option<super::Event>, Rejection> {
        let (placement, status) = self.placed()?;
        let attempt = self.attempt(number).ok_or(Rejection::WrongStatus { status })?;
        let news = || Event::Advanced { attempt: number, state: state.clone(), at: now }.into();
        match (&attempt.state, state) {
            (
                Some(PaymentState::Declined { .. } | PaymentState::Voided { .. }),
                PaymentState::Captured { reference, amount },
            ) => {
                let (reference, amount) = (reference.clone(), *amount);
                Ok(Some(Event::StrayCaptured { attempt: number, reference, amount, at: now }.into()))
            }
            (Some(known), _) if known == state || known.is_final() => {
                let nothing_new = notices::Event::NothingNew { about: About::Attempt(number), at: now };
                Ok(attempt.needs_refresh.then(|| nothing_new.into()))
            }
            _ => match (state.amount(), state) {
                (Some(amount), PaymentState::Captured { reference, .. })
                    if attempt.intent == Some(Intent::Void)
                        && amount != placement.total
                        && amount.currency == placement.total.currency =>
                {
                    // It was to be given up, and cannot pay the order: it goes back.
                    let reference = reference.clone();
                    Ok(Some(Event::StrayCaptured { attempt: number, reference, amount, at: now }.into()))
                }
                (Some(captured), _) if captured != placement.total => {
                    Err(Rejection::AmountMismatch { captured, total: placement.total })
                }
                _ => Ok(Some(news())),
            },
        }
    }

    /// A payment of another amount than the order's is given up: a hold is released, and a capture, which is what the
    /// provider then answers with, goes back.
    pub(super) fn decide_take_back(&self, number: u32, now: Timestamp) -> Result<Option<super::Event>, Rejection> {
        let (_, status) = self.placed()?;
        let attempt = self.attempt(number).ok_or(Rejection::WrongStatus { status })?;
        let is_given_up = attempt.is_final() || attempt.intent == Some(Intent::Void);
        Ok((!is_given_up).then(|| Event::VoidRequested { attempt: number, at: now }.into()))
    }

    pub(super) fn decide_capture(&self, now: Timestamp) -> Result<Option<super::Event>, Rejection> {
        let (_, status) = self.placed()?;
        match (status, self.open_attempt()) {
            (Status::Authorised, Some(attempt)) => Ok(match attempt.intent {
                None => Some(Event::CaptureRequested { attempt: attempt.number, at: now }.into()),
                Some(_) => None,
            }),
            _ if status.is_paid() => Ok(None),
            _ => Err(Rejection::WrongStatus { status }),
        }
    }

    pub(super) fn decide_abandon(&self, now: Timestamp) -> Result<Option<super::Event>, Rejection> {
        let (_, status) = self.placed()?;
        match (status, self.open_attempt()) {
            (Status::PaymentPending, Some(attempt)) => match (&attempt.state, attempt.intent) {
                (_, Some(_)) => Ok(None),
                (Some(PaymentState::ActionRequired { .. }), None) => {
                    Ok(Some(Event::VoidRequested { attempt: attempt.number, at: now }.into()))
                }
                _ => Err(Rejection::PaymentInProgress { attempt: attempt.number }),
            },
            (Status::AwaitingPayment, _) => Ok(None),
            _ => Err(Rejection::WrongStatus { status }),
        }
    }

    fn advance_payment(&mut self, number: u32, state: &PaymentState) -> Option<String> {
        let attempt = self.attempt_mut(number);
        attempt.state = Some(state.clone());
        attempt.needs_refresh = false;
        if state.is_final() {
            attempt.intent = None;
        }
        let in_time = matches!(state, PaymentState::Captured { .. }) && self.ending == Some(EndReason::Expired);
        if in_time {
            // It was paid at the last moment. Its stock is still reserved: nothing is released before payments are
            // final.
            self.ending = None;
        }
        match state {
            PaymentState::Captured { .. } => in_time.then(|| "paid at the last moment".to_owned()),
            PaymentState::Declined { reason } => Some(format!("payment declined: {reason}")),
            PaymentState::Voided { .. } => Some("payment given up".to_owned()),
            PaymentState::ActionRequired { .. } => Some("the payment needs its customer".to_owned()),
            PaymentState::Processing { .. } => Some("the provider works on the payment".to_owned()),
            PaymentState::Authorised { .. } => None,
        }
    }

    pub(super) fn attempt_mut(&mut self, number: u32) -> &mut Attempt {
        self.attempts.iter_mut().find(|known| known.number == number).expect("decided for a known attempt")
    }

    pub(super) fn apply_payment(&mut self, event: &Event) {
        match event {
            Event::Requested { method, key, capture, at } => {
                let number = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX - 1) + 1;
                self.attempts.push(Attempt::new(number, method.clone(), *key, *at, *capture));
                self.note(*at, None);
            }
            Event::Advanced { attempt, state, at } => {
                let note = self.advance_payment(*attempt, state);
                self.note(*at, note);
            }
            Event::CaptureRequested { attempt, .. } => self.attempt_mut(*attempt).intent = Some(Intent::Capture),
            Event::VoidRequested { attempt, .. } => self.attempt_mut(*attempt).intent = Some(Intent::Void),
            Event::StrayCaptured { attempt, reference, amount, at } => {
                let (reference, amount) = (reference.clone(), *amount);
                let known = self.attempt_mut(*attempt);
                known.state = Some(PaymentState::Captured { reference, amount });
                (known.stray, known.needs_refresh, known.intent) = (true, false, None);
                self.note(*at, Some(format!("a payment of {amount} came too late and goes back")));
            }
        }
    }
}
