//! One of every stored event, with every field and every variant within it in use. A new variant does not compile here
//! until it has a number, and does not pass until it has an example.
//!
//! Depends on `domain` and `storage::codec`.

use std::sync::Arc;

use serde::Serialize;

use super::test_shop;
use crate::{
    domain::{
        cart,
        entity::Timestamp,
        ids::{OrderId, ProductId, ReceiptId, RequestKey, SellerId, UserId},
        inventory,
        money::{Currency, Money},
        order::{
            self, About, CaptureMode, EndReason, IssueKind, PaymentState, Placement, Refund, RefundCause, RefundState,
            Shipping, StockAnswer, Tracking,
        },
        product::{self, Details, ImportedRating, Picture, Variant},
        ratings,
        review::{self, Content, Purchase, Written},
        seller,
        unmatched_notices::{self, LookUp, Subject, UnmatchedNotice},
    },
    storage::codec::encode,
};

pub(super) const AT: Timestamp = Timestamp(0x0102_0304_0506);
pub(super) const DEADLINE: Timestamp = Timestamp(0x0102_0304_ffff);
pub(super) const USER: UserId = UserId(0x1111);
const ORDER: OrderId = OrderId(0x2222);

fn id(text: &str) -> ProductId {
    text.parse().unwrap()
}

fn inr(minor: u64) -> Money {
    Money::new(minor, Currency::INR).unwrap()
}

