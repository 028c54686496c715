//! Tests of the order in the form given / when / then, and a property of commands in any order.

use proptest::prelude::*;

use super::*;
use crate::domain::{
    ids::UserId,
    inventory,
    money::{Currency, Money},
};

const NOW: Timestamp = Timestamp(1_000);
const DEADLINE: Timestamp = Timestamp(100_000);

fn inr(minor: u64) -> Money {
    Money::new(minor, Currency::INR).unwrap()
}

pub(super) fn placement() -> Placement {
    let line = |product: &str, quantity, price| OrderLine {
        product: product.parse().unwrap(),
        title: product.to_uppercase(),
        seller: SellerId(9),
        quantity,
        unit_price: inr(price),
    };
    Placement {
        customer: UserId(1),
        lines: vec![line("a", 2, 100), line("b", 1, 50)],
        shipping: inr(0),
        tax: inr(0),
        total: inr(250),
        address: Address {
            name: "Asha".into(),
            line1: "1 Road".into(),
            line2: None,
            city: "Pune".into(),
            region: None,
            postal_code: "411001".into(),
            country: "IN".into(),
            phone: None,
        },
        cart_version: 3,
        fingerprint: 77,
        deadline: DEADLINE,
        at: NOW,
    }
}

fn place() -> Command {
    Command::Place(Arc::new(placement()))
}

fn stock(answers: [StockAnswer; 2]) -> Command {
    Command::RecordStock(vec![(0, answers[0]), (1, answers[1])])
}

fn pay() -> Command {
    Command::RequestPayment { method: "tok_success".into(), key: None, capture: CaptureMode::AtOnce }
}

fn captured(attempt: u32) -> Command {
    Command::AdvancePayment { attempt, state: PaymentState::Captured { reference: "ch_1".into(), amount: inr(250) } }
}

fn declined(attempt: u32) -> Command {
    Command::AdvancePayment { attempt, state: PaymentState::Declined { reason: "insufficient_funds".into() } }
}

fn awaiting_payment() -> Vec<Command> {
    vec![place(), Command::RecordTaken, stock([StockAnswer::Reserved; 2])]
}

fn given(commands: Vec<Command>) -> Order {
    let mut order = Order::default();
    for command in commands {
        if let Some(event) = order.decide(&command, NOW).unwrap() {
            order.apply(&event);
        }
    }
    order
}

fn given_awaiting(more: Vec<Command>) -> Order {
    given(awaiting_payment().into_iter().chain(more).collect())
}

#[test]
fn an_order_goes_from_placed_to_delivered() {
    let mut order = Order::default();
    assert_eq!(order.next_step(), None);
    let tracking = Tracking { carrier: "Post".into(), number: "1".into() };
    let way = [
        (place(), Status::Placed, Step::TakeFromCart),
        (Command::RecordTaken, Status::Placed, Step::Reserve(vec![0, 1])),
        (Command::RecordStock(vec![(0, StockAnswer::Reserved)]), Status::Placed, Step::Reserve(vec![1])),
        (Command::RecordStock(vec![(1, StockAnswer::Reserved)]), Status::AwaitingPayment, Step::AwaitPayment),
        (pay(), Status::PaymentPending, Step::Pay(1)),
        (captured(1), Status::Paid, Step::Fulfil),
        (Command::RecordFulfilled, Status::Confirmed, Step::Done),
        (Command::Pack, Status::Packed, Step::Done),
        (Command::Ship(tracking), Status::Shipped, Step::Done),
        (Command::Deliver, Status::Delivered, Step::Done),
    ];
    for (command, status, step) in way {
        let event = order.decide(&command, NOW).unwrap().expect("something happens");
        order.apply(&event);
        assert_eq!((order.status(), order.next_step()), (Some(status), Some(step)));
        assert_eq!(order.decide(&command, NOW), Ok(None), "a repeat of {command:?}");
    }
    let sequences: Vec<_> = order.history().iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, [1, 4, 5, 6, 7, 8, 9, 10], "an entry for every change a customer sees");
}

