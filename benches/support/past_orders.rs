//! Past orders by the million: the data of many years, made in minutes.
//!
//! The domain decides and applies each order from placed to delivered; its nine events and its last snapshot are
//! written through the running shop's own journal, and checkpoints and lists follow as for any order. HTTP, the actors,
//! the carts, the inventories and the payment provider are bypassed: these orders took no stock, and nobody was
//! charged.
//!
//! Depends on the rooms `actors`, `domain`, `shop` and `storage` of `souk` and on `tokio`.

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use souk::{
    domain::{
        entity::{Entity, EntityId, Timestamp},
        idempotency::Executed,
        ids::{OrderId, SellerId, UserId},
        money::{Currency, Money},
        order::{
            Address, CaptureMode, Command, Order, OrderLine, PaymentState, Placement, Status, StockAnswer, Tracking,
        },
    },
    internals::{
        self,
        actors::records::{EVENT_VERSION, Header, SNAPSHOT_VERSION, encode_event, encode_snapshot},
        storage::{Append, Snapshot, Stream},
    },
    shop::Shop,
};
use tokio::sync::oneshot;

/// The number of concurrent orders: as many as the journal activates.
const AT_ONCE: usize = 256;
/// The number of orders of each customer.
const ORDERS_A_CUSTOMER: u64 = 20;
/// The time of the first order, in milliseconds: 2023-11-14. One order per second from then on.
const FIRST_MS: u64 = 1_700_000_000_000;
/// The price of each, in minor units.
const PRICE: u64 = 129_900;
/// How long lists and search may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(3_600);

/// Writes the orders from number `from` to `to` for products of the demo catalogue, and waits until the lists contain
/// them.
pub(crate) async fn write(shop: &Shop, from: u64, to: u64, products: usize) {
    let began = Instant::now();
    stream::iter(from..to).for_each_concurrent(AT_ONCE, |number| write_one(shop, number, products)).await;
    let rate = (to - from) as f64 / began.elapsed().as_secs_f64();
    shop.catch_up(CATCH_UP).await;
    let seconds = began.elapsed().as_secs_f64();
    println!("            {} past orders written, {rate:.0}/s; the lists had them after {seconds:.1} s", to - from);
}

async fn write_one(shop: &Shop, number: u64, products: usize) {
    let hash = |what: &str, number: u64| internals::identity(shop).hash_u128(what, &[&number.to_be_bytes()]);
    let id = OrderId(hash("past-order", number));
    let placement = placement(number, UserId(hash("past-customer", number / ORDERS_A_CUSTOMER)), products);
    let (events, state) = live(placement, Timestamp(FIRST_MS + number * 1_000));
    let stream = Stream::new(Order::KIND as u8, &id.to_key());
    let (lease, loaded) = internals::journal(shop).activate(&stream).await.expect("a lease");
    assert_eq!(loaded.sequence(), 0, "it is new");
    let (sender, durable) = oneshot::channel();
    let (mut sender, last) = (Some(sender), events.len());
    for (sequence, payload) in (1..).zip(events) {
        let slot = internals::journal(shop).reserve().await.expect("a place");
        let append = Append { sequence, version: EVENT_VERSION, payload };
        let sender = if sequence == last as u64 { sender.take() } else { None };
        slot.append(&lease, append, move |appended| {
            appended.expect("it is appended");
            // The writer waits for the last one, below.
            let _ = sender.map(|sender| sender.send(()));
        });
    }
    durable.await.expect("it is durable");
    let snapshot = Snapshot { sequence: last as u64, version: SNAPSHOT_VERSION, bytes: state.into() };
    internals::journal(shop).offer_snapshot(&stream, snapshot);
}

fn placement(number: u64, customer: UserId, products: usize) -> Placement {
    let (currency, at) = (Currency::INR, Timestamp(FIRST_MS + number * 1_000));
    let price = Money::new(PRICE, currency).expect("a legal price");
    let product = 1 + usize::try_from(number).unwrap_or_default() % products;
    let line = OrderLine {
        product: format!("demo-{product:06}").parse().expect("a legal id"),
        title: format!("A thing that was sold as number {product}"),
        seller: SellerId(0),
        quantity: 1,
        unit_price: price,
    };
    let address = Address {
        name: "A Customer".into(),
        line1: "1 Long Road".into(),
        line2: None,
        city: "Pune".into(),
        region: None,
        postal_code: "411001".into(),
        country: "IN".into(),
        phone: None,
    };
    let (shipping, tax, deadline) = (Money::zero(currency), Money::zero(currency), at.plus_ms(900_000));
    let (lines, total, fingerprint) = (vec![line], price, u128::from(number));
    Placement { customer, lines, shipping, tax, total, address, cart_version: 1, fingerprint, deadline, at }
}

/// The events of an order's whole life, a second apart, and its last state, in their stored forms.
fn live(placement: Placement, at: Timestamp) -> (Vec<Vec<u8>>, Vec<u8>) {
    let captured = PaymentState::Captured { reference: "past".into(), amount: placement.total };
    let tracking = Tracking { carrier: "A Carrier".into(), number: "1".into() };
    let life = [
        Command::Place(Arc::new(placement)),
        Command::RecordTaken,
        Command::RecordStock(vec![(0, StockAnswer::Reserved)]),
        Command::RequestPayment { method: "tok_success".into(), key: None, capture: CaptureMode::AtOnce },
        Command::AdvancePayment { attempt: 1, state: captured },
        Command::RecordFulfilled,
        Command::Pack,
        Command::Ship(tracking),
        Command::Deliver,
    ];
    let mut order = Order::default();
    let mut stored = Vec::with_capacity(life.len());
    for (second, command) in (0..).zip(&life) {
        let time = at.plus_ms(second * 1_000);
        let event = decide(&order, command, time);
        order.apply(&event);
        stored.push(encode_event::<Order>(Header { time, tag: order.tag(), request: None }, &event));
    }
    assert_eq!(order.status(), Some(Status::Delivered), "it has arrived");
    (stored, encode_snapshot(at.plus_ms(8_000), &order, &Executed::default()))
}

fn decide<E: Entity<Command: Debug>>(entity: &E, command: &E::Command, at: Timestamp) -> E::Event {
    let decided = entity.decide(command, at).unwrap_or_else(|rejection| panic!("{command:?}: {rejection}"));
    decided.unwrap_or_else(|| panic!("{command:?}: it is already so"))
}
