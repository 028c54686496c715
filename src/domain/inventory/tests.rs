//! Given / when / then for the inventory, and a property over everything that can arrive in any order.

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp(1_000);
const DEADLINE: Timestamp = Timestamp(10_000);

fn reserve(order: u128, quantity: u32) -> Command {
    Command::Reserve { order: OrderId(order), customer: UserId(order), quantity, deadline: DEADLINE }
}

fn release(order: u128) -> Command {
    Command::Release { order: OrderId(order), deadline: DEADLINE }
}

fn fulfil(order: u128) -> Command {
    Command::Fulfil { order: OrderId(order), deadline: DEADLINE }
}

fn stocked(quantity: u64, commands: &[Command]) -> Inventory {
    let mut inventory = Inventory::default();
    for command in [Command::Open { quantity }].iter().chain(commands) {
        if let Some(event) = inventory.decide(command, NOW).unwrap() {
            inventory.apply(&event);
        }
    }
    inventory
}

#[test]
fn the_last_piece_is_sold_once() {
    let inventory = stocked(1, &[reserve(1, 1)]);
    let refusal = Rejection::InsufficientStock { requested: 1, available: 0 };
    assert_eq!(inventory.decide(&reserve(2, 1), NOW), Err(refusal));
}

#[test]
fn repeats_change_nothing() {
    let inventory = stocked(5, &[reserve(1, 2)]);
    assert_eq!(inventory.decide(&reserve(1, 2), NOW), Ok(None));
    assert_eq!(inventory.decide(&reserve(1, 3), NOW), Err(Rejection::HoldReused));
    let inventory = stocked(5, &[reserve(1, 2), fulfil(1)]);
    assert_eq!(inventory.decide(&fulfil(1), NOW), Ok(None));
    assert_eq!(inventory.decide(&reserve(1, 2), NOW), Ok(None), "the order has what it asked for");
    assert_eq!(inventory.decide(&release(1), NOW), Err(Rejection::HoldUnknown), "sold is sold");
    let inventory = stocked(5, &[reserve(1, 2), release(1)]);
    assert_eq!(inventory.decide(&release(1), NOW), Ok(None));
    assert_eq!(inventory.view().available, 5);
}

#[test]
fn a_release_that_overtakes_its_reservation_leaves_a_refusal_behind() {
    let inventory = stocked(5, &[release(1)]);
    assert_eq!(inventory.decide(&reserve(1, 2), NOW), Err(Rejection::HoldReleased));
    assert_eq!(inventory.decide(&fulfil(1), NOW), Err(Rejection::HoldUnknown));
}

#[test]
fn a_reservation_after_its_deadline_is_refused() {
    assert_eq!(stocked(5, &[]).decide(&reserve(1, 1), DEADLINE), Err(Rejection::DeadlinePassed));
    assert_eq!(stocked(5, &[]).decide(&release(1), DEADLINE), Ok(None), "no reservation can follow");
}

#[test]
fn an_open_reservation_outlives_its_deadline() {
    let mut inventory = stocked(5, &[reserve(1, 2)]);
    let late = Timestamp(DEADLINE.0 + 10 * FINISHED_KEPT_MS);
    let other = Command::Reserve { order: OrderId(2), customer: UserId(2), quantity: 1, deadline: late.plus_ms(1) };
    let event = inventory.decide(&other, late).unwrap().unwrap();
    inventory.apply(&event);
    assert_eq!(inventory.view().reserved_quantity, 3, "only its order ends a hold");
}

#[test]
fn finished_holds_are_forgotten_and_a_late_repeat_is_still_harmless() {
    let mut inventory = stocked(5, &[reserve(1, 2), fulfil(1)]);
    let late = Timestamp(DEADLINE.0 + FINISHED_KEPT_MS);
    let other = Command::Reserve { order: OrderId(2), customer: UserId(2), quantity: 1, deadline: late.plus_ms(1) };
    let event = inventory.decide(&other, late).unwrap().unwrap();
    inventory.apply(&event);
    assert_eq!(inventory.holds.len(), 1, "the finished hold is forgotten");
    assert_eq!(inventory.decide(&fulfil(1), late), Ok(None), "it was sold");
    assert_eq!(inventory.decide(&reserve(1, 2), late), Err(Rejection::DeadlinePassed));
}

