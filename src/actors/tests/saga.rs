//! The checkout, step by step: refused, unknown, repeated, cancelled meanwhile, and killed at every single call on the disk.
//! Whatever happens, when everything is at rest no ended order holds stock, money is captured for exactly the paid orders,
//! once, and every unit that a customer put into a cart is in the cart or in an order.
//!
//! Depends on the runtime.

use std::{collections::HashMap, future::Future, path::Path, sync::Arc, time::Duration};

use super::{
    runtime::{seeds, until},
    stories::{Action, STORIES, Story},
    test_shop::{DEADLINE_MS, Gone, Mood, Provider, TestShop, placement},
};
use crate::{
    actors::drive::DriveLimits,
    clock::Clock,
    domain::{
        entity::Timestamp,
        ids::{OrderId, RequestKey, UserId},
        order::{CaptureMode, Command, IssueKind, Poll, Status},
    },
};

const NOW: Timestamp = Timestamp(1_000_000);

impl Story {
    fn added(&self) -> HashMap<(UserId, u8), u32> {
        let lines = self.carts.iter().flat_map(|(customer, lines)| lines.iter().map(move |line| (*customer, *line)));
        lines.map(|(customer, (product, quantity))| ((customer, product), quantity)).collect()
    }

    fn orders(&self) -> Vec<OrderId> {
        self.ends.iter().map(|(order, _)| OrderId(*order)).collect()
    }

