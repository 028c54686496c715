//! Refunds: what a refund is, and when there is one. Its amount is computed in `amounts`.
//!
//! An order has one refund at a time. Depends on `serde` and its neighbours.

use serde::{Deserialize, Serialize};

use super::{About, IssueKind, Order, Progress, REASON_CHARACTERS_MAX, REFUNDS_MAX, Rejection, Status, Text, notices};
use crate::domain::{
    entity::Timestamp,
    ids::{RequestKey, UserId},
    money::Money,
};

/// The reason of a refund at the provider's own site that the provider does not count any more.
const FAILED_ELSEWHERE: &str = "failed_at_the_provider";

/// Units of lines: the index of the line in the placement, and the number of units.
pub type Units = Vec<(u16, u32)>;

/// The state of a refund, as the provider reports it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RefundState {
    /// The provider is processing it.
    Processing {
        /// The provider's name of the refund.
        reference: String,
    },
    /// The money is on its way to the customer.
    Refunded {
        /// The provider's name of the refund.
        reference: String,
    },
    /// The provider could not refund the money.
    Failed {
        /// The provider's reason code.
        reason: String,
    },
    /// An operator has settled it outside the provider.
    ByHand,
}

impl RefundState {
    /// The word used in the API.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Processing { .. } => "pending",
            Self::Refunded { .. } => "refunded",
            Self::Failed { .. } => "failed",
            Self::ByHand => "settled_by_hand",
        }
    }

    /// States only advance: an earlier state does not replace a later one. But a refund that was sent may fail
    /// afterwards.
    fn rank(&self) -> u8 {
        match self {
            Self::Processing { .. } => 0,
            Self::Refunded { .. } => 1,
            Self::Failed { .. } => 2,
            Self::ByHand => 3,
        }
    }
}

/// Why money is refunded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefundCause {
    /// A seller or an admin asked for it.
    Asked,
    /// Goods were sent back.
    Return,
    /// The order was cancelled after it was paid.
    Cancelled,
    /// The payment arrived after the order had been given up or paid in another way.
    Stray,
    /// Somebody refunded it at the provider's own site; the order counts it.
    Elsewhere,
}

impl RefundCause {
    /// The word used in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Return => "return",
            Self::Cancelled => "cancelled",
            Self::Stray => "stray",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// Whether a refund includes the shipping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Shipping {
    #[default]
    Excluded,
    Included,
}

/// Whether the units of a refund are sold again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Restock {
    No,
    Yes,
}

/// A refund. Its content is frozen before the provider is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Refund {
    /// 1, 2, 3 …; part of the key under which the provider is asked.
    pub number: u32,
    /// The attempt whose money goes back.
    pub attempt: u32,
    /// The units that it refunds.
    pub lines: Units,
    /// Whether to refund the shipping, too.
    pub shipping: Shipping,
    pub amount: Money,
    /// The failed refund that this one retries.
    pub retries: Option<u32>,
    /// The units that are sold again. No unit is put back into stock by two refunds, one of which has failed.
    pub restock: Units,
    pub cause: RefundCause,
    /// The reason in the words of the person who asked.
    pub reason: String,
    /// The person who asked; `None` for the shop itself.
    pub by: Option<UserId>,
    pub key: Option<RequestKey>,
    pub at: Timestamp,
    /// What the provider reported last; `None` while nothing is known.
    pub state: Option<RefundState>,
    /// Whether the units are back in stock.
    pub restocked: bool,
    /// Whether the provider has announced news about which it has not been asked yet.
    pub needs_refresh: bool,
}

impl Refund {
    /// Whether the provider has to be asked.
    pub(super) fn is_to_request(&self) -> bool {
        self.state.is_none() || self.needs_refresh
    }

    /// Whether the provider is processing it.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(self.state, None | Some(RefundState::Processing { .. }))
    }

    /// Whether it failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.state, Some(RefundState::Failed { .. }))
    }

    /// Whether its units have to be put back into stock now: goods do not wait for money.
    pub(super) fn is_to_restock(&self) -> bool {
        self.state.is_some() && !self.restock.is_empty() && !self.restocked
    }
}

