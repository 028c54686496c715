//! What the shop answers while its disk is slow, and when it breaks: nothing that the next start may not know.
//!
//! Depends on the rooms below.

use std::{path::Path, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use super::*;
use crate::{
    actors::tests::disk::Disk,
    domain::{
        account::{self, Role},
        cart::Line,
        ids::{OrderId, ProductId},
        money::{Currency, Money},
        order::{Address, Status, Tracking},
        product::Details,
    },
    shop::{
        orders::{Advance, CheckoutRequest},
        payments::PaymentResult,
        refunds::RefundAsked,
    },
};

const PRICE_MINOR: u64 = 500;
/// How long an answer is waited for that must not come, in milliseconds: many times what it takes.
const NO_ANSWER: Duration = Duration::from_millis(300);

async fn open(data: &Path, disk: &Arc<Disk>) -> Shop {
    let mut config = Config { data_dir: data.into(), ..Config::default() };
    config.limits.payment_wait_ms_max = 100;
    let files = Some(Arc::clone(disk) as Arc<_>);
    Shop::open_with(config, Parts { files, ..Parts::default() }).await.unwrap()
}

/// A shop with a disk of its own, an admin, and an order of one unit by them that awaits its payment.
struct Stage {
    _data: tempfile::TempDir,
    disk: Arc<Disk>,
    shop: Shop,
    who: Principal,
    order: OrderId,
}

/// Even a failed test must end, and the journal waits for its syncs.
impl Drop for Stage {
    fn drop(&mut self) {
        self.disk.let_go();
    }
}

impl Stage {
    async fn new() -> Self {
        let (data, disk) = (tempfile::tempdir().unwrap(), Disk::new());
        let shop = open(data.path(), &disk).await;
        let password = SecretString::from("correct horse battery");
        shop.ensure_account("asha@example.com", password, Role::Admin).await.unwrap();
        let who = shop.principal("asha@example.com").await.unwrap();
        let product: ProductId = "sundial".parse().unwrap();
        let price = Some(Money::new(PRICE_MINOR, Currency::INR).unwrap());
        let details = Details { title: "Sundial".into(), price, ..Details::default() };
        shop.create_product(&who, &product, details).await.unwrap();
        shop.count_stock(&who, &product, 5).await.unwrap();
        let cart = shop.add_to_cart(&who, vec![Line { product, quantity: 1 }], None).await.unwrap();
        let address = Address {
            name: "Asha".into(),
            line1: "1 Road".into(),
            line2: None,
            city: "Pune".into(),
            region: None,
            postal_code: "411001".into(),
            country: "IN".into(),
            phone: None,
        };
        let total_minor = cart.total.unwrap().minor;
        let request = CheckoutRequest { total_minor, address, ..CheckoutRequest::default() };
        let placed = shop.checkout(&who, &request, None).await.unwrap();
        assert_eq!(placed.outcome.order.status(), Some(Status::AwaitingPayment));
        Self { _data: data, disk, shop, who, order: placed.outcome.id }
    }

    /// Nobody drives orders any more, as while the checkout is being started again.
    async fn without_checkout(self) -> Self {
        self.shop.0.runtime.checkout.close().await;
        self
    }

    /// The answer to a request that begins while the disk is held, and whose disk then breaks or goes on.
    async fn answer_of<T: std::fmt::Debug>(&self, request: impl Future<Output = T>, breaks: bool) -> T {
        self.disk.hold();
        let mut request = std::pin::pin!(request);
        let early = timeout(NO_ANSWER, request.as_mut()).await;
        assert!(early.is_err(), "it is answered before it is durable: {early:?}");
        if breaks {
            self.disk.break_down();
        } else {
            self.disk.let_go();
        }
        request.await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_is_answered_when_it_is_durable_although_nobody_drives_the_order() {
    let stage = Stage::new().await.without_checkout().await;
    let answered = stage.answer_of(stage.shop.cancel_order(&stage.who, stage.order), false).await;
    assert_eq!(answered.unwrap().order.status(), Some(Status::Cancelling));

    let stage = Stage::new().await.without_checkout().await;
    let answered = stage.answer_of(stage.shop.cancel_order(&stage.who, stage.order), true).await;
    assert!(matches!(answered, Err(Error::Unknown)), "{answered:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_is_answered_when_it_is_durable_although_nobody_drives_the_order() {
    for breaks in [false, true] {
        let stage = Stage::new().await;
        let paid = stage.shop.pay(&stage.who, stage.order, "tok_success", None).await.unwrap();
        assert_eq!(paid.outcome.result, PaymentResult::Success);
        let tracking = Tracking { carrier: "Post".into(), number: "1".into() };
        stage.shop.advance_order(&stage.who, stage.order, Advance::Ship(tracking)).await.unwrap();
        let stage = stage.without_checkout().await;
        let asked = RefundAsked { reason: "Broken".into(), ..RefundAsked::default() };
        let refund = stage.shop.refund(&stage.who, stage.order, &asked, None);
        let answered = stage.answer_of(refund, breaks).await;
        match answered {
            Ok(done) => assert!(!breaks && done.outcome.order.refund(1).is_some(), "{done:?}"),
            Err(error) => assert!(breaks && matches!(error, Error::Unknown), "{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_under_way_for_longer_than_a_request_waits_is_answered_when_it_is_durable() {
    for breaks in [false, true] {
        let stage = Stage::new().await;
        let answered = stage.answer_of(stage.shop.cancel_order(&stage.who, stage.order), breaks).await;
        match answered {
            Ok(page) => assert!(!breaks && page.order.status() != Some(Status::AwaitingPayment), "{page:?}"),
            Err(error) => assert!(breaks && matches!(error, Error::Unknown), "{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_review_that_is_durable_is_not_refused_because_its_rating_cannot_be_counted_yet() {
    let stage = Stage::new().await;
    stage.shop.ensure_customer_without_password("ravi@example.com").await.unwrap();
    let ravi = stage.shop.principal("ravi@example.com").await.unwrap();
    stage.shop.0.runtime.entities.ratings.close().await;
    let product: ProductId = "sundial".parse().unwrap();
    let write = stage.shop.write_review(&ravi, &product, 4, "Good".into(), "It is right at noon.".into());
    let (written, changed) = write.await.unwrap();
    assert_eq!((written.content.rating, changed), (4, Changed::Yes));
    stage.shop.catch_up(Duration::from_secs(10)).await;
    let listed = stage.shop.reviews(None, &product, None, 10).await.unwrap();
    assert_eq!(listed.items.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_is_asked_about_tokens_after_a_logout_whose_outcome_is_unknown() {
    let stage = Stage::new().await;
    // Tokens of the second in which the shop was opened are checked with their accounts anyway.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let session = stage.shop.vouch("asha@example.com").await.unwrap();
    let token = session.tokens.access_token;
    let authenticate = async || stage.shop.authenticate(token.expose_secret()).await.unwrap();
    let who = authenticate().await;
    assert_eq!(who.revocation, RevocationStatus::Good);
    let answered = stage.answer_of(stage.shop.logout(&who), true).await;
    assert!(matches!(answered, Err(Error::Unknown)), "{answered:?}");
    assert_eq!(authenticate().await.revocation, RevocationStatus::Unknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_was_verified_before_a_new_password_starts_no_session() {
    let stage = Stage::new().await;
    let epoch = stage.shop.principal("asha@example.com").await.unwrap().epoch;
    let password = SecretString::from("a new horse battery");
    stage.shop.ensure_account("asha@example.com", password.clone(), Role::Admin).await.unwrap();
    let late = stage.shop.start_session(stage.who.account, epoch).await;
    assert!(matches!(late, Err(Error::Account(account::Rejection::EpochEnded))), "{late:?}");
    stage.shop.login("asha@example.com", password).await.unwrap();
}

#[test]
fn after_a_durable_step_nothing_is_reported_as_not_executed() {
    for refused in [NotDelivered::Busy, NotDelivered::ReadOnly, NotDelivered::Closed] {
        assert!(matches!(Error::NotDelivered(refused).after_change(), Error::Unknown));
    }
    assert!(matches!(Error::EmptyCart.after_change(), Error::EmptyCart));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_whose_intent_may_be_durable_or_not_has_not_failed() {
    let stage = Stage::new().await;
    let declined = stage.shop.pay(&stage.who, stage.order, "tok_decline", None).await.unwrap();
    assert_eq!(declined.outcome.result, PaymentResult::Fail);
    let answered = stage.answer_of(stage.shop.pay(&stage.who, stage.order, "tok_success", None), true).await;
    let answered = answered.map(|done| done.outcome.result);
    assert!(matches!(answered, Err(Error::Unknown)), "{answered:?}");
}
