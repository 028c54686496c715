//! The checkout, step by step: rejected, unknown, repeated, cancelled meanwhile, and killed at every single call on the
//! disk. Whatever happens: when everything is at rest, no ended order holds stock, money is captured once for exactly
//! the paid orders, and every unit that a customer put into a cart is in the cart or in an order.
//!
//! Depends on the runtime.

use std::{collections::HashMap, future::Future, path::Path, sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{
    runtime::{seeds, until},
    stories::{Action, STORIES, Story},
    test_shop::{DEADLINE_MS, Gone, Provider, ProviderFault, TestShop, placement},
};
use crate::{
    actors::{checkout::CheckoutMessage, drive::DriveLimits},
    clock::Clock,
    domain::{
        entity::Timestamp,
        ids::{OrderId, RequestKey, UserId},
        order::{CaptureMode, Command, Poll, Status},
    },
};

pub(super) const NOW: Timestamp = Timestamp(1_000_000);

impl Story {
    fn added(&self) -> HashMap<(UserId, u8), u32> {
        let lines = self.carts.iter().flat_map(|(customer, lines)| lines.iter().map(move |line| (*customer, *line)));
        lines.map(|(customer, (product, quantity))| ((customer, product), quantity)).collect()
    }

    fn orders(&self) -> Vec<OrderId> {
        self.ends.iter().map(|(order, _)| OrderId(*order)).collect()
    }

    pub(super) async fn prepare(&self, shop: &TestShop) -> Result<(), Gone> {
        for (product, quantity) in self.stock {
            shop.stock(*product, *quantity).await?;
        }
        for (customer, lines) in self.carts {
            shop.fill_cart(*customer, lines).await?;
        }
        Ok(())
    }

    async fn happen(&self, shop: &TestShop) -> Result<(), Gone> {
        for action in self.actions {
            act(shop, *action).await?;
        }
        Ok(())
    }

    async fn check_end(&self, shop: &TestShop, provider: &Provider, context: &str) {
        for order in self.orders() {
            shop.until_at_rest(order).await;
        }
        for (order, status) in self.ends {
            until("the story has ended as it must", async || shop.status(OrderId(*order)).await == Some(*status)).await;
        }
        println!("{}, {context}", self.name);
        shop.check(provider, &self.orders(), &self.added()).await;
    }
}

pub(super) async fn act(shop: &TestShop, action: Action) -> Result<(), Gone> {
    match action {
        Action::Place(order, customer, lines) => {
            // A cart of this many lines has this version; a repeated action finds the order by its id.
            place(shop, order, customer, lines, lines.len() as u64).await?;
            drive(shop, order).await
        }
        Action::PlaceStale(order, customer, lines) => {
            place(shop, order, customer, lines, 1).await?;
            drive(shop, order).await
        }
        Action::PlaceAndCancel(order, customer, lines) => {
            place(shop, order, customer, lines, lines.len() as u64).await?;
            let cancel = async {
                let _ = shop.insist(&shop.entities.orders, &OrderId(order), || Command::Cancel).await?;
                drive(shop, order).await
            };
            let (driven, cancelled) = tokio::join!(drive(shop, order), cancel);
            driven.and(cancelled)
        }
        Action::PlaceWithTwoDrivers(order, customer, lines) => {
            place(shop, order, customer, lines, lines.len() as u64).await?;
            let other = async {
                shop.checkout.driver().drive(OrderId(order), None, Poll::IfNeeded, None).await;
                Ok(())
            };
            let (driven, other) = tokio::join!(drive(shop, order), other);
            driven.and(other)
        }
        Action::Pay(order, method) => {
            pay(shop, order, method).await?;
            drive(shop, order).await
        }
        Action::PayAndLeave(order, method) => {
            pay(shop, order, method).await?;
            // The client is gone, but its request had started the checkout.
            let checkout = shop.checkout.clone();
            tokio::spawn(async move { checkout.drive(OrderId(order), None, Poll::IfNeeded).await });
            Ok(())
        }
        Action::Cancel(order) => {
            let _ = shop.insist(&shop.entities.orders, &OrderId(order), || Command::Cancel).await?;
            drive(shop, order).await
        }
        Action::DriveTwice(order) => {
            let (one, other) = tokio::join!(drive(shop, order), drive(shop, order));
            one.and(other)
        }
        Action::LetExpire => {
            shop.clock.advance_ms(DEADLINE_MS + 1);
            Ok(())
        }
    }
}

async fn place(
    shop: &TestShop,
    order: u128,
    customer: UserId,
    lines: &[(u8, u32)],
    cart_version: u64,
) -> Result<(), Gone> {
    let placed = placement(customer, cart_version, lines, NOW);
    shop.insist(&shop.entities.orders, &OrderId(order), || Command::Place(Arc::clone(&placed))).await?.unwrap();
    Ok(())
}

async fn pay(shop: &TestShop, order: u128, method: &str) -> Result<(), Gone> {
    let key = method.bytes().fold(0, |key, byte| key * 31 + u128::from(byte));
    let request = || Command::RequestPayment {
        method: method.into(),
        key: Some(RequestKey { key, fingerprint: key }),
        capture: CaptureMode::AtOnce,
    };
    let _ = shop.insist(&shop.entities.orders, &OrderId(order), request).await?;
    Ok(())
}

/// Waits for the checkout, as a request does; not if the disk is broken, because then nothing ends any more.
pub(super) async fn drive(shop: &TestShop, order: u128) -> Result<(), Gone> {
    let driven = shop.checkout.drive(OrderId(order), None, Poll::IfNeeded);
    tokio::pin!(driven);
    until("the order is driven or the disk is broken", async || {
        shop.disk.is_broken() || futures::poll!(driven.as_mut()).is_ready()
    })
    .await;
    if shop.disk.is_broken() { Err(Gone) } else { Ok(()) }
}

/// Runs one life of the shop in a tokio runtime of its own; when this returns, nothing of it is left.
pub(super) fn in_one_life<F: Future>(life: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let output = runtime.block_on(life);
    runtime.shutdown_timeout(Duration::from_secs(60));
    output
}

/// Runs a story whose disk breaks after this many calls. Returns whether it broke before the story had ended.
fn with_a_crash_after(story: &Story, calls: u64) -> bool {
    let path = tempfile::tempdir().unwrap();
    let provider = Provider::with_faults(story.faults);
    let clock = Clock::manual(NOW);
    let crashed = in_one_life(async {
        let shop = TestShop::open(path.path(), &provider, clock.clone()).await;
        story.prepare(&shop).await.unwrap();
        shop.disk.break_down_after(calls);
        story.happen(&shop).await.is_err()
    });
    in_one_life(finish(story, path.path(), &provider, &clock, &format!("a crash after {calls} calls")));
    crashed
}

/// Opens the shop again, and its customers repeat what they did.
async fn finish(story: &Story, path: &Path, provider: &Arc<Provider>, clock: &Clock, context: &str) {
    let shop = TestShop::open(path, provider, clock.clone()).await;
    // The shop resumes open orders by itself, before any customer returns.
    for order in story.orders() {
        shop.until_at_rest(order).await;
    }
    story.happen(&shop).await.unwrap();
    story.check_end(&shop, provider, context).await;
    shop.close().await;
}

/// Runs every story with a crash at the first call on the disk, at the second, and so on until the story ends before
/// the crash.
fn crash_everywhere(stories: &[&str]) {
    for story in STORIES.iter().filter(|story| stories.contains(&story.name)) {
        let (mut calls, mut crashes) = (0, 0);
        while with_a_crash_after(story, calls) {
            crashes += 1;
            calls += 1;
        }
        println!("{}: {crashes} crashes", story.name);
        assert!(crashes >= 5, "{}: the story has more than a few calls", story.name);
    }
}

#[test]
fn a_kill_anywhere_before_the_payment_loses_nothing() {
    crash_everywhere(&["paid"]);
}

#[test]
fn a_kill_anywhere_while_the_provider_does_not_answer_loses_nothing() {
    let lost = "the provider hears nothing, then declines, then captures";
    crash_everywhere(&["the answers of the provider are lost", lost]);
}

#[test]
fn a_kill_anywhere_before_a_rejection_loses_nothing() {
    crash_everywhere(&["one line is not in stock", "the cart has changed"]);
}

#[test]
fn a_kill_anywhere_before_a_cancellation_or_an_expiry_loses_nothing() {
    crash_everywhere(&["cancelled after the reservation", "cancelled meanwhile", "not paid in time"]);
}

#[test]
fn a_kill_anywhere_while_two_customers_want_the_last_unit_loses_nothing() {
    crash_everywhere(&["two customers want the last pieces", "two drivers"]);
}

#[test]
fn every_story_ends_as_expected_without_a_crash() {
    for story in STORIES {
        let (path, provider, clock) =
            (tempfile::tempdir().unwrap(), Provider::with_faults(story.faults), Clock::manual(NOW));
        in_one_life(async {
            let shop = TestShop::open(path.path(), &provider, clock.clone()).await;
            story.prepare(&shop).await.unwrap();
            story.happen(&shop).await.unwrap();
            story.check_end(&shop, &provider, "no crash").await;
            // Running the same story twice changes nothing.
            story.happen(&shop).await.unwrap();
            story.check_end(&shop, &provider, "again").await;
            shop.close().await;
        });
    }
}

#[test]
fn a_payment_in_flight_at_an_abrupt_stop_is_resumed_with_the_same_key_and_charged_once() {
    let path = tempfile::tempdir().unwrap();
    let (provider, clock) = (Provider::with_faults(&[]), Clock::manual(NOW));
    let story = &STORIES[0];
    in_one_life(async {
        let shop = TestShop::open(path.path(), &provider, clock.clone()).await;
        story.prepare(&shop).await.unwrap();
        act(&shop, story.actions[0]).await.unwrap();
        provider.add_fault(ProviderFault::Hangs);
        pay(&shop, 1, "tok_success").await.unwrap();
        let (checkout, order) = (shop.checkout.clone(), OrderId(1));
        tokio::spawn(async move { checkout.drive(order, None, Poll::IfNeeded).await });
        until("the provider has been asked", async || provider.calls().len() == 1).await;
    });
    in_one_life(async {
        let shop = TestShop::open(path.path(), &provider, clock.clone()).await;
        // No customer returns; the shop finds the order by itself.
        until("the order is confirmed", async || shop.status(OrderId(1)).await == Some(Status::Confirmed)).await;
        shop.check(&provider, &story.orders(), &story.added()).await;
        shop.close().await;
    });
    let calls = provider.calls();
    assert!(calls.len() >= 2 && calls.iter().all(|key| *key == calls[0]), "the same key each time: {calls:?}");
}

#[test]
fn a_driver_that_starts_from_an_older_state_reads_the_present_one() {
    let path = tempfile::tempdir().unwrap();
    let (provider, clock) = (Provider::with_faults(&[]), Clock::manual(NOW));
    let (story, order) = (&STORIES[0], OrderId(1));
    in_one_life(async {
        let shop = TestShop::open(path.path(), &provider, clock.clone()).await;
        story.prepare(&shop).await.unwrap();
        act(&shop, story.actions[0]).await.unwrap();
        pay(&shop, 1, "tok_success").await.unwrap();
        drive(&shop, 1).await.unwrap();
        // A notice acts so: it read the order before the cancellation, and its driver runs after it.
        let before = shop.entities.orders.read(&order).await.unwrap().view;
        assert_eq!(before.status(), Some(Status::Confirmed));
        shop.insist(&shop.entities.orders, &order, || Command::Cancel).await.unwrap().unwrap();
        shop.checkout.drive(order, Some(before), Poll::IfNeeded).await;
        assert_eq!(shop.status(order).await, Some(Status::Cancelled));
        shop.close().await;
    });
}

#[test]
fn a_payment_of_which_nothing_is_known_for_almost_a_day_is_given_up() {
    for (fault, end) in [(ProviderFault::RequestLost, Status::Expired), (ProviderFault::AnswerLost, Status::Confirmed)]
    {
        let path = tempfile::tempdir().unwrap();
        let (provider, clock) = (Provider::with_faults(&[]), Clock::manual(NOW));
        let (story, order) = (&STORIES[0], OrderId(1));
        in_one_life(async {
            // Each failure ends the drive.
            let limits = DriveLimits { back_off_ms_min: 1_000, ..DriveLimits::default() };
            let shop = TestShop::open_with(path.path(), &provider, clock.clone(), limits).await;
            story.prepare(&shop).await.unwrap();
            act(&shop, story.actions[0]).await.unwrap();
            provider.add_fault(fault);
            pay(&shop, 1, "tok_success").await.unwrap();
            drive(&shop, 1).await.unwrap();
            assert_eq!(shop.status(order).await, Some(Status::PaymentPending));
            clock.advance_ms(limits.repeat_ms_max);
            until("it has ended", async || shop.status(order).await == Some(end)).await;
            shop.check(&provider, &story.orders(), &story.added()).await;
            shop.close().await;
        });
    }
}

#[test]
fn a_checkout_that_closes_begins_no_order_and_the_next_start_resumes_it() {
    let path = tempfile::tempdir().unwrap();
    let (provider, clock) = (Provider::with_faults(&[]), Clock::manual(NOW));
    in_one_life(async {
        let shop = TestShop::open(path.path(), &provider, clock.clone()).await;
        shop.stock(0, 5).await.unwrap();
        for order in 1..=2 {
            let (customer, lines) = (UserId(order), &[(0, 1)]);
            shop.fill_cart(customer, lines).await.unwrap();
            place(&shop, order, customer, lines, 1).await.unwrap();
            drive(&shop, order).await.unwrap();
            pay(&shop, order, "tok_success").await.unwrap();
        }
        provider.add_fault(ProviderFault::Hangs);
        let actor = shop.checkout.running().unwrap();
        let send = |order| {
            let (done, rested) = oneshot::channel();
            let (order, poll) = (OrderId(order), Poll::IfNeeded);
            let message = CheckoutMessage::Drive { order, known: None, poll, done: Some(done) };
            actor.send_message(message).unwrap();
            rested
        };
        let first = send(1);
        until("the provider has been asked", async || provider.calls().len() == 1).await;
        let again = send(1);
        let (done, closed) = oneshot::channel();
        actor.send_message(CheckoutMessage::Close(done)).unwrap();
        assert!(send(2).await.is_err(), "nobody drives it");
        assert!(first.await.is_ok() && again.await.is_err() && closed.await.is_ok());
        assert!(provider.calls().iter().all(|key| key.order == OrderId(1)), "{:?}", provider.calls());
        assert_eq!(shop.status(OrderId(2)).await, Some(Status::PaymentPending));
        shop.close().await;
    });
    in_one_life(async {
        let shop = TestShop::open(path.path(), &provider, clock.clone()).await;
        until("it is confirmed", async || shop.status(OrderId(2)).await == Some(Status::Confirmed)).await;
        shop.close().await;
    });
}

#[test]
fn a_checkout_that_fails_resumes_every_open_order() {
    let path = tempfile::tempdir().unwrap();
    let (provider, clock) = (Provider::with_faults(&[]), Clock::manual(NOW));
    in_one_life(async {
        let shop = TestShop::open(path.path(), &provider, clock.clone()).await;
        shop.stock(0, 100).await.unwrap();
        // Orders whose customers left before the checkout was asked to drive them.
        for order in 1..=20_u128 {
            let (customer, lines) = (UserId(order), &[(0, 1)]);
            shop.fill_cart(customer, lines).await.unwrap();
            let placed = placement(customer, 1, lines, NOW);
            shop.insist(&shop.entities.orders, &OrderId(order), || Command::Place(Arc::clone(&placed)))
                .await
                .unwrap()
                .unwrap();
        }
        shop.kill_checkout();
        for order in 1..=20 {
            until("it awaits its payment", async || shop.status(OrderId(order)).await == Some(Status::AwaitingPayment))
                .await;
        }
        // The restarted checkout expires them at their deadline.
        clock.advance_ms(DEADLINE_MS);
        for order in 1..=20 {
            until("it has expired", async || shop.status(OrderId(order)).await == Some(Status::Expired)).await;
        }
        let orders: Vec<_> = (1..=20).map(OrderId).collect();
        let added = (1..=20).map(|customer| ((UserId(customer), 0), 1)).collect();
        shop.check(&provider, &orders, &added).await;
        shop.close().await;
    });
}

async fn customer(
    shop: &TestShop,
    order: u128,
    lines: &'static [(u8, u32)],
    mut random: fastrand::Rng,
) -> Result<(), Gone> {
    shop.fill_cart(UserId(order), lines).await?;
    act(shop, Action::Place(order, UserId(order), lines)).await?;
    let actions = [
        Action::DriveTwice(order),
        Action::Pay(order, "tok_decline"),
        Action::Pay(order, "tok_success"),
        Action::PayAndLeave(order, "tok_success"),
        Action::Cancel(order),
    ];
    for _ in 0..random.u8(0..4) {
        act(shop, *random.choice(actions.iter()).unwrap()).await?;
    }
    Ok(())
}

/// Kills actors, makes checkpoints, and adds faults of the provider.
async fn disturb(shop: &TestShop, provider: &Provider, mut random: fastrand::Rng) {
    for _ in 0..random.u8(2..10) {
        match random.u8(0..6) {
            0 => shop.kill_checkout(),
            1 => shop.kill_owner(random.u8(0..3)),
            2 => provider.add_fault(ProviderFault::AnswerLost),
            3 => provider.add_fault(ProviderFault::RequestLost),
            4 => provider.add_fault(ProviderFault::Hangs),
            _ => {
                shop.journal.checkpoint().await.unwrap();
            }
        }
        let pause = Duration::from_millis(random.u64(0..20));
        tokio::time::timeout(pause, std::future::pending::<()>()).await.unwrap_err();
    }
}

/// Many orders at once, while owners and the checkout are killed, the provider fails at random, customers cancel and
/// repeat, and the whole shop is dropped.
async fn storm(path: &Path, provider: &Arc<Provider>, clock: &Clock, random: &mut fastrand::Rng, last: bool) {
    const CUSTOMERS: u128 = 12;
    let shop = TestShop::open(path, provider, clock.clone()).await;
    let all: Vec<_> = (1..=CUSTOMERS).map(OrderId).collect();
    let lines: &'static [(u8, u32)] = &[(0, 1), (1, 2), (2, 1)];
    for product in 0..3 {
        shop.stock(product, 14).await.unwrap();
    }
    let customers = (1..=CUSTOMERS).map(|order| customer(&shop, order, lines, random.fork()));
    let customers = futures::future::join_all(customers.collect::<Vec<_>>());
    let disturbed = disturb(&shop, provider, random.fork());
    if !last {
        // Dropped in the middle of everything.
        tokio::select! {
            _ = customers => {}
            () = disturbed => {}
        }
        return;
    }
    for customer in tokio::join!(customers, disturbed).0 {
        customer.unwrap();
    }
    for order in &all {
        shop.until_at_rest(*order).await;
    }
    if random.bool() {
        clock.advance_ms(DEADLINE_MS);
        for order in &all {
            until("everything is at rest", async || {
                let status = shop.status(*order).await.unwrap();
                status.is_final() || status == Status::Confirmed
            })
            .await;
        }
    }
    let added = (1..=CUSTOMERS).flat_map(|customer| lines.iter().map(move |line| ((UserId(customer), line.0), line.1)));
    shop.check(provider, &all, &added.collect()).await;
    shop.close().await;
}

#[test]
fn money_and_stock_balance_after_any_storm() {
    for seed in seeds(12) {
        println!("storm {seed}");
        let path = tempfile::tempdir().unwrap();
        let (provider, clock) = (Provider::with_faults(&[]), Clock::manual(NOW));
        let mut random = fastrand::Rng::with_seed(seed);
        for life in 0..3 {
            in_one_life(storm(path.path(), &provider, &clock, &mut random, life == 2));
        }
    }
}
