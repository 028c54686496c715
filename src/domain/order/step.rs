//! What is to be done next for an order: the checkout's whole plan, as one pure function.
//!
//! Depends on its neighbours.

use super::{Intent, Order, PaymentState, Progress, Status};
use crate::domain::entity::Timestamp;

/// The next thing that is missing. Lines are named by their index in the placement, attempts and refunds by their
/// number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Take its lines out of the cart.
    TakeFromCart,
    /// Reserve the stock of these lines.
    Reserve(Vec<u16>),
    /// Nothing: the customer's turn, until the deadline.
    AwaitPayment,
    /// End it: its deadline has passed. Never next by itself, as the order has no clock.
    Expire,
    /// Ask the provider, under the key of this attempt, until it has said something.
    Pay(u32),
    /// Only ask the provider how an attempt stands that is final: there may be news of it all the same.
    Poll(u32),
    /// Nothing: the customer's or the provider's turn. The provider is asked again after a while, should its news be
    /// lost.
    AwaitProvider(u32),
    /// Nothing: the seller's turn. Authorisations end, so the provider is asked now and then.
    AwaitCapture(u32),
    /// Capture what is held.
    Capture(u32),
    /// Give the attempt up at the provider, until it is final.
    Void(u32),
    /// Book the stock of every line as sold and close the order in its cart.
    Fulfil,
    /// Record what the shop itself owes.
    RefundOwed,
    /// Ask the provider, under the key of this refund, to give money back.
    Refund(u32),
    /// Nothing: the provider works on this refund. It is asked again after a while.
    AwaitRefund(u32),
    /// Put the units of this refund back into the stock.
    Restock(u32),
    /// Release every line and give it back to the cart. A line that was refused is released, too: a request of another
    /// driver may still be on its way, and the release makes the inventory refuse it.
    Undo,
    /// Record that everything is given back.
    Finish,
    /// Record that these issues have resolved themselves, by their numbers.
    ResolveIssues(Vec<u32>),
    /// Nothing, for the checkout: the seller's turn, or the end.
    Done,
}

/// Whether whoever waits for the order's provider is to be asked about, or is known to be waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Poll {
    /// The order has changed.
    IfNeeded,
    /// Something may have happened elsewhere: time has passed, or the customer has come back.
    Now,
}

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The checkout's, which performs this step.
    Do(Step),
    /// Somebody else's; the checkout comes back at this moment.
    WaitUntil(Timestamp),
    /// Somebody else's; the checkout looks around after a while, and at this moment at the latest.
    PollLater(Option<Timestamp>),
    /// Nobody's, or whoever it is will say so.
    Rest,
}

impl Step {
    /// Whether something leaves for the provider.
    #[must_use]
    pub fn asks_provider(&self) -> bool {
        matches!(self, Self::Pay(_) | Self::Poll(_) | Self::Capture(_) | Self::Void(_) | Self::Refund(_))
    }
}

impl Order {
    /// What is to be done next; `None` where the order was never placed.
    #[must_use]
    pub fn next_step(&self) -> Option<Step> {
        let status = self.status()?;
        if let Some(issues) = self.self_resolved() {
            return Some(Step::ResolveIssues(issues));
        }
        Some(self.work(status).unwrap_or(Step::Done))
    }

    /// Whose turn it is now; `None` where the order was never placed.
    #[must_use]
    pub fn turn(&self, now: Timestamp, poll: Poll) -> Option<Turn> {
        let (step, deadline) = (self.next_step()?, self.placement.as_ref()?.deadline);
        let waits_for_customer = |attempt: u32| {
            matches!(self.attempt(attempt)?.state, Some(PaymentState::ActionRequired { .. })).then_some(())
        };
        // Questions about what is final hold nothing up.
        let is_over = now >= deadline && self.status() == Some(Status::AwaitingPayment);
        Some(match (step, poll) {
            (Step::Poll(_), _) if is_over => Turn::Do(Step::Expire),
            (Step::AwaitProvider(attempt) | Step::AwaitCapture(attempt), Poll::Now) => Turn::Do(Step::Pay(attempt)),
            (Step::AwaitRefund(number), Poll::Now) => Turn::Do(Step::Refund(number)),
            (Step::AwaitPayment, _) if now >= deadline => Turn::Do(Step::Expire),
            // The provider gives something back meanwhile.
            (Step::AwaitPayment, poll) => match (self.refund_in_progress(), poll) {
                (None, _) => Turn::WaitUntil(deadline),
                (Some(refund), Poll::Now) => Turn::Do(Step::Refund(refund.number)),
                (Some(_), Poll::IfNeeded) => Turn::PollLater(Some(deadline)),
            },
            (Step::AwaitProvider(attempt), Poll::IfNeeded) => match waits_for_customer(attempt) {
                Some(()) if now >= deadline => Turn::Do(Step::Expire),
                waits => Turn::PollLater(waits.map(|()| deadline)),
            },
            (Step::AwaitCapture(_) | Step::AwaitRefund(_), Poll::IfNeeded) => Turn::PollLater(None),
            (Step::Done, _) => Turn::Rest,
            (step, _) => Turn::Do(step),
        })
    }

    fn work(&self, status: Status) -> Option<Step> {
        let pending = self.refund_in_progress();
        let way_on = || self.way_on(status).filter(|step| *step != Step::Finish || pending.is_none());
        let step = self.money_back().or_else(way_on);
        // What is final is asked about when nothing else waits for the provider, so that it holds nothing up.
        let is_idle = matches!(step, None | Some(Step::AwaitPayment)) && pending.is_none();
        let with_news = self.attempts.iter().find(|attempt| is_idle && attempt.is_final() && attempt.needs_refresh);
        let ask = with_news.map(|attempt| Step::Poll(attempt.number));
        ask.or(step).or_else(|| Some(Step::AwaitRefund(pending?.number)))
    }

    /// Money that has to go back comes before everything else, but what a provider works on holds nothing up.
    fn money_back(&self) -> Option<Step> {
        if let Some(refund) = self.refunds.iter().find(|refund| refund.is_to_ask()) {
            return Some(Step::Refund(refund.number));
        }
        if let Some(refund) = self.refunds.iter().find(|refund| refund.is_to_restock()) {
            return Some(Step::Restock(refund.number));
        }
        self.owed_refund(Timestamp::default()).map(|_| Step::RefundOwed)
    }

    fn way_on(&self, status: Status) -> Option<Step> {
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

    /// Whether the checkout need not come back to it, unless somebody asks for something.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        // Asked after every event: most are of orders that are under way, whose step need not be made for that.
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

    /// Whether there is nothing to do for the checkout, now or after a while, but for what an operator has to look at.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let step = self.status().and_then(|status| self.work(status));
        matches!(step, None | Some(Step::AwaitPayment | Step::AwaitCapture(_)))
    }
}