/// A request for a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct RefundRequest {
    /// Units of lines. With no lines and no shipping: everything that is left.
    pub lines: Units,
    /// Whether to refund the shipping, too.
    pub shipping: Shipping,
    /// `None`: restock the units if they have not been sent yet.
    pub restock: Option<Restock>,
    pub reason: String,
    pub by: UserId,
    /// The identity of the request: with it, a repeat refunds nothing more.
    pub key: Option<RequestKey>,
}

/// An event of refunds. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    /// The intent to refund, durable before the provider is asked.
    Requested { refund: Refund },
    /// The provider reported the state of a refund.
    Advanced { number: u32, state: RefundState, at: Timestamp },
    /// The units of a refund are back in stock.
    Restocked { number: u32, at: Timestamp },
    /// Money was refunded at the provider's own site; the order counts it as its own refund from now on.
    FoundElsewhere { refund: Refund },
}

impl Order {
    /// The refunds, oldest first.
    #[must_use]
    pub fn refunds(&self) -> &[Refund] {
        &self.refunds
    }

    /// Whether all that was paid was refunded, some of it at the provider's own site. The shop's own refunds never
    /// leave an unpaid order to be sent, unless its goods cost nothing.
    pub(super) fn is_refunded_elsewhere(&self) -> bool {
        let Some(paying) = self.paying_attempt().map(|attempt| attempt.number) else { return false };
        let mut of_paying = self.refunds.iter().filter(|refund| refund.attempt == paying);
        of_paying.any(|refund| refund.cause == RefundCause::Elsewhere) && self.left_of(paying) == 0
    }

    /// Decides how much of an attempt the provider has refunded in total. What exceeds the order's own refunds was
    /// refunded at the provider's own site: it counts from now on, so that later refunds ask only for the rest. What
    /// falls short of them was, too, and its money has come back: it is owed again. One decision is about one refund,
    /// so the caller repeats it until nothing changes.
    pub(super) fn decide_refunded_elsewhere(
        &self,
        attempt: u32,
        refunded_minor: u64,
        now: Timestamp,
    ) -> Result<Option<super::Event>, Rejection> {
        let (placement, status) = self.placed()?;
        let known = self.attempt(attempt).ok_or(Rejection::WrongStatus { status })?;
        if let Some(number) = self.failed_elsewhere(attempt, refunded_minor) {
            let state = RefundState::Failed { reason: FAILED_ELSEWHERE.into() };
            return Ok(Some(Event::Advanced { number, state, at: now }.into()));
        }
        let minor = refunded_minor.saturating_sub(self.refunded_by_provider(attempt)).min(self.left_of(attempt));
        let Some((reference, _)) = known.captured().filter(|_| minor > 0) else { return Ok(None) };
        if self.refunds.len() >= REFUNDS_MAX {
            return Err(Rejection::TooManyRefunds);
        }
        let amount = Money { minor, ..placement.total };
        let refund = Refund {
            reason: "refunded at the provider's own site".into(),
            state: Some(RefundState::Refunded { reference: reference.to_owned() }),
            ..self.new_refund(attempt, amount, RefundCause::Elsewhere, now)
        };
        Ok(Some(Event::FoundElsewhere { refund }.into()))
    }

    /// The refund at the provider's own site that must have failed, if the provider has refunded only so much: the one
    /// of the missing amount, or the latest. While a refund is under way, the provider may not count it yet.
    fn failed_elsewhere(&self, attempt: u32, refunded_minor: u64) -> Option<u32> {
        let missing = self.refunded_by_provider(attempt).checked_sub(refunded_minor).filter(|missing| *missing > 0)?;
        if self.refund_in_progress().is_some() {
            return None;
        }
        let elsewhere = || {
            let of_attempt = self.live_refunds().filter(|refund| refund.attempt == attempt);
            of_attempt
                .filter(|refund| refund.cause == RefundCause::Elsewhere && refund.state != Some(RefundState::ByHand))
        };
        let exact = elsewhere().find(|refund| refund.amount.minor == missing);
        exact.or_else(|| elsewhere().last()).map(|refund| refund.number)
    }