#[test]
fn the_same_key_finds_the_same_order_and_another_body_is_refused() {
    let order = given(vec![place()]);
    assert_eq!(order.decide(&place(), NOW), Ok(None));
    let other = Placement { fingerprint: 78, ..placement() };
    assert_eq!(order.decide(&Command::Place(Arc::new(other)), NOW), Err(Rejection::KeyReused));
}

#[test]
fn one_refused_line_undoes_every_line_that_may_be_reserved() {
    let order = given(vec![
        place(),
        Command::RecordTaken,
        Command::RecordStock(vec![(1, StockAnswer::Refused { available: 0 })]),
    ]);
    assert_eq!(order.status(), Some(Status::Cancelling));
    assert_eq!(order.next_step(), Some(Step::Undo), "every line is released, also the one that was never answered");
    let order = given(vec![
        place(),
        Command::RecordTaken,
        Command::RecordStock(vec![(1, StockAnswer::Refused { available: 0 })]),
        Command::Finish,
    ]);
    assert_eq!(order.status(), Some(Status::Rejected));
    assert!(matches!(order.end_reason(), Some(EndReason::InsufficientStock { requested: 1, available: 0, .. })));
}

#[test]
fn a_product_that_can_take_no_reservation_now_is_asked_again_until_the_deadline() {
    let step = Step::Reserve(vec![0, 1]);
    let record = |second| step.record(vec![EffectResult::Stock(Some(Ok(()))), EffectResult::Stock(Some(Err(second)))]);
    let busy = record(inventory::Rejection::TooManyHolds).unwrap_err();
    assert!(busy.reason.contains("too many reservations"), "{}", busy.reason);
    let order = given(vec![place(), Command::RecordTaken, *busy.known.unwrap()]);
    assert_eq!((order.status(), order.next_step()), (Some(Status::Placed), Some(Step::Reserve(vec![1]))));
    let late = record(inventory::Rejection::DeadlinePassed).unwrap();
    let order = given(vec![place(), Command::RecordTaken, late]);
    assert_eq!(order.end_reason(), Some(&EndReason::Expired));
}

fn advanced(state: PaymentState) -> Command {
    Command::AdvancePayment { attempt: 1, state }
}

fn unknown() -> Command {
    Command::RaiseIssue { kind: IssueKind::PaymentUnknown { attempt: 1, seen: "silence".into() }, notice: None }
}

#[test]
fn the_issue_of_an_unanswered_payment_ends_with_an_answer_and_not_only_with_the_payment() {
    let held = || advanced(PaymentState::Authorised { reference: "pi_1".into(), amount: inr(250) });
    let order = given_awaiting(vec![pay(), unknown(), held()]);
    assert_eq!(order.next_step(), Some(Step::ResolveIssues(vec![1])), "a hold is an answer");

    let order = given_awaiting(vec![pay(), unknown(), advanced(PaymentState::Processing { reference: "pi_1".into() })]);
    assert_eq!(order.next_step(), Some(Step::AwaitProvider(1)));
    for other in [Step::Pay(2), Step::Refund(1), Step::Undo] {
        assert!(order.settled_by(&other).is_none(), "{other:?}");
    }
    let settle = order.settled_by(&Step::Pay(1)).unwrap();
    assert!(matches!(&settle, Command::ResolveIssues { issues, by: None, .. } if *issues == [1]), "{settle:?}");
    let settled = order.decide(&settle, NOW).unwrap().unwrap();
    let mut order = order;
    order.apply(&settled);
    assert_eq!((order.status(), order.open_issues().count()), (Some(Status::PaymentPending), 0));
}

