//! Work over several streams: wherever the process is killed, the next start finishes it; and no state and no list
//! contains anything of an erased customer.
//!
//! Depends on the runtime.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use super::{
    runtime::until,
    saga::in_one_life,
    test_shop::{Gone, Provider, TestShop, placement, product_id},
};
use crate::{
    actors::{erasure::Finished, rating_counter::RatingCounter},
    clock::Clock,
    domain::{
        account::{self, PasswordHash, Role},
        entity::Timestamp,
        ids::{AccountId, OrderId, UserId},
        order::{self, CaptureMode, EndReason, Placement, Poll, Status, Tracking},
        ratings,
        review::{self, Content, Purchase, ReviewId},
    },
    storage::tests::{copy_dir, stored_now},
};

const NOW: Timestamp = Timestamp(1_000_000);
const ACCOUNT: AccountId = AccountId(11);
const CUSTOMER: UserId = UserId(1);
const OTHER: UserId = UserId(2);
const DELIVERED: OrderId = OrderId(1);
const LATER: OrderId = OrderId(2);
/// A text that only this customer's data contains.
const CANARY: &str = "Zyxwvut";

fn text() -> String {
    format!("{CANARY} says so")
}

fn review_of(customer: UserId) -> ReviewId {
    ReviewId { product: product_id(0), customer }
}

fn content(customer: UserId, rating: u8, text: &str) -> Content {
    let (title, text, purchase) = (text.to_owned(), text.to_owned(), Purchase::Verified);
    Content { customer, rating, title, text, purchase }
}

/// An order of one unit by the customer of the canary.
fn order(cart_version: u64) -> Arc<Placement> {
    let mut placement = placement(CUSTOMER, cart_version, &[(0, 1)], NOW).as_ref().clone();
    placement.address.name = text();
    placement.address.phone = Some(text());
    Arc::new(placement)
}

async fn tell_order(shop: &TestShop, id: OrderId, command: order::Command) -> Result<(), Gone> {
    shop.insist(&shop.entities.orders, &id, || command.clone()).await?.unwrap();
    Ok(())
}

async fn write_review(shop: &TestShop, content: Content) -> Result<(), Gone> {
    let id = review_of(content.customer);
    shop.insist(&shop.entities.reviews, &id, || review::Command::Write(content.clone())).await?.unwrap();
    Ok(())
}

async fn rate(shop: &TestShop, customer: UserId, rating: u8) -> Result<(), Gone> {
    let rate = || ratings::Command::Rate { customer, rating, version: 1 };
    shop.insist(&shop.entities.ratings, &product_id(0), rate).await?.unwrap();
    Ok(())
}

/// A customer with an account, a delivered order, something in the cart, and a review beside one of somebody else.
async fn prepare(shop: &TestShop) -> Result<(), Gone> {
    let register = || account::Command::Register {
        user: CUSTOMER,
        role: Role::Customer,
        password_hash: PasswordHash::new(&text()),
        name: Some(text().into()),
        standing: account::Standing::Free,
    };
    shop.insist(&shop.entities.accounts, &ACCOUNT, register).await?.unwrap();
    shop.stock(0, 100).await?;
    shop.fill_cart(CUSTOMER, &[(0, 5)]).await?;
    tell_order(shop, DELIVERED, order::Command::Place(order(1))).await?;
    shop.checkout.drive(DELIVERED, None, Poll::IfNeeded).await;
    let request = order::Command::RequestPayment { method: text(), key: None, capture: CaptureMode::AtOnce };
    tell_order(shop, DELIVERED, request).await?;
    shop.checkout.drive(DELIVERED, None, Poll::IfNeeded).await;
    let tracking = Tracking { carrier: "Post".into(), number: text() };
    tell_order(shop, DELIVERED, order::Command::Ship(tracking)).await?;
    tell_order(shop, DELIVERED, order::Command::Deliver).await?;
    write_review(shop, content(CUSTOMER, 5, &text())).await?;
    rate(shop, CUSTOMER, 5).await?;
    write_review(shop, content(OTHER, 2, "Others write, too")).await?;
    rate(shop, OTHER, 2).await
}

async fn begin(shop: &TestShop) -> Result<(), Gone> {
    shop.insist(&shop.entities.accounts, &ACCOUNT, || account::Command::BeginErasure { by: CUSTOMER }).await?.unwrap();
    Ok(())
}

/// Waits for the erasure, as a request does; gives up if the disk is broken, because then nothing is ever finished.
async fn go_on(shop: &TestShop) -> Result<Finished, Gone> {
    let erasing = shop.erasure.finish(ACCOUNT);
    tokio::pin!(erasing);
    let mut finished = None;
    until("the pass is made or the disk is broken", async || {
        if let std::task::Poll::Ready(answer) = futures::poll!(erasing.as_mut()) {
            finished = Some(answer);
        }
        shop.disk.is_broken() || finished.is_some()
    })
    .await;
    if shop.disk.is_broken() { Err(Gone) } else { finished.ok_or(Gone) }
}