    /// The order's own refunds of an attempt that may have failed, if the provider has refunded only so much. They are
    /// polled before the missing money is looked for elsewhere.
    #[must_use]
    pub fn own_refunds_in_doubt(&self, attempt: u32, refunded_minor: u64) -> Vec<u32> {
        if refunded_minor >= self.refunded_by_provider(attempt) {
            return Vec::new();
        }
        let of_attempt = self.refunds.iter().filter(|refund| refund.attempt == attempt);
        let own = of_attempt.filter(|refund| refund.cause != RefundCause::Elsewhere);
        own.filter(|refund| matches!(refund.state, Some(RefundState::Refunded { .. })))
            .map(|refund| refund.number)
            .collect()
    }

    pub(super) fn decide_refund(
        &self,
        request: &RefundRequest,
        now: Timestamp,
    ) -> Result<Option<super::Event>, Rejection> {
        let (_, status) = self.placed()?;
        if let Some(key) = request.key
            && key.repeats(self.refunds.iter().filter_map(|refund| refund.key))?
        {
            return Ok(None);
        }
        let unsent = matches!(status, Status::Confirmed | Status::Packed);
        if !unsent && !matches!(status, Status::Shipped | Status::Delivered) {
            return Err(Rejection::WrongStatus { status });
        }
        Text::Reason.check(&request.reason, REASON_CHARACTERS_MAX)?;
        self.check_refunds()?;
        let restock = request.restock.unwrap_or(if unsent { Restock::Yes } else { Restock::No });
        let refund = self.refund_of(&request.lines, request.shipping, restock, now)?;
        let mut refund = refund.ok_or(Rejection::NothingToRefund)?;
        if unsent && self.leaves_nothing(&refund) {
            // The order would wait for ever for its seller, who has nothing to send.
            return Err(Rejection::CancelInstead);
        }
        (refund.reason, refund.by, refund.key) = (request.reason.clone(), Some(request.by), request.key);
        Ok(Some(Event::Requested { refund }.into()))
    }

    fn leaves_nothing(&self, refund: &Refund) -> bool {
        let lines = self.live_refunds().chain(std::iter::once(refund)).flat_map(|refund| &refund.lines);
        let quantities = self.placement.iter().flat_map(|placement| &placement.lines).map(|line| line.quantity);
        self.units_of(lines).into_iter().eq(quantities)
    }

    /// The refund that is not final. An order has one refund at a time, because only then is it known how much of a
    /// payment is left.
    pub(super) fn refund_in_progress(&self) -> Option<&Refund> {
        self.refunds.iter().find(|refund| refund.is_pending())
    }

    pub(super) fn check_refunds(&self) -> Result<(), Rejection> {
        if self.refund_in_progress().is_some() {
            return Err(Rejection::RefundInProgress);
        }
        if self.refunds.len() >= REFUNDS_MAX {
            return Err(Rejection::TooManyRefunds);
        }
        Ok(())
    }

    /// The refund that the shop itself owes now: of a stray, or of everything if the order was cancelled after it was
    /// paid.
    pub(super) fn owed_refund(&self, now: Timestamp) -> Option<Refund> {
        if self.refund_in_progress().is_some() {
            return None;
        }
        if let Some((failed, minor)) = self.too_large_refund() {
            return Some(self.retry_of(failed, minor, None, now));
        }
        let stray = self.attempts.iter().filter(|attempt| attempt.stray);
        let of =
            |attempt: u32, cause| self.refunds.iter().any(|refund| (refund.attempt, refund.cause) == (attempt, cause));
        for attempt in stray {
            let minor = self.left_of(attempt.number);
            if let Some((_, captured)) = attempt.captured()
                && minor > 0
                && !of(attempt.number, RefundCause::Stray)
            {
                let amount = Money { minor, ..captured };
                let refund = self.new_refund(attempt.number, amount, RefundCause::Stray, now);
                return Some(Refund { reason: "it came too late".into(), ..refund });
            }
        }
        let paying = self.paying_attempt()?;
        self.ending.as_ref()?;
        if of(paying.number, RefundCause::Cancelled) {
            return None;
        }
        // Units that were never recorded as sold are released instead of restocked.
        let restock = if self.progress == Progress::Open { Restock::No } else { Restock::Yes };
        let refund = self.refund_of(&Vec::new(), Shipping::Excluded, restock, now).ok()??;
        Some(Refund { cause: RefundCause::Cancelled, reason: "the order was cancelled".into(), ..refund })
    }

