//! The next step of the checkout for an order: its whole plan, as one pure function.
//!
//! Depends on its neighbours.

use super::{Intent, Order, PaymentState, Progress, Status};
use crate::domain::entity::Timestamp;

/// The next thing to do for an order. Lines are identified by their index in the placement, attempts and refunds by
/// their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Take the order's lines out of the cart.
    TakeFromCart,
    /// Reserve the stock of these lines.
    Reserve(Vec<u16>),
    /// Nothing: the order waits for the customer until the deadline.
    AwaitPayment,
    /// End the order because its deadline has passed. [`Order::next_step`] never returns it, because the order has no
    /// clock.
    Expire,
    /// Ask the provider to charge, under the key of this attempt, until it answers.
    Pay(u32),
    /// Only ask the provider for the state of an attempt that is final; there may still be news about it.
    Poll(u32),
    /// Nothing: the order waits for the customer or the provider. The provider is asked again after a while, because
    /// its notice may be lost.
    AwaitProvider(u32),
    /// Nothing: the order waits for the seller to capture. Authorisations expire, so the provider is asked now and
    /// then.
    AwaitCapture(u32),
    /// Capture the money that is held.
    Capture(u32),
    /// Void the attempt at the provider, until it is final.
    Void(u32),
    /// Record the stock of every line as sold, and close the order in its cart.
    Fulfil,
    /// Record the refund that the shop itself owes.
    RefundOwed,
    /// Ask the provider, under the key of this refund, to give money back.
    Refund(u32),
    /// Nothing: the provider is processing this refund. It is asked again after a while.
    AwaitRefund(u32),
    /// Put the units of this refund back into stock.
    Restock(u32),
    /// Release the stock of every line, and return the lines to the cart. A line whose reservation was rejected is
    /// released, too: a request of another driver may still be on its way, and after the release the inventory rejects
    /// it.
    Undo,
    /// Record that everything is given back.
    Finish,
    /// Record that the issues with these numbers have resolved themselves.
    ResolveIssues(Vec<u32>),
    /// Nothing for the checkout: the order waits for the seller, or is over.
    Done,
}

/// Whether to poll the provider now, even if the order has not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Poll {
    /// Poll only if the order requires it.
    IfNeeded,
    /// Poll: time has passed, or the customer has come back, so there may be news.
    Now,
}

/// Who has to act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The checkout, which performs this step.
    Do(Step),
    /// Somebody else; the checkout continues at this moment.
    WaitUntil(Timestamp),
    /// Somebody else; the checkout polls after a while, and at this moment at the latest.
    PollLater(Option<Timestamp>),
    /// Nobody, or somebody who will send a command.
    Rest,
}

impl Step {
    /// Whether the step sends a request to the provider.
    #[must_use]
    pub fn calls_provider(&self) -> bool {
        matches!(self, Self::Pay(_) | Self::Poll(_) | Self::Capture(_) | Self::Void(_) | Self::Refund(_))
    }
}

impl Order {
    /// The next step; `None` if the order was never placed.
    #[must_use]
    pub fn next_step(&self) -> Option<Step> {
        let status = self.status()?;
        if let Some(issues) = self.self_resolved() {
            return Some(Step::ResolveIssues(issues));
        }
        Some(self.work(status).unwrap_or(Step::Done))
    }

    /// Who has to act now; `None` if the order was never placed.
    #[must_use]
    pub fn turn(&self, now: Timestamp, poll: Poll) -> Option<Turn> {
        let (step, deadline) = (self.next_step()?, self.placement.as_ref()?.deadline);
        let may_expire = self.may_expire(now);
        Some(match (step, poll) {
            // A poll of a final attempt must not delay the order's end.
            (Step::Poll(_) | Step::AwaitPayment, _) if may_expire => Turn::Do(Step::Expire),
            (Step::AwaitProvider(_), Poll::IfNeeded) if may_expire => Turn::Do(Step::Expire),
            (Step::AwaitProvider(attempt) | Step::AwaitCapture(attempt), Poll::Now) => Turn::Do(Step::Pay(attempt)),
            (Step::AwaitRefund(number), Poll::Now) => Turn::Do(Step::Refund(number)),
            // A refund of a stray may be under way meanwhile.
            (Step::AwaitPayment, poll) => match (self.refund_in_progress(), poll) {
                (None, _) => Turn::WaitUntil(deadline),
                (Some(refund), Poll::Now) => Turn::Do(Step::Refund(refund.number)),
                (Some(_), Poll::IfNeeded) => Turn::PollLater(Some(deadline)),
            },
            (Step::AwaitProvider(_), Poll::IfNeeded) => Turn::PollLater(self.expires_at_deadline().then_some(deadline)),
            (Step::AwaitCapture(_) | Step::AwaitRefund(_), Poll::IfNeeded) => Turn::PollLater(None),
            (Step::Done, _) => Turn::Rest,
            (step, _) => Turn::Do(step),
        })
    }

