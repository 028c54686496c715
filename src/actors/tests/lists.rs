//! The lists of orders after a crash: whatever a crash leaves of them, reading the log again repairs them.
//!
//! Depends on `lists` and the journal.

use std::sync::Arc;

use super::test_shop::placement;
use crate::{
    actors::{
        lists::{Lists, ListsProjection, NAME, OrdersOf, PageError},
        projection::Projection,
        records::{EVENT_VERSION, Header, encode_event},
        sales::{MOVING, Sales},
    },
    domain::{
        cursor::{Cursor, InvalidCursor, KEY_BYTES_MAX},
        entity::{Entity, EntityId, Timestamp},
        ids::{OrderId, ProductId, UserId},
        order::{CaptureMode, Command, Order, PaymentState, Stage, StockAnswer, Tracking},
        review::{Content, Purchase, TEXT_BYTES_MAX, TITLE_CHARACTERS_MAX, Written},
    },
    storage::{Journal, JournalConfig, Position, Record, Stream, VALUE_BYTES_MAX, codec::encode},
};

const CUSTOMER: UserId = UserId(1);
const NOW: Timestamp = Timestamp(1_000);

/// The records of an order that these commands create.
fn records(id: OrderId, commands: &[Command]) -> Vec<Record> {
    let stream = Stream::new(Order::KIND as u8, &id.to_key());
    let mut order = Order::default();
    let event = |command| {
        let event = order.decide(command, NOW).unwrap().unwrap();
        order.apply(&event);
        encode_event::<Order>(Header { time: NOW, tag: order.tag(), ..Header::default() }, &event)
    };
    let payloads: Vec<_> = commands.iter().map(event).collect();
    let record = |(sequence, payload): (u64, Vec<u8>)| {
        let stream = stream.clone();
        Record { stream, sequence, version: EVENT_VERSION, payload: payload.into() }
    };
    (1..).zip(payloads).map(record).collect()
}

fn open(journal: &Journal) -> ListsProjection {
    ListsProjection::open(journal.clone(), Arc::default()).unwrap()
}

/// How often the order is listed for its customer, whether among the open ones, and in which stages.
fn listed(journal: &Journal, id: OrderId) -> (usize, bool, Vec<Stage>) {
    let lists = Lists::new(journal.clone());
    let orders = |of| lists.orders(of, None, usize::MAX - 1).unwrap().items;
    let customers = orders(OrdersOf::Customer(CUSTOMER)).iter().filter(|order| **order == id).count();
    let open = lists.open_orders(None, usize::MAX - 1).unwrap().items.contains(&id);
    let stages = Stage::ALL.into_iter().filter(|stage| orders(OrdersOf::Stage(*stage)).contains(&id));
    (customers, open, stages.collect())
}

/// A crash leaves what was committed, and of the commit in progress the first changes. The log is read again from the
/// last position that is known to be durable, which may be older than both.
async fn check_after_every_crash(commands: &[Command], last: Stage) {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(JournalConfig::new(dir.path())).unwrap();
    let (mut number, mut left_all) = (0, false);
    for committed in 0..=commands.len() {
        for under_way in committed..=commands.len() {
            for made in 0.. {
                number += 1;
                let (id, mut projection) = (OrderId(number), open(&journal));
                let records = records(id, commands);
                projection.apply(&records[..committed]).unwrap();
                projection.commit(Position::BEGINNING).unwrap();
                projection.apply(&records[committed..under_way]).unwrap();
                let mut changes = projection.take_changes();
                if made > changes.len() {
                    left_all = true;
                    break;
                }
                changes.truncate(made);
                journal.read_models().commit(NAME, Position::BEGINNING, changes).unwrap();
                let sales = Arc::<Sales>::default();
                let mut again = ListsProjection::open(journal.clone(), Arc::clone(&sales)).unwrap();
                let from = [0, committed / 2, committed][usize::try_from(number % 3).unwrap()];
                again.apply(&records[from..]).unwrap();
                again.commit(Position::BEGINNING).unwrap();
                let what = format!("{committed} committed, of {under_way} {made} changes, again from {from}");
                assert_eq!(listed(&journal, id), (1, false, vec![last]), "{what}");
                let lists = Lists::new(journal.clone());
                for stage in MOVING {
                    let there = lists.orders(OrdersOf::Stage(stage), None, usize::MAX - 1).unwrap().items;
                    assert_eq!(sales.orders(stage), there.len() as u64, "{stage:?}: {what}");
                }
                let place = [b"p", id.to_key().as_slice()].concat();
                assert!(journal.read_models().get(NAME, &place).unwrap().is_none(), "its place is forgotten: {what}");
            }
        }
    }
    assert!(left_all && number > 20, "{number} crashes");
    journal.close().await.unwrap();
}

#[tokio::test]
async fn a_delivered_order_is_listed_once_after_any_crash() {
    let placed = placement(CUSTOMER, 1, &[(1, 1)], NOW);
    let captured = PaymentState::Captured { reference: "1".into(), amount: placed.total };
    let tracking = Tracking { carrier: "A Carrier".into(), number: "1".into() };
    let life = [
        Command::Place(placed),
        Command::RecordTaken,
        Command::RecordStock(vec![(0, StockAnswer::Reserved)]),
        Command::RequestPayment { method: "tok_success".into(), key: None, capture: CaptureMode::AtOnce },
        Command::AdvancePayment { attempt: 1, state: captured },
        Command::RecordFulfilled,
        Command::Pack,
        Command::Ship(tracking),
        Command::Deliver,
    ];
    check_after_every_crash(&life, Stage::Delivered).await;
}

#[tokio::test]
async fn a_cancelled_order_is_listed_once_after_any_crash() {
    let placed = placement(CUSTOMER, 1, &[(1, 1)], NOW);
    let life = [Command::Place(placed), Command::Cancel, Command::Finish];
    check_after_every_crash(&life, Stage::Ended).await;
}

#[tokio::test]
async fn a_list_takes_any_key_but_only_its_own_cursors() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(JournalConfig::new(dir.path())).unwrap();
    let lists = Lists::new(journal.clone());
    let product: ProductId = "p".repeat(ProductId::BYTES_MAX).parse().unwrap();
    let list = [b"r", product.as_str().as_bytes(), &[0]].concat();
    // Whoever can compute a checksum can make one with any key.
    for key in [&[][..], &[0; KEY_BYTES_MAX], &[255; KEY_BYTES_MAX]] {
        assert!(lists.reviews(&product, Some(&Cursor::new(&list, key)), 10).unwrap().items.is_empty());
    }
    let cursor = Cursor::new(&list, b"key");
    let other = "p".parse().unwrap();
    for refused in
        [lists.reviews(&other, Some(&cursor), 10).map(drop), lists.orders_with_issues(Some(&cursor), 10).map(drop)]
    {
        assert!(matches!(refused, Err(PageError::InvalidCursor(InvalidCursor))), "{refused:?}");
    }
    journal.close().await.unwrap();
}

#[test]
fn the_longest_review_fits_into_one_stored_value() {
    let (title, text) = ("\u{1f44d}".repeat(TITLE_CHARACTERS_MAX), "x".repeat(TEXT_BYTES_MAX));
    let content = Content { customer: CUSTOMER, rating: 5, title, text, purchase: Purchase::Verified };
    // A checksum of four bytes stands before it.
    assert!(encode(&Written { content, at: NOW }).len() + 4 <= VALUE_BYTES_MAX);
}