    /// The refund of all that was left that failed, after which it was found that money had gone back at the provider's
    /// own site, and how much is left. The shop asks for the rest by itself.
    fn too_large_refund(&self) -> Option<(&Refund, u64)> {
        let of_everything = |refund: &&Refund| matches!(refund.cause, RefundCause::Cancelled | RefundCause::Stray);
        self.refunds.iter().filter(of_everything).filter(|refund| refund.has_failed()).find_map(|failed| {
            let was_found = |later: &Refund| {
                (later.attempt, later.cause) == (failed.attempt, RefundCause::Elsewhere) && later.number > failed.number
            };
            let minor = self.can_go_back(failed).ok().filter(|minor| *minor < failed.amount.minor)?;
            self.refunds.iter().any(was_found).then_some((failed, minor))
        })
    }

    pub(super) fn decide_owed_refund(&self, now: Timestamp) -> Result<Option<super::Event>, Rejection> {
        self.placed()?;
        Ok(self.owed_refund(now).map(|refund| Event::Requested { refund }.into()))
    }

    /// Decides to retry a failed refund.
    pub(super) fn decide_retry_refund(
        &self,
        number: u32,
        by: UserId,
        now: Timestamp,
    ) -> Result<Option<super::Event>, Rejection> {
        let (_, status) = self.placed()?;
        let failed = self.refund(number).ok_or(Rejection::NothingToRefund)?;
        if !failed.has_failed() {
            return Err(Rejection::WrongStatus { status });
        }
        self.check_refunds()?;
        let minor = self.can_go_back(failed)?;
        let refund = self.retry_of(failed, minor, Some(by), now);
        Ok(Some(Event::Requested { refund }.into()))
    }

    /// A refund of so much that retries a failed one.
    fn retry_of(&self, failed: &Refund, minor: u64, by: Option<UserId>, now: Timestamp) -> Refund {
        Refund {
            number: self.next_refund(),
            retries: Some(failed.number),
            amount: Money { minor, ..failed.amount },
            by,
            key: None,
            at: now,
            // The failed refund restocks the goods: they do not wait for the money.
            restock: Vec::new(),
            state: None,
            needs_refresh: false,
            // What failed elsewhere is refunded by the shop now.
            cause: if failed.cause == RefundCause::Elsewhere { RefundCause::Asked } else { failed.cause },
            ..failed.clone()
        }
    }

    pub(super) fn has_refund_failed(&self, number: u32) -> bool {
        self.refund(number).is_some_and(Refund::has_failed)
    }

    /// Whether a failed refund leaves nothing to decide: the shop has asked for the rest by itself, or all the money
    /// has gone back in other ways.
    pub(super) fn is_made_up_for(&self, number: u32) -> bool {
        let Some(failed) = self.refund(number) else { return false };
        let by_shop = |later: &Refund| later.retries == Some(number) && later.by.is_none();
        self.refunds.iter().any(by_shop) || (failed.amount.minor > 0 && self.left_of(failed.attempt) == 0)
    }

    /// How much of a failed refund can still be refunded, in minor units: what other refunds have covered since cannot
    /// be refunded again. Of a refund that was retried only the latest attempt counts.
    fn can_go_back(&self, failed: &Refund) -> Result<u64, Rejection> {
        let minor = failed.amount.minor.min(self.left_of(failed.attempt));
        let is_retried = self.refunds.iter().any(|later| later.retries == Some(failed.number));
        let is_refunded = failed.cause != RefundCause::Stray && self.refunded_beyond(failed);
        if is_retried || is_refunded || (minor == 0 && failed.amount.minor > 0) {
            return Err(Rejection::NothingToRefund);
        }
        Ok(minor)
    }

