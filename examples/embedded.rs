//! The shop as a library: an order placed, paid, followed and delivered in-process, without HTTP; then a start over.
//!
//! `cargo run --example embedded`. A test runs it, too.

#![allow(clippy::print_stdout, reason = "it shows what it did")]

use std::{error::Error, path::Path, time::Duration};

use futures::StreamExt;
use souk::{
    Address, Advance, CheckoutRequest, Config, Currency, Details, Line, Money, OrderId, Principal, ProductId, Role,
    SearchRequest, Shop, Tracking,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    run().await
}

/// The whole story.
pub(crate) async fn run() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let shop = open(directory.path()).await?;
    let (seller, teapot) = list_a_product(&shop).await?;
    find(&shop).await?;

    shop.ensure_customer_without_password("asha@example.org").await?;
    let customer = shop.principal("asha@example.org").await?;
    let order = place(&shop, &customer, &teapot).await?;
    let events = shop.order_events(&customer, order, 0).await?;
    let story = tokio::spawn(events.map(|entry| entry.map(|entry| entry.status.as_str())).collect::<Vec<_>>());

    shop.pay(&customer, order, "tok_success", Some("pay-1")).await?;
    shop.advance_order(&seller, order, Advance::Pack).await?;
    let tracking = Tracking { carrier: "Blue Dart".into(), number: "BD1".into() };
    shop.advance_order(&seller, order, Advance::Ship(tracking)).await?;
    shop.advance_order(&seller, order, Advance::Deliver).await?;
    for status in story.await? {
        println!("order {order} is {}", status?);
    }
    shop.close().await?;

    // Everything is there again, also where a program ends without closing its shop.
    let shop = open(directory.path()).await?;
    let left = shop.inventory(&seller, &teapot).await?.available;
    assert_eq!(left, 8);
    println!("after a restart {left} are left");
    drop(shop);
    open(directory.path()).await?.close().await?;
    Ok(())
}

async fn open(directory: &Path) -> Outcome<Shop> {
    Ok(Shop::open(Config { data_dir: directory.join("data"), ..Config::default() }).await?)
}

async fn list_a_product(shop: &Shop) -> Outcome<(Principal, ProductId)> {
    shop.register("seller@example.org", "correct horse battery".to_owned().into(), None, Role::Seller).await?;
    let seller = shop.principal("seller@example.org").await?;
    let id: ProductId = "teapot-1".parse()?;
    let teapot = Details {
        title: "Cast iron teapot".into(),
        description: "Holds a litre.".into(),
        category: vec!["Kitchen".into()],
        price: Some(Money::new(249_900, Currency::INR)?),
        ..Details::default()
    };
    shop.create_product(&seller, &id, teapot).await?;
    shop.receive_stock(&seller, &id, 10, Some("delivery-1")).await?;
    Ok((seller, id))
}

/// A product is found a moment after it was listed.
async fn find(shop: &Shop) -> Outcome<()> {
    let request = SearchRequest { text: Some("teapot".into()), ..SearchRequest::default() };
    for _ in 0..500 {
        if let Some(hit) = shop.search(&request).await?.hits.first() {
            println!("found {}", hit.title);
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err("the product is not found".into())
}

async fn place(shop: &Shop, customer: &Principal, product: &ProductId) -> Outcome<OrderId> {
    let cart = shop.add_to_cart(customer, vec![Line { product: product.clone(), quantity: 2 }], None).await?;
    let address = Address {
        name: "Asha Rao".into(),
        line1: "1 MG Road".into(),
        city: "Pune".into(),
        postal_code: "411001".into(),
        country: "IN".into(),
        ..Address::default()
    };
    let total_minor = cart.total.ok_or("a line of the cart is in the way")?.minor;
    let request = CheckoutRequest { total_minor, address, ..CheckoutRequest::default() };
    Ok(shop.checkout(customer, &request, Some("my-key")).await?.outcome.id)
}