#[test]
fn nothing_is_said_to_fail_of_an_order_that_waits_for_its_seller() {
    let held = advanced(PaymentState::Authorised { reference: "pi_1".into(), amount: inr(250) });
    let order = given_awaiting(vec![pay(), held]);
    assert_eq!(order.decide(&unknown(), NOW), Ok(None), "an operator could decline what is held");
    let stuck = Command::RaiseIssue { kind: IssueKind::Stuck { seen: "500".into() }, notice: None };
    assert_eq!(order.decide(&stuck, NOW), Ok(None));
    let captures = given_awaiting(vec![
        pay(),
        advanced(PaymentState::Authorised { reference: "pi_1".into(), amount: inr(250) }),
        Command::Capture,
    ]);
    assert!(captures.decide(&stuck, NOW).unwrap().is_some());
}

#[test]
fn a_crash_between_reserving_and_recording_leaks_nothing() {
    let order = given(vec![place(), Command::RecordTaken, Command::Cancel]);
    assert_eq!(order.next_step(), Some(Step::Undo));
}

#[test]
fn a_declined_payment_may_be_tried_again_up_to_the_limit() {
    let mut commands = Vec::new();
    for attempt in 1..=5 {
        commands.extend([pay(), declined(attempt)]);
    }
    let order = given_awaiting(commands);
    assert_eq!(order.status(), Some(Status::AwaitingPayment));
    assert_eq!(order.decide(&pay(), NOW), Err(Rejection::TooManyAttempts));
}

#[test]
fn nothing_ends_an_order_while_its_payment_is_unknown() {
    let order = given_awaiting(vec![pay()]);
    let late = DEADLINE.plus_ms(1_000_000);
    assert_eq!(order.decide(&Command::Expire, late), Ok(None));
    assert!(order.decide(&captured(1), late).unwrap().is_some(), "a late capture is still recorded");
    let cancelled = given_awaiting(vec![pay(), Command::Cancel]);
    assert_eq!(cancelled.next_step(), Some(Step::Void(1)), "nothing is released before the payment is given up");
}

#[test]
fn it_expires_at_its_deadline_and_not_before() {
    let order = given_awaiting(vec![]);
    assert_eq!(order.decide(&Command::Expire, Timestamp(DEADLINE.0 - 1)), Ok(None));
    assert!(order.decide(&Command::Expire, DEADLINE).unwrap().is_some());
    assert_eq!(order.decide(&pay(), DEADLINE), Err(Rejection::DeadlinePassed));
}

#[test]
fn a_paid_order_is_not_paid_again() {
    let order = given_awaiting(vec![pay(), captured(1)]);
    assert_eq!(order.decide(&pay(), NOW), Ok(None), "a request without a key is a repeat");
    let keyed = |key, fingerprint| Command::RequestPayment {
        method: "tok_success".into(),
        key: Some(RequestKey { key, fingerprint }),
        capture: CaptureMode::AtOnce,
    };
    assert_eq!(order.decide(&keyed(1, 1), NOW), Err(Rejection::AlreadyPaid));
    let order = given_awaiting(vec![keyed(1, 1), captured(1)]);
    assert_eq!(order.decide(&keyed(1, 1), NOW), Ok(None));
    assert_eq!(order.decide(&keyed(1, 2), NOW), Err(Rejection::KeyReused));
    assert_eq!(order.decide(&Command::Cancel, NOW), Err(Rejection::WrongStatus { status: Status::Paid }));
}

#[test]
fn a_pending_payment_is_joined_or_refused_but_never_doubled() {
    let order = given_awaiting(vec![pay()]);
    assert_eq!(order.decide(&pay(), NOW), Ok(None));
    let other = Command::RequestPayment { method: "tok_other".into(), key: None, capture: CaptureMode::AtOnce };
    assert_eq!(order.decide(&other, NOW), Err(Rejection::PaymentInProgress { attempt: 1 }));
}

#[test]
fn another_amount_than_the_total_is_never_recorded_as_paid() {
    let order = given_awaiting(vec![pay()]);
    let state = PaymentState::Captured { reference: "ch_1".into(), amount: inr(249) };
    let refused = order.decide(&Command::AdvancePayment { attempt: 1, state }, NOW);
    assert_eq!(refused, Err(Rejection::AmountMismatch { captured: inr(249), total: inr(250) }));
}