#[test]
fn a_sold_out_flash_sale_leaves_a_bounded_number_of_released_holds() {
    let mut inventory = stocked(0, &[]);
    let orders = RELEASED_MAX as u128 + 1_000;
    for order in 1..=orders {
        let refused = Rejection::InsufficientStock { requested: 1, available: 0 };
        assert_eq!(inventory.decide(&reserve(order, 1), NOW), Err(refused));
        let released = inventory.decide(&release(order), NOW).unwrap().unwrap();
        inventory.apply(&released);
    }
    assert_eq!((inventory.holds.len(), inventory.released.len()), (RELEASED_MAX, RELEASED_MAX));
    let receipt = Command::Receive { receipt: ReceiptId(1), quantity: 5 };
    let received = inventory.decide(&receipt, NOW).unwrap().unwrap();
    inventory.apply(&received);
    for order in [orders, orders - RELEASED_MAX as u128 + 1] {
        assert_eq!(inventory.decide(&reserve(order, 1), NOW), Err(Rejection::HoldReleased), "a late one takes nothing");
    }
    assert!(inventory.decide(&reserve(orders + 1, 1), NOW).unwrap().is_some(), "others can buy again");
    let late = DEADLINE.plus_ms(FINISHED_KEPT_MS);
    let other = Command::Receive { receipt: ReceiptId(2), quantity: 1 };
    let received = inventory.decide(&other, late).unwrap().unwrap();
    inventory.apply(&received);
    assert!(inventory.holds.is_empty(), "after the deadline nothing is left of them");
}

/// What happened while the clock was a day or a year ahead is remembered until then, but what comes after it is not.
#[test]
fn a_clock_that_was_ahead_does_not_keep_what_comes_later_from_being_forgotten() {
    for ahead_ms in [2 * FAR_AHEAD_MS, 365 * FAR_AHEAD_MS] {
        let mut inventory = stocked(1_000, &[]);
        let mut tell = |command: Command, now| {
            let event = inventory.decide(&command, now).unwrap().expect("it changes something");
            inventory.apply(&event);
            (inventory.holds.len(), inventory.receipts.len())
        };
        let mut order = 0;
        let mut sell = |now: Timestamp| {
            order += 1;
            let (mut order, customer, deadline) = (OrderId(order), UserId(order), now.plus_ms(900_000));
            tell(Command::Reserve { order, customer, quantity: 1, deadline }, now);
            tell(Command::Fulfil { order, deadline }, now);
            order.0 += 1_000_000;
            tell(Command::Release { order, deadline }, now);
            tell(Command::Receive { receipt: ReceiptId(order.0), quantity: 1 }, now)
        };
        for minute in 0..10 {
            sell(NOW.plus_ms(ahead_ms + minute * 60_000));
        }
        let (mut holds, mut receipts) = (0, 0);
        for hour in 0..24 * 60 {
            (holds, receipts) = sell(NOW.plus_ms(hour * 3_600_000));
            assert!(holds <= 2 * (2 * 10 + 24), "{holds} holds in hour {hour}: not even those of a day");
        }
        assert!(holds <= 2 * 2 * 10, "{holds} holds: not even as many again");
        assert!(receipts <= 33 * 24, "{receipts} receipts");
    }
}