/// Checks that there is an example of every variant: each has a number, counted from zero, and bincode writes it first.
fn check_all<E: Serialize>(variant: impl Fn(&E) -> u32, variants: u32, events: &[(&'static str, E)]) {
    let mut seen = std::collections::BTreeSet::new();
    for (name, event) in events {
        let written = encode(event).first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        assert_eq!(written, Some(variant(event)), "{name}: variants are never reordered, removed or inserted");
        seen.insert(variant(event));
    }
    assert!(seen.into_iter().eq(0..variants), "a variant has no example");
}

pub(super) fn of_all<E: Serialize, const N: usize>(
    variant: impl Fn(&E) -> u32,
    variants: u32,
    events: [(&'static str, E); N],
) -> [(&'static str, E); N] {
    check_all(variant, variants, &events);
    events
}

pub(super) fn product() -> [(&'static str, product::Event); 3] {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let full = Details {
        title: "Kettle".into(),
        description: "It boils.".into(),
        brand: Some("Acme".into()),
        category: vec!["Home".into(), "Kitchen".into()],
        price: Some(inr(129_900)),
        thumbnail: Some(Picture::at("https://images.example/s.jpg")),
        pictures: vec![Picture { alt: Some("A kettle".into()), ..Picture::at("https://images.example/1.jpg") }],
        attributes: vec![pair("colour", "black")],
        imported_rating: Some(ImportedRating { average_hundredths: 431, count: 77 }),
        variant_of: Some(id("kettles")),
        variants: vec![Variant { product: id("kettle-2"), options: vec![pair("size", "M")] }],
    };
    let bare = Details {
        title: "Bare".into(),
        description: String::new(),
        brand: None,
        category: Vec::new(),
        price: None,
        thumbnail: None,
        pictures: Vec::new(),
        attributes: Vec::new(),
        imported_rating: None,
        variant_of: None,
        variants: Vec::new(),
    };
    let variant = |event: &product::Event| match event {
        product::Event::Listed { .. } => 0,
        product::Event::Delisted { .. } => 1,
    };
    let listed = |details| product::Event::Listed { seller: SellerId::of(USER), details: Arc::new(details), at: AT };
    of_all(
        variant,
        2,
        [("listed", listed(full)), ("bare", listed(bare)), ("delisted", product::Event::Delisted { at: AT })],
    )
}

pub(super) fn inventory() -> [(&'static str, inventory::Event); 6] {
    use inventory::Event;
    let variant = |event: &Event| match event {
        Event::Opened { .. } => 0,
        Event::Adjusted { .. } => 1,
        Event::Counted { .. } => 2,
        Event::Reserved { .. } => 3,
        Event::Released { .. } => 4,
        Event::Fulfilled { .. } => 5,
    };
    of_all(
        variant,
        6,
        [
            ("opened", Event::Opened { quantity: 1_000 }),
            ("adjusted", Event::Adjusted { receipt: ReceiptId(0x3333), delta: -7, at: AT }),
            ("counted", Event::Counted { delta: -3 }),
            ("reserved", Event::Reserved { order: ORDER, customer: USER, quantity: 5, deadline: DEADLINE, at: AT }),
            ("released", Event::Released { order: ORDER, deadline: DEADLINE, at: AT }),
            ("fulfilled", Event::Fulfilled { order: ORDER, at: AT }),
        ],
    )
}

pub(super) fn cart() -> [(&'static str, cart::Event); 7] {
    use cart::Event;
    let variant = |event: &Event| match event {
        Event::Added { .. } => 0,
        Event::QuantitySet { .. } => 1,
        Event::Removed { .. } => 2,
        Event::Taken { .. } => 3,
        Event::Returned { .. } => 4,
        Event::Closed { .. } => 5,
        Event::Erased { .. } => 6,
    };
    let line = |product: &str, quantity| cart::Line { product: id(product), quantity };
    let lines = || vec![line("kettle", 2), line("cup", 4)];
    of_all(
        variant,
        7,
        [
            ("added", Event::Added { lines: lines(), currency: Currency::INR }),
            ("quantity_set", Event::QuantitySet { line: line("kettle", 9), currency: Currency::INR }),
            ("removed", Event::Removed { product: id("cup") }),
            ("taken", Event::Taken { order: ORDER, fingerprint: 0x6666, lines: vec![line("kettle", 1)] }),
            ("returned", Event::Returned { order: ORDER, lines: vec![line("kettle", 1)] }),
            ("closed", Event::Closed { order: ORDER }),
            ("erased", Event::Erased { at: AT }),
        ],
    )
}

fn placement() -> Arc<Placement> {
    let mut placement = test_shop::placement(USER, 3, &[(0, 2), (1, 1)], AT).as_ref().clone();
    placement.shipping = inr(40);
    placement.tax = inr(2);
    placement.total = inr(342);
    placement.deadline = DEADLINE;
    placement.address.line2 = Some("Floor 2".into());
    placement.address.region = Some("MH".into());
    placement.address.phone = Some("+91 20 0000 0000".into());
    Arc::new(placement)
}

/// A refund of the order's first line.
fn refund(number: u32, cause: RefundCause) -> Refund {
    Refund {
        number,
        attempt: 2,
        lines: vec![(0, 1)],
        shipping: Shipping::Included,
        amount: inr(141),
        restock: vec![(0, 1)],
        cause,
        reason: "too small".into(),
        by: Some(USER),
        key: Some(RequestKey { key: 0x7777, fingerprint: 0x8888 }),
        at: AT,
        state: None,
        retries: None,
        restocked: false,
        needs_refresh: false,
    }
}

/// The events of one part, as events of the order.
fn of_part<E: Serialize + Into<order::Event>, const N: usize>(
    variant: impl Fn(&E) -> u32,
    variants: u32,
    events: [(&'static str, E); N],
) -> impl Iterator<Item = (&'static str, order::Event)> {
    of_all(variant, variants, events).into_iter().map(|(name, event)| (name, event.into()))
}

pub(super) fn order() -> Vec<(&'static str, order::Event)> {
    use order::Event;
    let bare = test_shop::placement(USER, 3, &[(0, 2)], AT);
    let mut events = vec![("placed", Event::Placed(placement())), ("placed_bare", Event::Placed(bare))];
    events.extend(goods());
    events.extend(payments());
    events.extend(notices());
    events.extend(refunds());
    events.extend(returns());
    events.extend(shipments());
    events.extend(issues());
    events.extend(ends());
    let part = |event: &Event| match event {
        Event::Placed(_) => 0,
        Event::Goods(_) => 1,
        Event::Payment(_) => 2,
        Event::Notice(_) => 3,
        Event::Refund(_) => 4,
        Event::Return(_) => 5,
        Event::Shipment(_) => 6,
        Event::Issue(_) => 7,
        Event::End(_) => 8,
    };
    check_all(part, 9, &events);
    events
}

fn goods() -> impl Iterator<Item = (&'static str, order::Event)> {
    use order::goods::Event;
    let variant = |event: &Event| match event {
        Event::CartTaken { .. } => 0,
        Event::StockAnswered { .. } => 1,
        Event::Fulfilled { .. } => 2,
    };
    let answered = |first, second| Event::StockAnswered { answers: vec![(0, first), (1, second)], at: AT };
    of_part(
        variant,
        3,
        [
            ("cart_taken", Event::CartTaken { at: AT }),
            ("reserved", answered(StockAnswer::Reserved, StockAnswer::Reserved)),
            ("refused", answered(StockAnswer::Reserved, StockAnswer::Refused { available: 3 })),
            ("too_late", answered(StockAnswer::TooLate, StockAnswer::Reserved)),
            ("fulfilled", Event::Fulfilled { at: AT }),
        ],
    )
}

fn payments() -> impl Iterator<Item = (&'static str, order::Event)> {
    use order::payment::Event;
    let variant = |event: &Event| match event {
        Event::Requested { .. } => 0,
        Event::Advanced { .. } => 1,
        Event::CaptureRequested { .. } => 2,
        Event::VoidRequested { .. } => 3,
        Event::StrayCaptured { .. } => 4,
    };
    let requested = |key, capture| Event::Requested { method: "tok_success".into(), key, capture, at: AT };
    let key = Some(RequestKey { key: 0x7777, fingerprint: 0x8888 });
    let advanced = |attempt, state| Event::Advanced { attempt, state, at: AT };
    let captured = |reference: &str| PaymentState::Captured { reference: reference.into(), amount: inr(342) };
    of_part(
        variant,
        5,
        [
            ("payment_requested", requested(key, CaptureMode::AtOnce)),
            ("payment_requested_without_key", requested(None, CaptureMode::AtOnce)),
            ("authorisation_requested", requested(key, CaptureMode::Later)),
            ("declined", advanced(1, PaymentState::Declined { reason: "card_declined".into() })),
            ("captured", advanced(2, captured("ch_1"))),
            ("authorised", advanced(1, PaymentState::Authorised { reference: "pi_1".into(), amount: inr(342) })),
            (
                "action_required",
                advanced(1, PaymentState::ActionRequired { reference: "pi_1".into(), url: "https://bank".into() }),
            ),
            ("processing", advanced(1, PaymentState::Processing { reference: "pi_1".into() })),
            ("voided", advanced(1, PaymentState::Voided { reference: Some("pi_1".into()) })),
            ("voided_unheard", advanced(1, PaymentState::Voided { reference: None })),
            ("captured_later", advanced(1, captured("pi_1"))),
            ("capture_requested", Event::CaptureRequested { attempt: 1, at: AT }),
            ("void_requested", Event::VoidRequested { attempt: 1, at: AT }),
            ("stray", Event::StrayCaptured { attempt: 1, reference: "pi_1".into(), amount: inr(342), at: AT }),
        ],
    )
}

fn notices() -> impl Iterator<Item = (&'static str, order::Event)> {
    use order::notices::Event;
    let variant = |event: &Event| match event {
        Event::Received { .. } => 0,
        Event::NothingNew { .. } => 1,
    };
    let received = |about| Event::Received { about, notice: Some(7), at: AT };
    let nothing_new = |about| Event::NothingNew { about, at: AT };
    of_part(
        variant,
        2,
        [
            ("notice_of_payment", received(About::Attempt(2))),
            ("notice_of_first", received(About::Attempt(1))),
            ("notice_of_refund", received(About::Refund(1))),
            ("notice_of_refunds", received(About::Refunds(1))),
            ("nothing_new", nothing_new(About::Attempt(2))),
            ("nothing_new_of_first", nothing_new(About::Attempt(1))),
            ("nothing_new_of_refund", nothing_new(About::Refund(1))),
        ],
    )
}

fn refunds() -> impl Iterator<Item = (&'static str, order::Event)> {
    use order::refund::Event;
    let variant = |event: &Event| match event {
        Event::Requested { .. } => 0,
        Event::Advanced { .. } => 1,
        Event::Restocked { .. } => 2,
        Event::FoundElsewhere { .. } => 3,
    };
    let requested = |cause| Event::Requested { refund: refund(1, cause) };
    let advanced = |state| Event::Advanced { number: 1, state, at: AT };
    of_part(
        variant,
        4,
        [
            ("refund_requested", requested(RefundCause::Asked)),
            ("refund_of_cancelled", requested(RefundCause::Cancelled)),
            ("refund_of_stray", requested(RefundCause::Stray)),
            ("refund_pending", advanced(RefundState::Processing { reference: "re_1".into() })),
            ("refunded", advanced(RefundState::Refunded { reference: "re_1".into() })),
            ("refund_failed", advanced(RefundState::Failed { reason: "account_closed".into() })),
            ("refund_by_hand", advanced(RefundState::ByHand)),
            ("restocked", Event::Restocked { number: 1, at: AT }),
            ("refunded_elsewhere", Event::FoundElsewhere { refund: refund(1, RefundCause::Elsewhere) }),
        ],
    )
}

fn returns() -> impl Iterator<Item = (&'static str, order::Event)> {
    use order::returns::Event;
    let variant = |event: &Event| match event {
        Event::Requested { .. } => 0,
        Event::Received { .. } => 1,
        Event::Rejected { .. } => 2,
    };
    let key = Some(RequestKey { key: 0x7777, fingerprint: 0x8888 });
    of_part(
        variant,
        3,
        [
            ("return_requested", Event::Requested { lines: vec![(0, 1)], reason: "too small".into(), key, at: AT }),
            ("return_received", Event::Received { number: 1, refund: refund(1, RefundCause::Return) }),
            ("return_rejected", Event::Rejected { number: 1, note: "worn".into(), at: AT }),
        ],
    )
}

fn shipments() -> impl Iterator<Item = (&'static str, order::Event)> {
    use order::shipment::Event;
    let variant = |event: &Event| match event {
        Event::Packed { .. } => 0,
        Event::Shipped { .. } => 1,
        Event::Delivered { .. } => 2,
    };
    let tracking = Tracking { carrier: "Post".into(), number: "RR123".into() };
    of_part(
        variant,
        3,
        [
            ("packed", Event::Packed { at: AT }),
            ("shipped", Event::Shipped { tracking, at: AT }),
            ("delivered", Event::Delivered { at: AT }),
        ],
    )
}

fn issues() -> impl Iterator<Item = (&'static str, order::Event)> {
    use order::issues::Event;
    let variant = |event: &Event| match event {
        Event::Raised { .. } => 0,
        Event::Resolved { .. } => 1,
    };
    let raised = |kind| Event::Raised { kind, notice: Some(7), at: AT };
    let resolved = |by, note: &str| Event::Resolved { issues: vec![1], by, note: note.into(), at: AT };
    let mismatch = IssueKind::AmountMismatch { attempt: 1, reference: "pi_1".into(), captured: inr(341) };
    of_part(
        variant,
        2,
        [
            ("payment_unknown", raised(IssueKind::PaymentUnknown { attempt: 1, seen: "500".into() })),
            ("amount_mismatch", raised(mismatch)),
            ("refund_failed_raised", raised(IssueKind::RefundFailed { refund: 1, reason: "account_closed".into() })),
            ("stuck", raised(IssueKind::Stuck { seen: "the stock: full".into() })),
            ("differs", raised(IssueKind::Differs { what: "nothing was captured".into() })),
            ("refunded_elsewhere_raised", raised(IssueKind::RefundedElsewhere { refund: 1, amount: inr(3) })),
            ("dispute_ended", raised(IssueKind::DisputeEnded { reference: "pi_1".into(), outcome: "won".into() })),
            ("disputed", raised(IssueKind::Disputed { reference: "pi_1".into() })),
            ("resolved_by_operator", resolved(Some(USER), "called the bank")),
            ("resolved_by_itself", resolved(None, "it has resolved itself")),
        ],
    )
}

fn ends() -> impl Iterator<Item = (&'static str, order::Event)> {
    use order::lifecycle::Event;
    let variant = |event: &Event| match event {
        Event::Begun { .. } => 0,
        Event::Undone { .. } => 1,
        Event::Ended { .. } => 2,
        Event::Erased { .. } => 3,
    };
    let begun = |reason| Event::Begun { reason, at: AT };
    let short = EndReason::InsufficientStock { product: id("p1"), requested: 4, available: 3 };
    of_part(
        variant,
        4,
        [
            ("cancelled", begun(EndReason::Cancelled)),
            ("expired", begun(EndReason::Expired)),
            ("cart_changed", begun(EndReason::CartChanged)),
            ("too_many_open_orders", begun(EndReason::TooManyOpenOrders)),
            ("insufficient_stock", begun(short)),
            ("customer_erased", begun(EndReason::CustomerErased)),
            ("undone", Event::Undone { at: AT }),
            ("ended", Event::Ended { at: AT }),
            ("erased", Event::Erased { at: AT }),
        ],
    )
}

fn content(rating: u8, purchase: Purchase) -> Content {
    Content { customer: USER, rating, title: "Good".into(), text: "It boils.".into(), purchase }
}

pub(super) fn review() -> [(&'static str, review::Event); 3] {
    use review::Event;
    let variant = |event: &Event| match event {
        Event::Written { .. } => 0,
        Event::Erased { .. } => 1,
    };
    let written = |rating, purchase, version| {
        let written = Arc::new(Written { content: content(rating, purchase), at: AT });
        Event::Written { written, version }
    };
    of_all(
        variant,
        2,
        [
            ("written", written(5, Purchase::Verified, 1)),
            ("rewritten", written(3, Purchase::Unknown, 2)),
            ("erased", Event::Erased { version: 3, at: AT }),
        ],
    )
}

pub(super) fn seller() -> [(&'static str, seller::Event); 2] {
    let variant = |event: &seller::Event| match event {
        seller::Event::Named { .. } => 0,
        seller::Event::Erased { .. } => 1,
    };
    let named = seller::Event::Named { name: "Teapots of Pune".into(), at: AT };
    of_all(variant, 2, [("named", named), ("erased", seller::Event::Erased { at: AT })])
}

pub(super) fn unmatched_notices() -> [(&'static str, unmatched_notices::Event); 5] {
    use unmatched_notices::Event;
    let variant = |event: &Event| match event {
        Event::Kept { .. } => 0,
        Event::Dismissed { .. } => 1,
        Event::Forgotten { .. } => 2,
        Event::LookedUp { .. } => 3,
    };
    let subject = Subject::DisputeEnded { reference: "dp_1".into(), outcome: "lost".into() };
    let look_up = Some(LookUp { payment: "pi_1".into(), subject });
    let waiting = UnmatchedNotice { look_up, ..UnmatchedNotice::new("charge.dispute.closed", "dp_1", "", AT) };
    of_all(
        variant,
        4,
        [
            ("kept_to_look_up", Event::Kept { id: 0x4444, notice: waiting }),
            ("looked_up", Event::LookedUp { id: 0x4444, order: Some(ORDER), at: AT }),
            ("kept", Event::Kept { id: 0x3333, notice: UnmatchedNotice::new("payment.captured", "pi_1", "0222", AT) }),
            ("dismissed", Event::Dismissed { id: 0x3333, by: USER, note: "called the bank".into(), at: AT }),
            ("forgotten", Event::Forgotten { at: AT }),
        ],
    )
}

pub(super) fn ratings() -> [(&'static str, ratings::Event); 2] {
    use ratings::Event;
    let variant = |event: &Event| match event {
        Event::Rated { .. } => 0,
        Event::Forgotten { .. } => 1,
    };
    of_all(
        variant,
        2,
        [
            ("rated", Event::Rated { customer: USER, rating: 4, version: 2 }),
            ("forgotten", Event::Forgotten { customer: USER }),
        ],
    )
}