    /// Whether other refunds have covered since what a failed refund was for.
    fn refunded_beyond(&self, failed: &Refund) -> bool {
        let Some(placement) = &self.placement else { return true };
        let (left, shipping) = self.refundable(placement);
        let beyond = |(index, units): &(u16, u32)| *units > left[usize::from(*index)];
        failed.lines.iter().any(beyond) || (failed.shipping, shipping) == (Shipping::Included, Shipping::Included)
    }

    /// A refund by its number.
    #[must_use]
    pub fn refund(&self, number: u32) -> Option<&Refund> {
        self.refunds.iter().find(|refund| refund.number == number)
    }

    pub(super) fn decide_refund_advance(
        &self,
        number: u32,
        state: &RefundState,
        now: Timestamp,
    ) -> Result<Option<super::Event>, Rejection> {
        let (_, status) = self.placed()?;
        let refund = self.refund(number).ok_or(Rejection::WrongStatus { status })?;
        let is_news = refund.state.as_ref().is_none_or(|known| state.rank() > known.rank());
        // Only a failed refund can be settled by hand, and not while it is retried or after that.
        if is_news && *state == RefundState::ByHand {
            if !refund.has_failed() {
                return Err(Rejection::WrongStatus { status });
            }
            if self.can_go_back(refund)? < refund.amount.minor {
                return Err(Rejection::NothingToRefund);
            }
        }
        Ok(if is_news {
            Some(Event::Advanced { number, state: state.clone(), at: now }.into())
        } else if refund.needs_refresh {
            Some(notices::Event::NothingNew { about: About::Refund(number), at: now }.into())
        } else {
            None
        })
    }

    pub(super) fn decide_restocked(&self, number: u32, now: Timestamp) -> Result<Option<super::Event>, Rejection> {
        let refund = self.refund(number).ok_or(Rejection::NothingToRefund)?;
        Ok(refund.is_to_restock().then(|| Event::Restocked { number, at: now }.into()))
    }

    pub(super) fn apply_refund(&mut self, event: &Event) {
        match event {
            Event::Requested { refund } => self.begin_refund(refund),
            Event::Advanced { number, state, at } => self.advance_refund(*number, state, *at),
            Event::Restocked { number, .. } => self.refund_mut(*number).restocked = true,
            Event::FoundElsewhere { refund } => self.adopt_refund(refund),
        }
    }

    pub(super) fn begin_refund(&mut self, refund: &Refund) {
        self.refunds.push(refund.clone());
        self.note(refund.at, Some(format!("refund {} of {} requested", refund.number, refund.amount)));
    }

    fn adopt_refund(&mut self, refund: &Refund) {
        let Refund { number, attempt, amount, at, .. } = *refund;
        self.attempt_mut(attempt).needs_refresh = false;
        self.refunds.push(refund.clone());
        self.raise(IssueKind::RefundedElsewhere { refund: number, amount }, at);
        self.note(at, Some(format!("{amount} was given back at the provider")));
    }

    fn advance_refund(&mut self, number: u32, state: &RefundState, at: Timestamp) {
        let refund = self.refund_mut(number);
        refund.needs_refresh = false;
        refund.state = Some(state.clone());
        let (attempt, is_own) = (refund.attempt, refund.cause != RefundCause::Elsewhere);
        if let RefundState::Failed { reason } = state {
            // Perhaps money has gone back at the provider's own site, and less is left than was asked for.
            self.attempt_mut(attempt).needs_refresh |= is_own;
            self.raise(IssueKind::RefundFailed { refund: number, reason: reason.clone() }, at);
        }
        self.note(at, Some(format!("refund {number}: {}", state.as_str())));
    }

    pub(super) fn refund_mut(&mut self, number: u32) -> &mut Refund {
        self.refunds.iter_mut().find(|known| known.number == number).expect("decided for a known refund")
    }
}