#[test]
fn opening_stock_counts_once_and_receipts_once_each() {
    let receive = |receipt, quantity| Command::Receive { receipt: ReceiptId(receipt), quantity };
    let inventory = stocked(5, &[Command::Open { quantity: 9 }, receive(1, 10), receive(1, 10), receive(2, 1)]);
    assert_eq!(inventory.view().on_hand, 16);
    assert_eq!(inventory.decide(&receive(1, 11), NOW), Err(Rejection::ReceiptReused));
    assert_eq!(inventory.decide(&receive(3, 0), NOW), Err(Rejection::InvalidQuantity));
    assert_eq!(inventory.decide(&receive(3, u64::MAX), NOW), Err(Rejection::InvalidQuantity));
}

#[test]
fn beyond_the_receipts_that_a_product_remembers_the_oldest_is_forgotten() {
    let receive = |receipt| Command::Receive { receipt: ReceiptId(receipt), quantity: 1 };
    let newest = RECEIPTS_MAX as u128;
    let inventory = stocked(0, &(0..=newest).map(receive).collect::<Vec<_>>());
    assert_eq!((inventory.receipts.len(), inventory.view().on_hand), (RECEIPTS_MAX, RECEIPTS_MAX as u64 + 1));
    for remembered in [1, newest] {
        assert_eq!(inventory.decide(&receive(remembered), NOW), Ok(None));
    }
    assert!(inventory.decide(&receive(0), NOW).unwrap().is_some(), "the oldest is as good as new");
}

#[test]
fn stock_cannot_be_taken_from_orders() {
    let inventory = stocked(5, &[reserve(1, 4)]);
    let adjust = Command::Adjust { receipt: ReceiptId(1), delta: -2 };
    assert_eq!(inventory.decide(&adjust, NOW), Err(Rejection::BelowReserved { reserved: 4 }));
    let refused = inventory.decide(&Command::Count { on_hand: 3, if_received: None }, NOW);
    assert_eq!(refused, Err(Rejection::BelowReserved { reserved: 4 }));
    assert_eq!(inventory.decide(&Command::Count { on_hand: 5, if_received: None }, NOW), Ok(None));
    let count = |if_received| inventory.decide(&Command::Count { on_hand: 6, if_received: Some(if_received) }, NOW);
    assert_eq!(count(5), Ok(Some(Event::Counted { delta: 1 })), "reservations change nothing of what was received");
    assert_eq!(count(4), Err(Rejection::ReceivedChanged));
}

fn any_command() -> impl Strategy<Value = Command> {
    let order = 0..6_u128;
    prop_oneof![
        (order.clone(), 0..5_u32).prop_map(|(order, quantity)| reserve(order, quantity)),
        order.clone().prop_map(release),
        order.prop_map(fulfil),
        (0..4_u128, -3..6_i64).prop_map(|(receipt, delta)| Command::Adjust { receipt: ReceiptId(receipt), delta }),
        (0..12_u64).prop_map(|on_hand| Command::Count { on_hand, if_received: None }),
        (0..12_u64).prop_map(|quantity| Command::Open { quantity }),
    ]
}

proptest! {
    /// After any commands in any order, each repeated: nothing is oversold, and the quantities agree with the open
    /// holds.
    #[test]
    fn the_quantities_balance(steps in proptest::collection::vec((any_command(), -100..400_i64), 0..60)) {
        let mut inventory = Inventory::default();
        let mut now = Timestamp(0);
        for (command, later) in steps {
            // The clock may be set back.
            now = Timestamp(now.0.saturating_add_signed(later));
            if let Ok(Some(event)) = inventory.decide(&command, now) {
                inventory.apply(&event);
                let repeated = inventory.decide(&command, now);
                prop_assert!(matches!(repeated, Ok(None)), "a repeat of {command:?} gave {repeated:?}");
            }
            let view = inventory.view();
            let held: u64 = inventory.open_holds().map(|(_, quantity)| u64::from(quantity)).sum();
            prop_assert_eq!(held, view.reserved_quantity);
            prop_assert_eq!(view.received, view.on_hand + view.sold);
            prop_assert_eq!(view.available + view.reserved_quantity, view.on_hand);
        }
    }
}