#[test]
fn a_placement_is_held_against_the_stated_total_and_a_full_address() {
    assert_eq!(placement().check(inr(250)), Ok(()));
    let mismatch = InvalidPlacement::TotalMismatch { computed: inr(250), stated: inr(240) };
    assert_eq!(placement().check(inr(240)), Err(mismatch));
    let mut nowhere = placement();
    nowhere.address.country = "India".into();
    assert!(matches!(nowhere.check(inr(250)), Err(InvalidPlacement::Address(_))));
}

/// The state as text, with all its fields.
fn shown(order: &Order) -> String {
    format!("{order:?}")
}

#[test]
fn an_erased_order_keeps_what_accounting_needs_and_nothing_of_its_customer() {
    let tracking = Tracking { carrier: "Post".into(), number: "RR-77".into() };
    let paid = vec![pay(), declined(1), pay(), captured(2), Command::RecordFulfilled];
    let on_its_way = given_awaiting([paid, vec![Command::Ship(tracking)]].concat());
    let refused = on_its_way.decide(&Command::Erase, NOW);
    assert_eq!(refused, Err(Rejection::WrongStatus { status: Status::Shipped }));
    assert_eq!(Order::default().decide(&Command::Erase, NOW), Err(Rejection::NotFound));

    let mut order = on_its_way;
    order.apply(&shipment::Event::Delivered { at: NOW }.into());
    let before = order.clone();
    let personal = ["Asha", "1 Road", "Pune", "411001", "RR-77", "tok_success", "insufficient_funds"];
    assert!(personal.iter().all(|text| shown(&before).contains(text)), "{}", shown(&before));
    let erased = order.decide(&Command::Erase, NOW).unwrap().unwrap();
    assert!(Order::erases(&erased));
    order.apply(&erased);
    assert!(!personal.iter().any(|text| shown(&order).contains(text)), "{}", shown(&order));
    assert_eq!(order.decide(&Command::Erase, NOW), Ok(None), "a repeat");
    assert_eq!(order.status(), Some(Status::Delivered));
    let (now, then) = (order.placement().unwrap(), before.placement().unwrap());
    assert_eq!((&now.lines, now.total, now.customer), (&then.lines, then.total, then.customer));
    assert_eq!(now.address.country, "IN", "accounting needs it for the tax");
    assert!(order.paying_attempt().and_then(Attempt::captured).is_some_and(|(reference, _)| reference == "ch_1"));
    assert_eq!(order.history().len(), before.history().len());
}

#[test]
fn an_order_whose_customer_is_erased_meanwhile_is_rejected_without_its_address() {
    let mut order = given(vec![place()]);
    let begun = order.decide(&Command::RejectByCart(EndReason::CustomerErased), NOW).unwrap().unwrap();
    assert!(Order::erases(&begun));
    order.apply(&begun);
    assert!(order.placement().unwrap().address.is_erased());
    order.apply(&lifecycle::Event::Ended { at: NOW }.into());
    assert_eq!(order.status(), Some(Status::Rejected));
    assert_eq!(order.decide(&Command::Erase, NOW), Ok(None));
}

fn units() -> impl Strategy<Value = Units> {
    proptest::collection::vec((0..3_u16, 0..3_u32), 0..3)
}

fn any_payment_state() -> impl Strategy<Value = PaymentState> {
    let reference = || "pi_1".to_owned();
    prop_oneof![
        3 => Just(PaymentState::Captured { reference: reference(), amount: inr(250) }),
        2 => Just(PaymentState::Declined { reason: "no".into() }),
        1 => Just(PaymentState::Voided { reference: None }),
        2 => Just(PaymentState::Authorised { reference: reference(), amount: inr(250) }),
        1 => Just(PaymentState::ActionRequired { reference: reference(), url: "https://bank".into() }),
        1 => Just(PaymentState::Processing { reference: reference() }),
    ]
}