/// The keys of the state whose values contain the canary, read as they are stored: a load would hide records behind a
/// snapshot. The log itself is not searched: its events are removed with its segments.
pub(super) async fn where_the_canary_is(shop: &TestShop) -> BTreeSet<String> {
    shop.lists_have_all().await;
    shop.journal.checkpoint().await.unwrap();
    let state = shop.path.join("state");
    let stored = tokio::task::spawn_blocking(move || stored_now(&state)).await.unwrap();
    let holds = |bytes: &[u8]| bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
    let found = stored.into_iter().filter(|(key, value)| holds(key) || holds(value));
    found.map(|(key, _)| key.escape_ascii().to_string()).collect()
}

/// Checks that nothing is left of the customer but what accounting needs.
async fn check_erased(shop: &TestShop) {
    until("the erasure is finished", async || {
        let former = shop.entities.accounts.read(&ACCOUNT).await.unwrap().view.former;
        former.is_some_and(|former| former.under_way.is_none())
    })
    .await;
    // When the lists have caught up, the states are stored, too, whatever a crash has lost.
    shop.check_lists().await;
    assert_eq!(where_the_canary_is(shop).await, BTreeSet::new());
    let order = shop.entities.orders.read(&DELIVERED).await.unwrap().view;
    assert_eq!(order.status(), Some(Status::Delivered));
    assert!(order.placement().unwrap().address.is_erased() && order.tracking().is_none());
    assert_eq!(order.placement().unwrap().lines.len(), 1);
    assert!(shop.lists.erasures(None, 1).unwrap().items.is_empty());
    let ratings = shop.entities.ratings.read(&product_id(0)).await.unwrap().view;
    assert_eq!((ratings.count, ratings.stars), (1, 2), "the other review counts alone");
    assert_eq!(shop.lists.reviews(&product_id(0), None, 10).unwrap().items.len(), 1);
    assert!(shop.entities.carts.read(&CUSTOMER).await.unwrap().view.lines.is_empty());
}

async fn open(path: &Path) -> TestShop {
    TestShop::open(path, &Provider::with_faults(&[]), Clock::manual(NOW)).await
}

