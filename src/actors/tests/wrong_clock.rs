//! A clock that was ahead for a while and is set right: what happened meanwhile must not spoil what happens later.
//!
//! Depends on the runtime.

use std::time::Duration;

use super::{
    headers::Hands,
    runtime::until,
    saga::in_one_life,
    test_shop::{Provider, TestShop, placement, product_id},
};
use crate::domain::{
    account::{self, PasswordHash, Role},
    entity::Timestamp,
    ids::{AccountId, OrderId, ReceiptId, UserId},
    inventory,
    order::{CaptureMode, Command, Poll, Status},
};

const NOW: Timestamp = Timestamp(1_000_000_000);
const DAY_MS: u64 = 86_400_000;
const CUSTOMER: UserId = UserId(1);
const ACCOUNT: AccountId = AccountId(1);
const ORDER: OrderId = OrderId(1);

/// How far the clock was ahead: less than a minute, during which time stands still; and far more.
const AHEAD_MS: [u64; 3] = [30_000, DAY_MS, 400 * DAY_MS];

/// Orders one unit of product 0, which is all that the cart holds.
async fn place_and_drive(shop: &TestShop) -> Option<Status> {
    let version = shop.entities.carts.read(&CUSTOMER).await.unwrap().view.version;
    let place = Command::Place(placement(CUSTOMER, version, &[(0, 1)], shop.clock.now()));
    shop.insist(&shop.entities.orders, &ORDER, || place.clone()).await.unwrap().unwrap();
    shop.checkout.drive(ORDER, None, Poll::IfNeeded).await;
    shop.status(ORDER).await
}

async fn pay_and_drive(shop: &TestShop, method: &str) -> Option<Status> {
    let request = || Command::RequestPayment { method: method.into(), key: None, capture: CaptureMode::AtOnce };
    shop.insist(&shop.entities.orders, &ORDER, request).await.unwrap().unwrap();
    shop.checkout.drive(ORDER, None, Poll::IfNeeded).await;
    shop.status(ORDER).await
}

fn with_a_clock_that_was_ahead(test: &impl AsyncFn(&TestShop, &Hands, u64)) {
    for ahead_ms in AHEAD_MS {
        let (path, hands) = (tempfile::tempdir().unwrap(), Hands::default());
        in_one_life(async {
            hands.set(NOW.0);
            let shop = TestShop::open(path.path(), &Provider::with_faults(&[]), hands.clock()).await;
            test(&shop, &hands, ahead_ms).await;
            shop.close().await;
        });
    }
}

#[test]
fn a_product_that_changed_while_the_clock_was_ahead_is_sold_when_it_is_right() {
    with_a_clock_that_was_ahead(&async |shop, hands, ahead_ms| {
        shop.stock(0, 10).await.unwrap();
        hands.set(NOW.0 + ahead_ms);
        let receive = || inventory::Command::Receive { receipt: ReceiptId(1), quantity: 5 };
        shop.insist(&shop.entities.inventories, &product_id(0), receive).await.unwrap().unwrap();

        hands.set(NOW.0);
        shop.fill_cart(CUSTOMER, &[(0, 1)]).await.unwrap();
        assert_eq!(place_and_drive(shop).await, Some(Status::AwaitingPayment), "{ahead_ms} ms ahead");
        assert_eq!(pay_and_drive(shop, "tok_success").await, Some(Status::Confirmed));
    });
}

#[test]
fn an_account_that_was_used_while_the_clock_was_ahead_can_log_in_when_it_is_right() {
    with_a_clock_that_was_ahead(&async |shop, hands, ahead_ms| {
        let register = || account::Command::Register {
            user: CUSTOMER,
            role: Role::Admin,
            password_hash: PasswordHash::new("phc"),
            name: None,
            standing: account::Standing::Free,
        };
        hands.set(NOW.0 + ahead_ms);
        shop.insist(&shop.entities.accounts, &ACCOUNT, register).await.unwrap().unwrap();
        hands.set(NOW.0);
        let expires_at = NOW.plus_ms(30 * DAY_MS);
        let start = || account::Command::StartSession { family: 7, expires_at, epoch: 0 };
        let started = shop.insist(&shop.entities.accounts, &ACCOUNT, start).await.unwrap();
        assert!(started.is_ok(), "{ahead_ms} ms ahead: {:?}", started.err());
    });
}

#[test]
fn an_order_that_rests_until_a_moment_of_a_wrong_clock_is_looked_at_when_it_is_right() {
    with_a_clock_that_was_ahead(&async |shop, hands, ahead_ms| {
        shop.stock(0, 10).await.unwrap();
        shop.fill_cart(CUSTOMER, &[(0, 1)]).await.unwrap();
        hands.set(NOW.0 + ahead_ms);
        assert_eq!(place_and_drive(shop).await, Some(Status::AwaitingPayment));
        assert_eq!(pay_and_drive(shop, "tok_processing").await, Some(Status::PaymentPending));
        // The provider has captured it by then; the checkout would ask in a minute.
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        hands.set(NOW.0);
        if ahead_ms <= 60_000 {
            hands.set(NOW.0 + ahead_ms + 60_000);
        }
        until("the payment is asked about", async || shop.status(ORDER).await == Some(Status::Confirmed)).await;
    });
}
