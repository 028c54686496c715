//! The requests to the cart and the inventories that make up a step, and what their answers mean to the order.
//!
//! Pure, so that the test `walk` searches all states with the code that runs in the shop. Every request may be made
//! twice. Depends on its neighbours, the cart and the inventory.

use super::{Command, EndReason, IssueKind, Order, OrderLine, Placement, Step, StockAnswer};
use crate::domain::{
    cart,
    entity::Entity,
    ids::{OrderId, ProductId, ReceiptId},
    inventory,
};

/// A request of a step to another entity.
#[derive(Debug, Clone)]
pub enum Effect {
    /// To the customer's cart.
    Cart(cart::Command),
    /// To the inventory of a line's product.
    Stock(ProductId, inventory::Command),
}

/// The answer to a request; `None` if it is unknown.
#[allow(missing_docs, reason = "the names say it")]
pub enum EffectResult {
    Cart(Option<Result<(), <cart::Cart as Entity>::Rejection>>),
    Stock(Option<Result<(), <inventory::Inventory as Entity>::Rejection>>),
}

impl Step {
    /// The requests of this step. They may be made concurrently and in any order. A step that asks the provider, or
    /// nobody, has none.
    #[must_use]
    pub fn effects(&self, id: OrderId, order: &Order) -> Vec<Effect> {
        let Some(placement) = order.placement() else { return Vec::new() };
        let (customer, deadline) = (placement.customer, placement.deadline);
        let stock = |line: &OrderLine, command| Effect::Stock(line.product.clone(), command);
        let named = |lines: &[u16]| lines.iter().map(|index| &placement.lines[usize::from(*index)]).collect::<Vec<_>>();
        match self {
            Self::TakeFromCart => vec![Effect::Cart(take(id, placement))],
            Self::Reserve(lines) => {
                let reserve = |quantity| inventory::Command::Reserve { order: id, customer, quantity, deadline };
                named(lines).into_iter().map(|line| stock(line, reserve(line.quantity))).collect()
            }
            Self::Fulfil => {
                let sold =
                    placement.lines.iter().map(|line| stock(line, inventory::Command::Fulfil { order: id, deadline }));
                std::iter::once(Effect::Cart(cart::Command::Close { order: id })).chain(sold).collect()
            }
            Self::Undo => {
                let release = |line| stock(line, inventory::Command::Release { order: id, deadline });
                let given_back = std::iter::once(Effect::Cart(cart::Command::Return { order: id }));
                given_back.chain(placement.lines.iter().map(release)).collect()
            }
            Self::Restock(number) => {
                let refund = order.refund(*number);
                let units = refund.into_iter().flat_map(|refund| &refund.restock);
                let receipt = ReceiptId(id.0 ^ (u128::from(*number) << 96));
                let receive = |(index, units): &(u16, u32)| {
                    let command = inventory::Command::Receive { receipt, quantity: u64::from(*units) };
                    stock(&placement.lines[usize::from(*index)], command)
                };
                units.map(receive).collect()
            }
            Self::AwaitPayment
            | Self::Expire
            | Self::Pay(_)
            | Self::Poll(_)
            | Self::AwaitProvider(_)
            | Self::AwaitCapture(_)
            | Self::Capture(_)
            | Self::Void(_)
            | Self::RefundOwed
            | Self::Refund(_)
            | Self::AwaitRefund(_)
            | Self::Finish
            | Self::ResolveIssues(_)
            | Self::Done => Vec::new(),
        }
    }