fn any_refund_state() -> impl Strategy<Value = RefundState> {
    let reference = || "re_1".to_owned();
    prop_oneof![
        1 => Just(RefundState::Processing { reference: reference() }),
        4 => Just(RefundState::Refunded { reference: reference() }),
        1 => Just(RefundState::Failed { reason: "no".into() }),
        1 => Just(RefundState::ByHand),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let answer = prop_oneof![
        4 => Just(StockAnswer::Reserved),
        1 => Just(StockAnswer::Refused { available: 0 }),
        1 => Just(StockAnswer::TooLate)
    ];
    let capture = prop_oneof![Just(CaptureMode::AtOnce), Just(CaptureMode::Later)];
    let pay = capture.prop_map(|capture| Command::RequestPayment { method: "tok".into(), key: None, capture });
    let shipping = prop_oneof![Just(Shipping::Excluded), Just(Shipping::Included)];
    let restock = || prop_oneof![Just(Restock::No), Just(Restock::Yes)];
    let refund = (units(), shipping, proptest::option::of(restock())).prop_map(|(lines, shipping, restock)| {
        Command::Refund(RefundRequest { lines, shipping, restock, reason: "why".into(), by: UserId(9), key: None })
    });
    let advance = (1..4_u32, any_payment_state());
    prop_oneof![
        2 => Just(place()),
        3 => Just(Command::RecordTaken),
        4 => (0..2_u16, answer).prop_map(|(line, answer)| Command::RecordStock(vec![(line, answer)])),
        4 => pay,
        6 => advance.prop_map(|(attempt, state)| Command::AdvancePayment { attempt, state }),
        1 => Just(Command::Capture),
        1 => Just(Command::AbandonPayment),
        1 => (1..3_u32).prop_map(|number| Command::Notify { about: About::Attempt(number), notice: None }),
        1 => (1..3_u32).prop_map(|number| Command::Notify { about: About::Refund(number), notice: None }),
        3 => refund,
        2 => Just(Command::RefundOwed),
        1 => (1..4_u32).prop_map(|number| Command::RetryRefund { number, by: UserId(9) }),
        6 => (1..4_u32, any_refund_state())
            .prop_map(|(number, state)| Command::AdvanceRefund { number, state }),
        2 => (1..4_u32).prop_map(|number| Command::RecordRestocked { number }),
        2 => units().prop_map(|lines| Command::RequestReturn { lines, reason: "too small".into(), key: None }),
        2 => (1..3_u32, restock())
            .prop_map(|(number, restock)| Command::ReceiveReturn { number, restock, by: UserId(9) }),
        1 => (1..3_u32).prop_map(|number| Command::RejectReturn { number, note: "worn".into() }),
        3 => Just(Command::RecordFulfilled),
        1 => Just(Command::Cancel),
        1 => Just(Command::Expire),
        2 => Just(Command::Finish),
        1 => Just(Command::Pack),
        1 => Just(Command::Ship(Tracking { carrier: "Post".into(), number: "1".into() })),
        1 => Just(Command::Deliver),
    ]
}

/// What the customer has paid and was not refunded, for attempts that pay the order and for strays.
fn kept(order: &Order) -> u64 {
    let captured: u64 = order.attempts().iter().filter_map(Attempt::captured).map(|(_, amount)| amount.minor).sum();
    captured - order.refunded().map_or(0, |refunded| refunded.minor)
}

proptest! {
    /// Commands in any order: at most one attempt pays, a paid order stays paid until its refund, nothing ends while
    /// the outcome of a payment is unknown, and no more is refunded than was captured.
    #[test]
    fn an_order_keeps_its_invariants(steps in proptest::collection::vec((any_command(), 0..9_000_u64), 0..60)) {
        let (mut order, mut now) = (Order::default(), NOW);
        for (command, later) in steps {
            now = now.plus_ms(later);
            let before = order.status();
            let Ok(Some(event)) = order.decide(&command, now) else { continue };
            order.apply(&event);
            let after = order.status().unwrap();
            let paying = order.attempts().iter().filter(|a| a.captured().is_some() && !a.stray).count();
            prop_assert!(paying <= 1);
            prop_assert!(!after.is_paid() || paying == 1);
            let captured: u64 = order.attempts().iter().filter_map(Attempt::captured).map(|(_, a)| a.minor).sum();
            prop_assert!(order.refunded().unwrap().minor <= captured, "more went back than came");
            for attempt in order.attempts().iter().filter(|attempt| attempt.captured().is_some()) {
                let of_attempt = order.refunds().iter().filter(|r| r.attempt == attempt.number && !r.has_failed());
                let refunded: u64 = of_attempt.map(|refund| refund.amount.minor).sum();
                prop_assert!(refunded <= attempt.captured().unwrap().1.minor);
            }
            let units = order.refunded_units();
            prop_assert!(order.placement().unwrap().lines.iter().zip(&units).all(|(line, units)| *units <= line.quantity));
            if let Some(before) = before {
                prop_assert!(!before.is_final() || before == after, "{before:?} is final, but {event:?} follows");
                let back = before.is_paid() && !after.is_paid();
                prop_assert!(!back || after == Status::Cancelling, "{before:?} went back to {after:?}");
            }
            let unsettled = order.attempts().iter().filter(|attempt| !attempt.is_final()).count();
            prop_assert!(unsettled <= 1);
            let ended = matches!(after, Status::Cancelled | Status::Expired | Status::Rejected);
            prop_assert!(!ended || unsettled == 0, "{after:?} with an open payment");
            prop_assert!(order.attempts().len() <= ATTEMPTS_MAX && order.refunds().len() <= REFUNDS_MAX);
        }
    }

    /// The refunds of all parts are the order's total, whatever the parts.
    #[test]
    fn refunds_of_all_parts_are_the_total(
        prices in proptest::collection::vec((1..5_u32, 0..10_000_u64), 1..5),
        shipping in 0..1_000_u64,
        tax in 0..5_000_u64,
        picks in proptest::collection::vec((0..5_u16, 1..5_u32, any::<bool>()), 0..12),
    ) {
        let mut placement = placement();
        let line = |(quantity, price): &(u32, u64)| OrderLine {
            quantity: *quantity,
            unit_price: inr(*price),
            ..placement.lines[0].clone()
        };
        placement.lines = prices.iter().map(line).collect();
        (placement.shipping, placement.tax) = (inr(shipping), inr(tax));
        placement.total = Placement::total_of(&placement.lines, placement.shipping, placement.tax).unwrap();
        let total = placement.total.minor;
        let lines = u16::try_from(prices.len()).unwrap();
        let reserved = (0..lines).map(|line| (line, StockAnswer::Reserved)).collect();
        let state = PaymentState::Captured { reference: "ch_1".into(), amount: inr(total) };
        let tracking = Tracking { carrier: "Post".into(), number: "1".into() };
        let mut order = given(vec![
            Command::Place(Arc::new(placement)),
            Command::RecordTaken,
            Command::RecordStock(reserved),
            pay(),
            Command::AdvancePayment { attempt: 1, state },
            Command::RecordFulfilled,
            Command::Ship(tracking),
        ]);
        let everything = [(0, 0, false)];
        for (line, quantity, shipping) in picks.iter().chain(&everything) {
            let lines = if *quantity == 0 { Vec::new() } else { vec![(*line, *quantity)] };
            let shipping = if *shipping { Shipping::Included } else { Shipping::Excluded };
            let request = RefundRequest { lines, shipping, restock: None, reason: "why".into(), by: UserId(9), key: None };
            let Ok(Some(event)) = order.decide(&Command::Refund(request), NOW) else { continue };
            order.apply(&event);
            let number = u32::try_from(order.refunds().len()).unwrap();
            let state = RefundState::Refunded { reference: "re".into() };
            order.apply(&order.decide(&Command::AdvanceRefund { number, state }, NOW).unwrap().unwrap());
        }
        prop_assert_eq!(kept(&order), 0);
    }
}
