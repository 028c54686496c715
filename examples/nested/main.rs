//! The shop's router below a path of another program's, with a handler of that program's which calls the shop and
//! answers with the shop's own problem documents.
//!
//! `cargo run --example nested --no-default-features --features http`. A test runs it, too.
//!
//! Depends on `souk` and on `axum` and `tokio`.

#![allow(clippy::print_stdout, reason = "it shows what it did")]

use std::{error::Error, time::Duration};

use axum::{
    Router,
    extract::{Path, State},
    routing::get,
};
use serde_json::{Value, json};
use souk::{
    Config, Currency, Details, Money, ProductId, Role, Shop,
    http::{self, Problem},
    shop::Missing,
};
use tokio::{net::TcpListener, sync::oneshot};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const PASSWORD: &str = "correct horse battery";

#[tokio::main]
async fn main() -> Outcome<()> {
    run().await
}

/// A handler of this program's. An error of the shop becomes the answer that the shop's own routes give.
async fn stock(State(shop): State<Shop>, Path(id): Path<String>) -> Result<String, Problem> {
    let id: ProductId = id.parse().map_err(|_| souk::Error::NotFound(Missing::Product))?;
    let page = shop.product(&id, None).await?;
    Ok(format!("{} of {}", page.stock.available, page.product.details.title))
}

/// Runs the whole example.
pub(crate) async fn run() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let shop = Shop::open(Config { data_dir: directory.path().join("data"), ..Config::default() }).await?;
    let teapot: ProductId = "teapot-1".parse()?;
    shop.register("seller@example.org", PASSWORD.to_owned().into(), None, Role::Seller).await?;
    let seller = shop.principal("seller@example.org").await?;
    let price = Some(Money::new(249_900, Currency::INR)?);
    shop.create_product(&seller, &teapot, Details { title: "Teapot".into(), price, ..Details::default() }).await?;
    shop.receive_stock(&seller, &teapot, 10, Some("delivery-1")).await?;

    let app = Router::new().route("/stock/{id}", get(stock)).with_state(shop.clone());
    let app = app.nest("/shop", http::router(shop.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let limits = shop.config().limits.clone();
    let server = tokio::spawn(async move {
        let stop = async { drop(stopped.await) };
        http::serve(app, listener, &limits, stop).await
    });
    visit(&format!("http://{address}")).await?;
    drop(stop);
    println!("the requests at work were finished: {:?}", server.await?);
    shop.close().await?;
    Ok(())
}

/// What a customer's program does.
async fn visit(base: &str) -> Outcome<()> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
    let answer = client.get(format!("{base}/stock/teapot-1")).send().await?;
    assert_eq!(answer.text().await?, "10 of Teapot");
    let missing = client.get(format!("{base}/stock/nothing")).send().await?;
    assert_eq!((missing.status().as_u16(), missing.json::<Value>().await?["code"].as_str()), (404, Some("not-found")));

    let post = async |path: &str, token: &str, body: Value| -> Outcome<Value> {
        let request = client.post(format!("{base}/shop{path}")).bearer_auth(token).json(&body);
        Ok(request.send().await?.error_for_status()?.json().await?)
    };
    let login = json!({"email": "asha@example.org", "password": PASSWORD});
    post("/auth/register", "", login.clone()).await?;
    let session = post("/auth/login", "", login).await?;
    let token = session["access_token"].as_str().ok_or("no token")?;
    let items = json!([{"product_id": "teapot-1", "quantity": 2}]);
    post("/cart/add_products", token, json!({"items": items})).await?;
    let address =
        json!({"name": "Asha Rao", "line1": "1 MG Road", "city": "Pune", "postal_code": "411001", "country": "IN"});
    let order = post("/checkout", token, json!({"total_price": 499_800, "shipping_address": address})).await?;
    let payment = json!({"order_id": order["order_id"], "payment_method": "tok_success"});
    let paid = post("/payment", token, payment).await?;
    println!("order {} is {}", order["order_id"], paid["order_status"]);
    assert_eq!(paid["status"], "success");
    let found = client.get(format!("{base}/shop/products?limit=1")).send().await?.error_for_status()?;
    println!("{}", found.text().await?);
    Ok(())
}