    /// The command that records the answers in the order.
    ///
    /// # Errors
    /// The step has to be repeated: an answer is unknown, or a request was rejected that must succeed.
    pub fn record(&self, results: Vec<EffectResult>) -> Result<Command, Retry> {
        let unknown = || Retry { reason: "an outcome is unknown".into(), known: None };
        match self {
            Self::TakeFromCart => match results.into_iter().next() {
                Some(EffectResult::Cart(Some(Ok(())))) => Ok(Command::RecordTaken),
                Some(EffectResult::Cart(Some(Err(refused)))) => Ok(Command::RejectByCart(match refused {
                    cart::Rejection::TooManyOpenOrders => EndReason::TooManyOpenOrders,
                    cart::Rejection::Erased => EndReason::CustomerErased,
                    cart::Rejection::Changed { .. }
                    | cart::Rejection::NotInCart { .. }
                    | cart::Rejection::OrderEnded
                    // These are about other commands.
                    | cart::Rejection::Empty
                    | cart::Rejection::InvalidQuantity { .. }
                    | cart::Rejection::TooManyLines
                    | cart::Rejection::MixedCurrencies { .. }
                    | cart::Rejection::TooManyUnpaidUnits { .. }
                    | cart::Rejection::OrdersOpen => EndReason::CartChanged,
                })),
                _ => Err(unknown()),
            },
            Self::Reserve(lines) => {
                let (mut answers, mut reason) = (Vec::new(), None);
                for (index, result) in lines.iter().zip(&results) {
                    match result {
                        EffectResult::Stock(Some(result)) => match stock_answer(result) {
                            Ok(answer) => answers.push((*index, answer)),
                            Err(rejection) => reason = Some(format!("the stock: {rejection}")),
                        },
                        EffectResult::Stock(None) | EffectResult::Cart(_) => {
                            reason = Some("an outcome is unknown".into());
                        }
                    }
                }
                let known = Command::RecordStock(answers);
                // Known answers are recorded even if one of the inventories gave none.
                match reason {
                    None => Ok(known),
                    Some(reason) => Err(Retry { reason, known: Some(Box::new(known)) }),
                }
            }
            Self::Fulfil => accepted(results).map(|()| Command::RecordFulfilled),
            Self::Undo => accepted(results).map(|()| Command::Finish),
            Self::Restock(number) => accepted(results).map(|()| Command::RecordRestocked { number: *number }),
            Self::RefundOwed => Ok(Command::RefundOwed),
            Self::Expire => Ok(Command::Expire),
            Self::Finish => Ok(Command::Finish),
            Self::ResolveIssues(issues) => Ok(resolved_themselves(issues.clone())),
            Self::AwaitPayment
            | Self::Pay(_)
            | Self::Poll(_)
            | Self::AwaitProvider(_)
            | Self::AwaitCapture(_)
            | Self::Capture(_)
            | Self::Void(_)
            | Self::Refund(_)
            | Self::AwaitRefund(_)
            | Self::Done => Err(Retry { reason: format!("{self:?} records nothing"), known: None }),
        }
    }
}

impl Order {
    /// The command that settles the issues about this request to the provider, now that it has been answered; `None` if
    /// there are none. An answered payment or refund may stay open for days, so the order's state alone does not settle
    /// them.
    #[must_use]
    pub fn settled_by(&self, answered: &Step) -> Option<Command> {
        if !answered.calls_provider() {
            return None;
        }
        let issues = self.numbers_of(|kind| match (kind, answered) {
            (IssueKind::Stuck { .. }, _) => true,
            (
                IssueKind::PaymentUnknown { attempt, .. },
                Step::Pay(number) | Step::Poll(number) | Step::Capture(number) | Step::Void(number),
            ) => attempt == number,
            _ => false,
        });
        issues.map(resolved_themselves)
    }
}

fn resolved_themselves(issues: Vec<u32>) -> Command {
    Command::ResolveIssues { issues, by: None, note: "it has resolved itself".into() }
}

/// A step has to be repeated.
#[derive(Debug)]
pub struct Retry {
    /// The reason, for the log and for operators.
    pub reason: String,
    /// A command that records what is known all the same.
    pub known: Option<Box<Command>>,
}

fn take(id: OrderId, placement: &Placement) -> cart::Command {
    let line = |line: &OrderLine| cart::Line { product: line.product.clone(), quantity: line.quantity };
    cart::Command::Take {
        order: id,
        fingerprint: placement.fingerprint,
        version: placement.cart_version,
        lines: placement.lines.iter().map(line).collect(),
    }
}

/// What an inventory's answer to a reservation means to the order. `Err` if the request has to be made again: until the
/// order's deadline, from which on the inventory answers [`StockAnswer::TooLate`].
fn stock_answer(result: &Result<(), inventory::Rejection>) -> Result<StockAnswer, &inventory::Rejection> {
    use inventory::Rejection;
    match result {
        Ok(()) => Ok(StockAnswer::Reserved),
        Err(Rejection::InsufficientStock { available, .. }) => Ok(StockAnswer::Refused { available: *available }),
        Err(Rejection::DeadlinePassed) => Ok(StockAnswer::TooLate),
        Err(busy @ Rejection::TooManyHolds) => Err(busy),
        // Only an order that has ended gets one of the first three, and the others are about other commands.
        Err(
            Rejection::HoldReleased
            | Rejection::HoldReused
            | Rejection::InvalidQuantity
            | Rejection::HoldUnknown
            | Rejection::ReceiptReused
            | Rejection::BelowReserved { .. }
            | Rejection::ReceivedChanged,
        ) => Ok(StockAnswer::Refused { available: 0 }),
    }
}

fn accepted(results: Vec<EffectResult>) -> Result<(), Retry> {
    let refused = |reason: String| Err(Retry { reason, known: None });
    for result in results {
        match result {
            EffectResult::Cart(Some(Ok(()))) | EffectResult::Stock(Some(Ok(()))) => {}
            EffectResult::Cart(None) | EffectResult::Stock(None) => return refused("an outcome is unknown".into()),
            EffectResult::Cart(Some(Err(rejection))) => return refused(format!("the cart: {rejection}")),
            EffectResult::Stock(Some(Err(rejection))) => return refused(format!("the stock: {rejection}")),
        }
    }
    Ok(())
}