    async fn prepare(&self, shop: &TestShop) -> Result<(), Gone> {
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

async fn act(shop: &TestShop, action: Action) -> Result<(), Gone> {
    match action {
        Action::Place(order, customer, lines) => {
            // A cart of so many lines was changed so often; placed again, the order is found by its id.
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
            // Whoever waited is gone, but the request had told the checkout.
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

/// Waits for the checkout, as a request does; without it where the disk has broken, as then nothing ends any more.
async fn drive(shop: &TestShop, order: u128) -> Result<(), Gone> {
    let driven = shop.checkout.drive(OrderId(order), None, Poll::IfNeeded);
    tokio::pin!(driven);
    until("the order is driven or the disk is broken", async || {
        shop.disk.is_broken() || futures::poll!(driven.as_mut()).is_ready()
    })
    .await;
    if shop.disk.is_broken() { Err(Gone) } else { Ok(()) }
}

/// Runs one life of the shop in a runtime of its own; when this returns, nothing of it is left.
pub(super) fn in_one_life<F: Future>(life: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let output = runtime.block_on(life);
    runtime.shutdown_timeout(Duration::from_secs(60));
    output
}

/// A story whose disk breaks down after so many calls. Whether it broke before the story had ended.
fn with_a_crash_after(story: &Story, calls: u64) -> bool {
    let path = tempfile::tempdir().unwrap();
    let provider = Provider::with_moods(story.moods);
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

/// The shop opens again; its customers repeat what they did.
async fn finish(story: &Story, path: &Path, provider: &Arc<Provider>, clock: &Clock, context: &str) {
    let shop = TestShop::open(path, provider, clock.clone()).await;
    // What was under way is resumed by itself, before any customer comes back.
    for order in story.orders() {
        shop.until_at_rest(order).await;
    }
    story.happen(&shop).await.unwrap();
    story.check_end(&shop, provider, context).await;
    shop.close().await;
}

/// Every story, with a crash at the first call on the disk, at the second, and so on until the story ends before the crash.
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
fn killed_anywhere_on_the_way_to_the_payment() {
    crash_everywhere(&["paid"]);
}

#[test]
fn killed_anywhere_while_the_provider_does_not_answer() {
    let lost = "the provider hears nothing, then declines, then captures";
    crash_everywhere(&["the answers of the provider are lost", lost]);
}

#[test]
fn killed_anywhere_on_the_way_to_a_rejection() {
    crash_everywhere(&["one line is not in stock", "the cart has changed"]);
}

#[test]
fn killed_anywhere_on_the_way_to_a_cancellation_or_an_expiry() {
    crash_everywhere(&["cancelled after the reservation", "cancelled meanwhile", "not paid in time"]);
}

#[test]
fn killed_anywhere_while_two_want_the_last_piece() {
    crash_everywhere(&["two customers want the last pieces", "two drivers"]);
}

#[test]
fn the_stories_end_as_they_must_without_any_crash() {
    for story in STORIES {
        let (path, provider, clock) =
            (tempfile::tempdir().unwrap(), Provider::with_moods(story.moods), Clock::manual(NOW));
        in_one_life(async {
            let shop = TestShop::open(path.path(), &provider, clock.clone()).await;
            story.prepare(&shop).await.unwrap();
            story.happen(&shop).await.unwrap();
            story.check_end(&shop, &provider, "no crash").await;
            // Twice the same story changes nothing.
            story.happen(&shop).await.unwrap();
            story.check_end(&shop, &provider, "again").await;
            shop.close().await;
        });
    }
}

#[test]
fn a_payment_in_flight_at_an_abrupt_stop_is_resumed_with_the_same_key_and_charged_once() {
    let path = tempfile::tempdir().unwrap();
    let (provider, clock) = (Provider::with_moods(&[]), Clock::manual(NOW));
    let story = &STORIES[0];
    in_one_life(async {
        let shop = TestShop::open(path.path(), &provider, clock.clone()).await;
        story.prepare(&shop).await.unwrap();
        act(&shop, story.actions[0]).await.unwrap();
        provider.add_mood(Mood::Hangs);
        pay(&shop, 1, "tok_success").await.unwrap();
        let (checkout, order) = (shop.checkout.clone(), OrderId(1));
        tokio::spawn(async move { checkout.drive(order, None, Poll::IfNeeded).await });
        until("the provider has been asked", async || provider.calls().len() == 1).await;
    });
    in_one_life(async {
        let shop = TestShop::open(path.path(), &provider, clock.clone()).await;
        // Nobody comes back; the shop finds the order by itself.
        until("the order is confirmed", async || shop.status(OrderId(1)).await == Some(Status::Confirmed)).await;
        shop.check(&provider, &story.orders(), &story.added()).await;
        shop.close().await;
    });
    let calls = provider.calls();
    assert!(calls.len() >= 2 && calls.iter().all(|key| *key == calls[0]), "the same key each time: {calls:?}");
}

#[test]
fn a_driver_that_is_told_of_an_older_order_drives_it_as_it_is() {
    let path = tempfile::tempdir().unwrap();
    let (provider, clock) = (Provider::with_moods(&[]), Clock::manual(NOW));
    let (story, order) = (&STORIES[0], OrderId(1));
    in_one_life(async {
        let shop = TestShop::open(path.path(), &provider, clock.clone()).await;
        story.prepare(&shop).await.unwrap();
        act(&shop, story.actions[0]).await.unwrap();
        pay(&shop, 1, "tok_success").await.unwrap();
        drive(&shop, 1).await.unwrap();
        // As a notice does: it was heard before the cancellation, and its driver comes after it.
        let before = shop.entities.orders.read(&order).await.unwrap().view;
        assert_eq!(before.status(), Some(Status::Confirmed));
        shop.insist(&shop.entities.orders, &order, || Command::Cancel).await.unwrap().unwrap();
        shop.checkout.drive(order, Some(before), Poll::IfNeeded).await;
        assert_eq!(shop.status(order).await, Some(Status::Cancelled));
        shop.close().await;
    });
}

#[test]
fn what_cannot_be_voided_for_long_is_raised_also_where_it_is_tried_now_and_then_only() {
    let path = tempfile::tempdir().unwrap();
    let (provider, clock) = (Provider::with_moods(&[]), Clock::manual(NOW));
    let (story, order) = (&STORIES[0], OrderId(1));
    in_one_life(async {
        // Each trouble ends the drive.
        let limits = DriveLimits { back_off_ms_min: 1_000, ..DriveLimits::default() };
        let shop = TestShop::open_with(path.path(), &provider, clock.clone(), limits).await;
        story.prepare(&shop).await.unwrap();
        act(&shop, story.actions[0]).await.unwrap();
        let (method, capture) = ("tok_success".to_owned(), CaptureMode::Later);
        let request = || Command::RequestPayment { method: method.clone(), key: None, capture };
        shop.insist(&shop.entities.orders, &order, request).await.unwrap().unwrap();
        drive(&shop, 1).await.unwrap();
        assert_eq!(shop.status(order).await, Some(Status::Authorised));
        provider.add_mood(Mood::HearsNothing);
        shop.insist(&shop.entities.orders, &order, || Command::Cancel).await.unwrap().unwrap();
        drive(&shop, 1).await.unwrap();
        let problems = async || {
            let read = shop.entities.orders.read(&order).await.unwrap().view;
            read.open_issue_kinds().map(IssueKind::as_str).collect::<Vec<_>>()
        };
        assert_eq!((shop.status(order).await, problems().await), (Some(Status::Cancelling), vec![]));
        // Longer than until an operator is told, and long before the next drive is.
        provider.add_mood(Mood::HearsNothing);
        clock.advance_ms(limits.attention_ms);
        until("an operator is told", async || problems().await == ["payment_unknown"]).await;
        clock.advance_ms(limits.back_off_ms_max);
        until("the payment is voided", async || shop.status(order).await == Some(Status::Cancelled)).await;
        until("the issue has resolved itself", async || problems().await.is_empty()).await;
        shop.close().await;
    });
}

#[test]
fn a_checkout_that_fails_resumes_every_open_order() {
    let path = tempfile::tempdir().unwrap();
    let (provider, clock) = (Provider::with_moods(&[]), Clock::manual(NOW));
    in_one_life(async {
        let shop = TestShop::open(path.path(), &provider, clock.clone()).await;
        shop.stock(0, 100).await.unwrap();
        // Orders that nobody has asked the checkout for: their customers went away too early.
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
        // The deadline is kept by the checkout that took over.
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

/// Kills, checkpoints, and spoils the provider's mood.
async fn disturb(shop: &TestShop, provider: &Provider, mut random: fastrand::Rng) {
    for _ in 0..random.u8(2..10) {
        match random.u8(0..6) {
            0 => shop.kill_checkout(),
            1 => shop.kill_owner(random.u8(0..3)),
            2 => provider.add_mood(Mood::LosesAnswer),
            3 => provider.add_mood(Mood::HearsNothing),
            4 => provider.add_mood(Mood::Hangs),
            _ => {
                shop.journal.checkpoint().await.unwrap();
            }
        }
        let pause = Duration::from_millis(random.u64(0..20));
        tokio::time::timeout(pause, std::future::pending::<()>()).await.unwrap_err();
    }
}

/// Many orders at once while owners and the checkout are killed, the provider is moody, customers cancel and repeat, and the
/// whole shop is dropped.
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
fn the_books_balance_after_any_storm() {
    for seed in seeds(12) {
        println!("storm {seed}");
        let path = tempfile::tempdir().unwrap();
        let (provider, clock) = (Provider::with_moods(&[]), Clock::manual(NOW));
        let mut random = fastrand::Rng::with_seed(seed);
        for life in 0..3 {
            in_one_life(storm(path.path(), &provider, &clock, &mut random, life == 2));
        }
    }
}
