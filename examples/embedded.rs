//! The shop as a library: an order placed and paid in-process, without HTTP.
//!
//! `cargo run --example embedded`

#![allow(clippy::print_stdout, reason = "it shows what it did")]

use secrecy::SecretString;
use souk::{
    config::Config,
    domain::{
        account::Role,
        cart::Line,
        money::{Currency, Money},
        order::Address,
        product::Details,
    },
    shop::{Shop, orders::CheckoutRequest},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let shop = Shop::open(Config { data_dir: directory.path().into(), ..Config::default() }).await?;

    // A seller lists a product and receives stock of it.
    let password = || SecretString::from("correct horse battery");
    shop.register("seller@example.org", password(), None, Role::Seller).await?;
    let seller = shop.principal("seller@example.org").await?;
    let id = "teapot-1".parse()?;
    let teapot = Details {
        title: "Cast iron teapot".into(),
        description: "Holds a litre.".into(),
        brand: None,
        category: vec!["Kitchen".into()],
        price: Some(Money::new(249_900, Currency::INR)?),
        thumbnail_url: None,
        images: Vec::new(),
        attributes: Vec::new(),
        imported_rating: None,
        variant_of: None,
        variants: Vec::new(),
    };
    shop.create_product(&seller, &id, teapot).await?;
    shop.receive_stock(&seller, &id, 10, Some("delivery-1")).await?;

    // A customer buys two.
    shop.register("asha@example.org", password(), Some("Asha".into()), Role::Customer).await?;
    let customer = shop.principal("asha@example.org").await?;
    let cart = shop.add_to_cart(&customer, vec![Line { product: id.clone(), quantity: 2 }], None).await?;
    let request = CheckoutRequest {
        items: Vec::new(),
        total_minor: cart.total.ok_or("an empty cart")?.minor,
        currency: None,
        address: Address {
            name: "Asha".into(),
            line1: "1 MG Road".into(),
            line2: None,
            city: "Pune".into(),
            region: None,
            postal_code: "411001".into(),
            country: "IN".into(),
            phone: None,
        },
    };
    let order = shop.checkout(&customer, &request, Some("my-key")).await?.outcome;
    let paid = shop.pay(&customer, order.id, "tok_success", None).await?.outcome;
    let stock = shop.inventory(&seller, &id).await?;
    let status = paid.order.order.status().ok_or("no such order")?;
    println!("order {} is {}; {} left", order.id, status.as_str(), stock.available);

    shop.close().await?;
    Ok(())
}
