//! The shop as a library, without HTTP: with a payment provider and a clock of one's own, an order from the catalogue
//! to the refund, one that nobody pays, two shops in one process, a shop that is dropped, and a start over.
//!
//! `cargo run --example embedded --no-default-features`. A test runs it, too.
//!
//! Depends on `souk` and `till`.

#![allow(clippy::print_stdout, reason = "it shows what it did")]

mod till;

use std::{error::Error, path::Path, sync::Arc, time::Duration};

use futures::StreamExt;
use souk::{
    Address, Advance, CheckoutRequest, Clock, Config, Currency, Details, Line, Money, OrderId, Parts, Principal,
    ProductId, Role, SearchRequest, Shop, Timestamp, Tracking,
    shop::{CaughtUp, NotDelivered, OpenShopError, StorageOpenError, payments::PaymentResult, refunds::RefundAsked},
};

use self::till::Till;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long the example waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// The price of a teapot, in paise.
const PRICE: u64 = 249_900;

#[tokio::main]
async fn main() -> Outcome<()> {
    run().await
}

/// A shop with the people and the goods of the story.
struct Story {
    shop: Shop,
    till: Arc<Till>,
    clock: Clock,
    seller: Principal,
    asha: Principal,
    teapot: ProductId,
}

/// Runs the whole example.
pub(crate) async fn run() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let (till, clock) = (Till::new(), Clock::manual(Timestamp(1_800_000_000_000)));
    let story = Story::begin(&directory.path().join("tea"), &till, &clock).await?;
    story.search().await?;
    story.an_order_from_cart_to_refund().await?;
    story.a_payment_whose_answer_is_lost().await?;
    story.an_order_that_nobody_pays().await?;
    story.beside_another_shop(&directory.path().join("books")).await?;
    story.close_and_open_again(&directory.path().join("tea")).await
}

/// Opens the shop with this till and this clock. Without them it has the machine's clock and the configured provider,
/// which is a fake one by default.
async fn open(data_dir: &Path, till: &Arc<Till>, clock: &Clock) -> Result<Shop, OpenShopError> {
    let config = Config { data_dir: data_dir.into(), ..Config::default() };
    Shop::open_with(config, Parts { clock: clock.clone(), gateway: Some(till.clone()) }).await
}

impl Story {
    async fn begin(data_dir: &Path, till: &Arc<Till>, clock: &Clock) -> Outcome<Self> {
        let shop = open(data_dir, till, clock).await?;
        shop.register("seller@example.org", "correct horse battery".to_owned().into(), None, Role::Seller).await?;
        let seller = shop.principal("seller@example.org").await?;
        shop.ensure_customer_without_password("asha@example.org").await?;
        let asha = shop.principal("asha@example.org").await?;

        let teapot: ProductId = "teapot-1".parse()?;
        let details = Details {
            title: "Cast iron teapot".into(),
            description: "Holds a litre.".into(),
            category: vec!["Kitchen".into()],
            price: Some(Money::new(PRICE, Currency::INR)?),
            ..Details::default()
        };
        shop.create_product(&seller, &teapot, details).await?;
        shop.receive_stock(&seller, &teapot, 10, Some("delivery-1")).await?;
        Ok(Self { shop, till: till.clone(), clock: clock.clone(), seller, asha, teapot })
    }

    /// A product is found a moment after it was listed.
    async fn search(&self) -> Outcome<()> {
        assert_eq!(self.shop.catch_up(PATIENCE).await, CaughtUp::Yes);
        let request = SearchRequest { text: Some("teapot".into()), ..SearchRequest::default() };
        let page = self.shop.search(&request).await?;
        assert_eq!(page.hits.first().map(|hit| hit.title.as_str()), Some("Cast iron teapot"));
        println!("found {} product", page.total);
        Ok(())
    }

    async fn place(&self, quantity: u32, key: &str) -> Outcome<OrderId> {
        let line = Line { product: self.teapot.clone(), quantity };
        let cart = self.shop.add_to_cart(&self.asha, vec![line], None).await?;
        let total_minor = cart.total.ok_or("a line of the cart is in the way")?.minor;
        let address = Address {
            name: "Asha Rao".into(),
            line1: "1 MG Road".into(),
            city: "Pune".into(),
            postal_code: "411001".into(),
            country: "IN".into(),
            ..Address::default()
        };
        let request = CheckoutRequest::new(total_minor, address);
        Ok(self.shop.checkout(&self.asha, &request, Some(key)).await?.outcome.id)
    }

    async fn left(&self) -> Outcome<u64> {
        Ok(self.shop.inventory(&self.seller, &self.teapot).await?.available)
    }