    fn work(&self, status: Status) -> Option<Step> {
        let pending = self.refund_in_progress();
        let next = || self.status_step(status).filter(|step| *step != Step::Finish || pending.is_none());
        let step = self.refund_step().or_else(next);
        // Final attempts are polled only when nothing else waits for the provider, so that the polls delay nothing.
        let is_idle = matches!(step, None | Some(Step::AwaitPayment)) && pending.is_none();
        let with_news = self.attempts.iter().find(|attempt| is_idle && attempt.is_final() && attempt.needs_refresh);
        let poll = with_news.map(|attempt| Step::Poll(attempt.number));
        poll.or(step).or_else(|| Some(Step::AwaitRefund(pending?.number)))
    }

    /// Refunds come before everything else, but a refund that the provider is processing delays nothing.
    fn refund_step(&self) -> Option<Step> {
        if let Some(refund) = self.refunds.iter().find(|refund| refund.is_to_request()) {
            return Some(Step::Refund(refund.number));
        }
        if let Some(refund) = self.refunds.iter().find(|refund| refund.is_to_restock()) {
            return Some(Step::Restock(refund.number));
        }
        self.owed_refund(Timestamp::default()).map(|_| Step::RefundOwed)
    }

    fn status_step(&self, status: Status) -> Option<Step> {
        let unanswered = || (0..).zip(&self.stock).filter(|(_, answer)| answer.is_none()).map(|(index, _)| index);
        Some(match status {
            Status::Placed if !self.taken => Step::TakeFromCart,
            Status::Placed => Step::Reserve(unanswered().collect()),
            Status::AwaitingPayment => Step::AwaitPayment,
            Status::PaymentPending | Status::Authorised => self.payment_step()?,
            Status::Paid => Step::Fulfil,
            Status::Cancelling => match self.open_attempt() {
                Some(attempt) => Step::Void(attempt.number),
                _ if self.progress == Progress::Open && !self.undone => Step::Undo,
                _ => Step::Finish,
            },
            Status::Confirmed
            | Status::Packed
            | Status::Shipped
            | Status::Delivered
            | Status::Cancelled
            | Status::Expired
            | Status::Rejected => return None,
        })
    }

    fn payment_step(&self) -> Option<Step> {
        let attempt = self.open_attempt()?;
        let number = attempt.number;
        Some(match (&attempt.state, attempt.intent) {
            (_, Some(Intent::Void)) => Step::Void(number),
            (None, _) => Step::Pay(number),
            (Some(PaymentState::Authorised { .. }), Some(Intent::Capture)) => Step::Capture(number),
            _ if attempt.needs_refresh => Step::Pay(number),
            (Some(PaymentState::Authorised { .. }), None) => Step::AwaitCapture(number),
            _ => Step::AwaitProvider(number),
        })
    }

    /// Whether the checkout has nothing more to do, unless a new command arrives.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        // This is called after every event. Most orders are under way, and for them the step need not be computed.
        match self.status() {
            Some(
                Status::Placed
                | Status::AwaitingPayment
                | Status::PaymentPending
                | Status::Authorised
                | Status::Paid
                | Status::Cancelling,
            ) => false,
            None
            | Some(
                Status::Confirmed
                | Status::Packed
                | Status::Shipped
                | Status::Delivered
                | Status::Cancelled
                | Status::Expired
                | Status::Rejected,
            ) => matches!(self.next_step(), None | Some(Step::Done)),
        }
    }

    /// Whether the checkout has nothing to do, now or after a while, apart from issues for an operator.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let step = self.status().and_then(|status| self.work(status));
        matches!(step, None | Some(Step::AwaitPayment | Step::AwaitCapture(_)))
    }
}