/// Whether the disk broke, after this many calls, before all was erased.
fn with_a_crash_after(calls: u64) -> bool {
    let (path, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let crashed = in_one_life(async {
        let shop = open(path.path()).await;
        prepare(&shop).await.unwrap();
        assert!(where_the_canary_is(&shop).await.len() >= 4, "account, order, review, list");
        shop.disk.break_down_after(calls);
        let began = begin(&shop).await;
        let crashed = began.is_err() || go_on(&shop).await.is_err();
        // A kill: an end of the runtime would let the state write what it still has in memory.
        copy_dir(path.path(), killed.path());
        crashed
    });
    in_one_life(async {
        let shop = open(killed.path()).await;
        // A begun erasure is finished by the shop; otherwise the customer asks again.
        if shop.entities.accounts.read(&ACCOUNT).await.unwrap().view.holder.is_some() {
            begin(&shop).await.unwrap();
            assert_eq!(go_on(&shop).await.ok(), Some(Finished::Yes));
        }
        check_erased(&shop).await;
        shop.close().await;
    });
    crashed
}

#[test]
fn a_customer_is_erased_wherever_the_shop_was_killed() {
    let mut calls = 0;
    while with_a_crash_after(calls) {
        calls += 1;
    }
    println!("{calls} crashes");
    assert!(calls >= 6, "an erasure has more than a few calls");
}

#[test]
fn a_caller_waits_for_the_erasure_of_its_account_and_of_no_other() {
    let path = tempfile::tempdir().unwrap();
    in_one_life(async {
        let shop = open(path.path()).await;
        prepare(&shop).await.unwrap();
        let (account, password_hash) = (AccountId(12), PasswordHash::new("other"));
        let register = || {
            let (role, password_hash) = (Role::Customer, password_hash.clone());
            let standing = account::Standing::Free;
            account::Command::Register { user: OTHER, role, password_hash, name: None, standing }
        };
        shop.insist(&shop.entities.accounts, &account, register).await.unwrap().unwrap();
        // After this the pass that is made at start is over.
        assert_eq!(go_on(&shop).await, Ok(Finished::Yes), "nothing is open");
        begin(&shop).await.unwrap();
        let other_too = || account::Command::BeginErasure { by: OTHER };
        shop.insist(&shop.entities.accounts, &account, other_too).await.unwrap().unwrap();
        assert_eq!(go_on(&shop).await, Ok(Finished::Yes));
        shop.lists_have_all().await;
        assert_eq!(shop.lists.erasures(None, 10).unwrap().items, [(account, OTHER)]);
        shop.close().await;
    });
}

#[test]
fn an_open_order_delays_an_erasure_until_it_ends() {
    let path = tempfile::tempdir().unwrap();
    in_one_life(async {
        let shop = open(path.path()).await;
        prepare(&shop).await.unwrap();
        // The order is placed after the erasure looked for open orders and before it begins.
        let version = shop.entities.carts.read(&CUSTOMER).await.unwrap().view.version;
        tell_order(&shop, LATER, order::Command::Place(order(version))).await.unwrap();
        shop.checkout.drive(LATER, None, Poll::IfNeeded).await;
        begin(&shop).await.unwrap();
        assert_eq!(go_on(&shop).await.ok(), Some(Finished::No));
        assert!(shop.entities.orders.read(&LATER).await.unwrap().view.status() == Some(Status::AwaitingPayment));
        tell_order(&shop, LATER, order::Command::Cancel).await.unwrap();
        shop.checkout.drive(LATER, None, Poll::IfNeeded).await;
        assert_eq!(go_on(&shop).await.ok(), Some(Finished::Yes));
        check_erased(&shop).await;
        shop.close().await;
    });
}

#[test]
fn an_order_after_the_erasure_is_rejected_and_keeps_no_address() {
    let path = tempfile::tempdir().unwrap();
    in_one_life(async {
        let shop = open(path.path()).await;
        prepare(&shop).await.unwrap();
        let version = shop.entities.carts.read(&CUSTOMER).await.unwrap().view.version;
        begin(&shop).await.unwrap();
        assert_eq!(go_on(&shop).await.ok(), Some(Finished::Yes));
        // Its request had been admitted before the account was erased.
        tell_order(&shop, LATER, order::Command::Place(order(version))).await.unwrap();
        shop.checkout.drive(LATER, None, Poll::IfNeeded).await;
        let late = shop.entities.orders.read(&LATER).await.unwrap().view;
        assert_eq!((late.status(), late.end_reason()), (Some(Status::Rejected), Some(&EndReason::CustomerErased)));
        check_erased(&shop).await;
        shop.close().await;
    });
}

#[test]
fn an_erasure_waits_for_a_review_in_progress_and_erases_it() {
    let path = tempfile::tempdir().unwrap();
    in_one_life(async {
        let shop = open(path.path()).await;
        prepare(&shop).await.unwrap();
        let under_way = shop.erasure.review_under_way().await;
        begin(&shop).await.unwrap();
        let erasing = go_on(&shop);
        tokio::pin!(erasing);
        until("the cart is erased", async || {
            assert!(futures::poll!(erasing.as_mut()).is_pending());
            shop.entities.carts.read(&CUSTOMER).await.unwrap().view.lines.is_empty()
        })
        .await;
        write_review(&shop, content(CUSTOMER, 1, &text())).await.unwrap();
        assert!(futures::poll!(erasing.as_mut()).is_pending());
        drop(under_way);
        assert_eq!(erasing.await.ok(), Some(Finished::Yes));
        check_erased(&shop).await;
        shop.close().await;
    });
}

#[test]
fn a_rating_that_is_being_counted_is_erased_with_its_review() {
    let path = tempfile::tempdir().unwrap();
    in_one_life(async {
        let shop = open(path.path()).await;
        prepare(&shop).await.unwrap();
        shop.close().await;
    });
    in_one_life(async {
        let shop = open(path.path()).await;
        let counter = RatingCounter {
            reviews: shop.entities.reviews.clone(),
            ratings: shop.entities.ratings.clone(),
            lists: shop.lists.clone(),
            progress: shop.lists_progress.clone(),
            erasure: shop.erasure.clone(),
        };
        let id = review_of(CUSTOMER);
        let counting = counter.count(&id);
        tokio::pin!(counting);
        // It reads the review from the disk, where it is not erased yet, and has not sent its rating.
        assert!(futures::poll!(counting.as_mut()).is_pending());
        tokio::time::sleep(Duration::from_millis(50)).await;
        begin(&shop).await.unwrap();
        let erasing = go_on(&shop);
        tokio::pin!(erasing);
        let early = tokio::time::timeout(Duration::from_millis(500), erasing.as_mut()).await;
        assert!(counting.await.is_ok());
        let finished = match early {
            Ok(finished) => finished,
            Err(_) => erasing.await,
        };
        assert_eq!(finished.ok(), Some(Finished::Yes));
        check_erased(&shop).await;
        shop.close().await;
    });
}

#[test]
fn ratings_that_a_crash_left_uncounted_are_counted_at_the_next_start() {
    let path = tempfile::tempdir().unwrap();
    in_one_life(async {
        let shop = open(path.path()).await;
        write_review(&shop, content(CUSTOMER, 5, "Good")).await.unwrap();
        write_review(&shop, content(OTHER, 2, "Bad")).await.unwrap();
        rate(&shop, OTHER, 2).await.unwrap();
    });
    in_one_life(async {
        let shop = open(path.path()).await;
        until("both count", async || {
            let view = shop.entities.ratings.read(&product_id(0)).await.unwrap().view;
            (view.count, view.stars) == (2, 7)
        })
        .await;
        until("nothing is left", async || shop.lists.uncounted_reviews(None, 1).unwrap().items.is_empty()).await;
        shop.close().await;
    });
}
