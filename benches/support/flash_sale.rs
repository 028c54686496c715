//! The flash sale, the same for every engine: reserve one unit of one product for an order.
//!
//! A reservation is durable before it is answered; a repeat for the same order changes nothing; no more units are sold
//! than exist. Each caller waits for its answer before the next request, on a connection of its own.
//!
//! Depends on `support`.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::Latencies;

/// The units of a measured product: more than any run sells.
const PLENTY: u64 = 1_000_000_000;
/// The units of the product that is sold out, to check that exactly that many are sold.
const SCARCE: u64 = 100;
/// The number of callers, and of orders of each: three for every two units.
const SCARCE_CALLERS: u64 = 15;
const SCARCE_ORDERS: u64 = 10;

/// An engine that keeps stock.
pub(crate) trait Engine {
    /// A caller's own connection.
    type Caller: Caller;
    /// The name in the table, with the durability.
    fn name(&self) -> String;
    /// How many reservations one product can take, if that is limited; then a run continues with another product.
    fn product_reservations_max(&self) -> Option<u64> {
        None
    }
    /// Creates a product.
    fn open(&self, product: &str, units: u64) -> impl Future<Output = ()>;
    /// Connects caller number `number`, counted from 0.
    fn caller(&self, number: usize) -> impl Future<Output = Self::Caller>;
    /// The units of the product that are left, and the units reserved for orders if the engine counts them.
    fn counts(&self, product: &str) -> impl Future<Output = (u64, Option<u64>)>;
}

/// A connection that reserves.
pub(crate) trait Caller: Send + 'static {
    /// Reserves one unit for the order, durably.
    fn reserve(&mut self, product: &str, order: u64) -> impl Future<Output = Answer> + Send;
}

/// The answer of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// One unit is reserved for the order, by this request or an earlier one.
    Reserved,
    /// No unit is left.
    SoldOut,
}

/// The result of a measurement.
pub(crate) struct Row {
    /// The engine, with its durability.
    pub(crate) name: String,
    /// The number of concurrent callers.
    pub(crate) callers: usize,
    /// Durable reservations per second.
    pub(crate) per_second: f64,
    /// How long each took.
    pub(crate) latencies: Latencies,
}

/// Lets the callers reserve one unit after another until the time is over, and checks the sums. Each turn has its own
/// products.
pub(crate) async fn measure<E: Engine>(engine: &E, callers: usize, turn: usize) -> Row {
    let mut latencies = Latencies::default();
    let (mut left, mut took) = (Duration::from_secs_f64(super::seconds()), Duration::ZERO);
    let products_max = engine.product_reservations_max();
    for round in 0.. {
        if left.is_zero() {
            break;
        }
        let product: Arc<str> = format!("hot-{turn}-{callers}-{round}").into();
        engine.open(&product, PLENTY).await;
        let mut connected = Vec::new();
        for number in 0..callers {
            connected.push(engine.caller(number).await);
        }
        let places = Arc::new(AtomicU64::new(products_max.unwrap_or(u64::MAX)));
        let began = Instant::now();
        let until = began + left;
        let tasks: Vec<_> = (0..)
            .zip(connected)
            .map(|(number, caller)| {
                tokio::spawn(reserve_until(caller, Arc::clone(&product), number, until, Arc::clone(&places)))
            })
            .collect();
        let mut of_this_product = Latencies::default();
        for task in tasks {
            of_this_product.add(&task.await.expect("a caller ends"));
        }
        took += began.elapsed();
        left = left.saturating_sub(began.elapsed());
        let (units, kept) = engine.counts(&product).await;
        assert_eq!(units, PLENTY - of_this_product.count(), "{}: what was acknowledged is gone", engine.name());
        assert_eq!(kept.unwrap_or(of_this_product.count()), of_this_product.count(), "{}: and kept", engine.name());
        latencies.add(&of_this_product);
    }
    let per_second = latencies.count() as f64 / took.as_secs_f64();
    Row { name: engine.name(), callers, per_second, latencies }
}

async fn reserve_until(
    mut caller: impl Caller,
    product: Arc<str>,
    number: u64,
    until: Instant,
    places: Arc<AtomicU64>,
) -> Latencies {
    let mut latencies = Latencies::default();
    for order in 0.. {
        let began = Instant::now();
        let place = || places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |places| places.checked_sub(1));
        if began >= until || place().is_err() {
            break;
        }
        assert_eq!(caller.reserve(&product, number << 32 | order).await, Answer::Reserved, "there is enough");
        latencies.record(began);
    }
    latencies
}

/// More orders than units, each requested twice: exactly the units are sold, so repeats take none.
pub(crate) async fn sells_exactly<E: Engine>(engine: &E) {
    let product: Arc<str> = "scarce".into();
    engine.open(&product, SCARCE).await;
    let mut tasks = Vec::new();
    for number in 0..SCARCE_CALLERS {
        let (mut caller, product) =
            (engine.caller(usize::try_from(number).unwrap_or_default()).await, Arc::clone(&product));
        tasks.push(tokio::spawn(async move {
            let mut sold = 0;
            for order in 0..SCARCE_ORDERS {
                let order = number << 32 | order;
                let first = caller.reserve(&product, order).await;
                let again = caller.reserve(&product, order).await;
                assert_eq!(first, again, "a repeat is answered like the first request");
                sold += u64::from(first == Answer::Reserved);
            }
            sold
        }));
    }
    let mut sold = 0;
    for task in tasks {
        sold += task.await.expect("a caller ends");
    }
    let (left, kept) = engine.counts(&product).await;
    assert_eq!((sold, left, kept.unwrap_or(SCARCE)), (SCARCE, 0, SCARCE), "{}: sold, left, kept", engine.name());
}