    async fn an_order_from_cart_to_refund(&self) -> Outcome<()> {
        let shop = &self.shop;
        let order = self.place(2, "order-1").await?;
        let events = shop.order_events(&self.asha, order, 0).await?;
        let events = tokio::spawn(events.map(|entry| entry.map(|entry| entry.status.as_str())).collect::<Vec<_>>());

        let paid = shop.pay(&self.asha, order, "cash", Some("pay-1")).await?.outcome;
        assert_eq!((paid.result, self.till.total()), (PaymentResult::Success, 2 * PRICE));
        // An error is matched by its type.
        match shop.pay(&self.asha, order, "cash", Some("pay-2")).await {
            Err(souk::Error::Order(rejection)) => println!("a second payment is refused: {rejection}"),
            other => return Err(format!("a second payment: {other:?}").into()),
        }
        shop.advance_order(&self.seller, order, Advance::Pack).await?;
        let tracking = Tracking { carrier: "Blue Dart".into(), number: "BD1".into() };
        shop.advance_order(&self.seller, order, Advance::Ship(tracking)).await?;
        shop.advance_order(&self.seller, order, Advance::Deliver).await?;
        let asked = RefundAsked { reason: "the lid is chipped".into(), ..RefundAsked::default() };
        shop.refund(&self.seller, order, &asked, Some("refund-1")).await?;
        assert_eq!(self.till.total(), 0);

        // The stream ends with the order.
        let statuses: Vec<&str> = events.await?.into_iter().collect::<Result<_, _>>()?;
        println!("order {order} was {}", statuses.join(", "));
        assert_eq!((statuses.first(), statuses.last()), (Some(&"placed"), Some(&"delivered")));
        Ok(())
    }

    /// The till has charged, and its answer is lost. The shop asks again under the same key, and charges nobody twice.
    async fn a_payment_whose_answer_is_lost(&self) -> Outcome<()> {
        let order = self.place(1, "order-2").await?;
        self.till.lose_answers(2);
        self.shop.pay(&self.asha, order, "cash", Some("pay-3")).await?;
        let wait = async {
            while !self.shop.order(&self.asha, order).await?.order.status().is_some_and(|status| status.is_paid()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok::<_, souk::Error>(())
        };
        tokio::time::timeout(PATIENCE, wait).await??;
        assert_eq!(self.till.total(), PRICE);
        println!("two answers of the till were lost, and it charged once");
        Ok(())
    }

    /// The clock is ours, so a quarter of an hour is over at once. The stock comes back.
    async fn an_order_that_nobody_pays(&self) -> Outcome<()> {
        let before = self.left().await?;
        let order = self.place(3, "order-3").await?;
        assert_eq!(self.left().await?, before - 3);
        let mut events = self.shop.order_events(&self.asha, order, 0).await?;
        self.clock.advance_ms(self.shop.config().payment_deadline_ms + 1);
        let mut last = None;
        while let Some(entry) = tokio::time::timeout(PATIENCE, events.next()).await? {
            last = Some(entry?.status.as_str());
        }
        assert_eq!((last, self.left().await?), (Some("expired"), before));
        println!("order {order} has expired, and its teapots are back");
        Ok(())
    }

    /// Shops in one process share nothing; two of them cannot have one directory.
    async fn beside_another_shop(&self, data_dir: &Path) -> Outcome<()> {
        let other = Shop::open(Config { data_dir: data_dir.into(), ..Config::default() }).await?;
        assert!(matches!(other.principal("asha@example.org").await, Err(souk::Error::NotFound(_))));
        assert_eq!((other.provider().0, self.shop.provider().0), ("simulated", "till"));
        let again = Shop::open(Config { data_dir: data_dir.into(), ..Config::default() }).await;
        assert!(matches!(again, Err(OpenShopError::Storage(StorageOpenError::Locked(_)))));
        other.close().await?;
        Ok(())
    }

    async fn close_and_open_again(self, data_dir: &Path) -> Outcome<()> {
        let left = self.left().await?;
        self.shop.close().await?;
        let closed = self.shop.remove_cart_line(&self.asha, &self.teapot).await;
        assert!(matches!(closed, Err(souk::Error::NotDelivered(NotDelivered::Closed))), "{closed:?}");

        // What was acknowledged is there again, also where a program ends without closing its shop.
        for round in ["closed", "dropped"] {
            let shop = open(data_dir, &self.till, &self.clock).await?;
            assert_eq!(shop.inventory(&self.seller, &self.teapot).await?.available, left);
            println!("{left} teapots are left after the shop was {round}");
            drop(shop);
        }
        open(data_dir, &self.till, &self.clock).await?.close().await?;
        Ok(())
    }
}
