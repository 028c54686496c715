//! Question: how many durable reservations a second does one hot product take, in process?
//! Prediction: ≥ 200,000/s from 1,024 callers (a bare prototype of one actor and one log did 852,000), ≥ 50,000/s from 64,
//! and from one caller what the disk syncs (some thousands).
#![allow(clippy::print_stdout, missing_docs, reason = "a bench prints")]

mod support;

use std::{sync::Arc, time::Instant};

use souk::{
    actors::directory::{Directory, DirectoryLimits},
    clock::Clock,
    domain::{
        entity::Timestamp,
        ids::{OrderId, ProductId},
        inventory::{Command, Hold, Inventory},
    },
    storage::{Journal, JournalConfig},
};
use support::Latencies;

#[tokio::main]
async fn main() {
    support::ask(
        "how many durable reservations a second does one product take, in process?",
        ">= 200,000/s from 1,024 callers; >= 50,000/s from 64; what the disk syncs from 1",
    );
    for callers in [1, 64, 1_024] {
        measure(callers).await;
    }
}

async fn measure(callers: u128) {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory can be made");
    let journal = Journal::open(JournalConfig::new(data.path())).expect("the journal opens");
    let limits = DirectoryLimits::default();
    let inventories: Directory<Inventory> = Directory::new(journal.clone(), Clock::system(), limits);
    let root = souk::actors::root::Root::start(vec![souk::actors::root::Child::owner("inventories", &inventories)]);
    let root = root.await.expect("the actors start");
    let product: Arc<ProductId> = Arc::new("hot".parse().expect("a legal id"));
    inventories.ask(&product, Command::Open { quantity: 1_000_000_000 }).await.expect("stock is set");
    let deadline = Clock::system().now().plus_ms(900_000);
    let (began, until) = (Instant::now(), support::deadline());
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (inventories, product) = (inventories.clone(), Arc::clone(&product));
            tokio::spawn(async move { reserve(&inventories, &product, caller, deadline, until).await })
        })
        .collect();
    let mut latencies = Latencies::default();
    for task in tasks {
        latencies.add(&task.await.expect("the caller ends"));
    }
    let seconds = began.elapsed().as_secs_f64();
    let view = inventories.read(&product).await.expect("it can be read").view;
    assert_eq!(view.reserved_quantity, latencies.count(), "every acknowledged reservation is there, and no other");
    let rate = latencies.count() as f64 / seconds;
    let figures = journal.figures();
    println!(
        "Result:     {callers:>5} callers: {rate:>9.0}/s   {}   {:.0} records a sync",
        latencies.show(),
        figures.records as f64 / figures.batches as f64
    );
    root.expect_ends().await;
    inventories.close().await;
    root.stop().await;
    journal.close().await.expect("the journal closes");
}

async fn reserve(
    inventories: &Directory<Inventory>,
    product: &ProductId,
    caller: u128,
    deadline: Timestamp,
    until: Instant,
) -> Latencies {
    let mut latencies = Latencies::default();
    for number in 0.. {
        let began = Instant::now();
        if began >= until {
            break;
        }
        let hold = Hold { order: OrderId(caller << 64 | number), round: 0 };
        let answer = inventories.ask(product, Command::Reserve { hold, quantity: 1, deadline }).await;
        answer.expect("there is enough");
        latencies.record(began);
    }
    latencies
}
