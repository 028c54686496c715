//! Souk as a customer uses it: the program in a process of its own, over HTTP/1.1 on loopback, one connection per
//! caller.
//!
//! No route only reserves: a reservation is part of a checkout. So the table has two lines. A seller's adjustment of
//! one unit does the same work as a reservation: one event of the product's inventory, with an identity, never below
//! zero, durable before the answer. A paid order is what a customer does for that unit: cart, checkout and payment,
//! three requests and about a dozen events.
//!
//! Depends on `peer` and `support`, on the rooms `config`, `domain` and `shop` of `souk` and on `axum` and `rustix`.

use axum::http::{Method, StatusCode};
use rustix::process::Signal;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use souk::{
    config::Config,
    domain::{account::Role, inventory::RECEIPTS_MAX},
    shop::Shop,
};

use crate::{
    peer::{Home, Peer},
    support::{
        connection::{Connection, Reply},
        flash_sale::{Answer, Caller, Engine},
    },
};

/// The number of customers; each is one caller.
const CUSTOMERS: usize = 64;
/// The password of the accounts, which exist for the bench only.
const PASSWORD: &str = "a long password";
/// The life of their tokens, in seconds: longer than the bench runs, and the longest that the program allows.
const TOKEN_SECONDS: u64 = 3_600;
/// The price of the product, in minor units.
const PRICE: u64 = 1_000;

pub(crate) struct Program {
    peer: Peer,
    address: String,
    seller: String,
    customers: Vec<String>,
}

/// What a caller requests.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ask {
    /// One event of one inventory.
    Adjustment,
    /// Cart, checkout, payment.
    PaidOrder,
}

impl Program {
    /// Creates the accounts in process, then starts the program on the same directory.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let home = Home::new();
        let data_dir = home.path().join("data");
        let config = Config { data_dir: data_dir.clone(), access_token_seconds: TOKEN_SECONDS, ..Config::default() };
        let shop = Shop::open(config).await?;
        let seller = log_in(&shop, "seller@example.org", Role::Seller).await?;
        let mut customers = Vec::new();
        for number in 0..CUSTOMERS {
            customers.push(log_in(&shop, &format!("customer-{number}@example.org"), Role::Customer).await?);
        }
        shop.close().await?;
        let souk = std::env::current_exe()?.with_file_name("souk");
        anyhow::ensure!(souk.exists(), "{} is missing: cargo build --release makes it", souk.display());
        let mut command = home.command(souk);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir).env("SOUK_LOG", "error");
        // All callers have one address.
        command.env("SOUK_LIMITS__RATES", "off");
        let mut peer = home.start(command, Signal::TERM)?;
        let listens = async |said: &str| Some(said.lines().next()?.split_once("http://")?.1.to_owned());
        let address = peer.ready(listens).await?;
        Ok(Self { peer, address, seller, customers })
    }

    /// The program with one kind of requests.
    pub(crate) fn by(&self, ask: Ask) -> By<'_> {
        By { program: self, ask }
    }
}

async fn log_in(shop: &Shop, email: &str, role: Role) -> anyhow::Result<String> {
    shop.ensure_account(email, SecretString::from(PASSWORD), role).await?;
    let session = shop.login(email, SecretString::from(PASSWORD)).await?;
    Ok(session.tokens.access_token.expose_secret().to_owned())
}

/// The program with one kind of requests.
pub(crate) struct By<'a> {
    program: &'a Program,
    ask: Ask,
}

impl By<'_> {
    /// Each kind has its own products.
    fn product(&self, product: &str) -> String {
        format!("{:?}-{product}", self.ask)
    }

    async fn seller(&self, method: Method, path: &str, body: serde_json::Value) -> Reply {
        let mut connection = Connection::open(&self.program.address).await;
        let reply = connection.send(method, path, &self.program.seller, "", body).await;
        let directory = self.program.peer.path().display();
        assert!(reply.status.is_success(), "{path} of the shop in {directory}: {}", reply.json());
        reply
    }
}

impl Engine for By<'_> {
    type Caller = Customer;

    fn name(&self) -> String {
        let what = match self.ask {
            Ask::Adjustment => "adjustment of stock",
            Ask::PaidOrder => "whole paid order",
        };
        format!("Souk over HTTP, fdatasync before each answer; {what}")
    }

    fn product_reservations_max(&self) -> Option<u64> {
        match self.ask {
            // An inventory remembers this many; what it forgets beyond them is no part of the question.
            Ask::Adjustment => Some(RECEIPTS_MAX as u64),
            Ask::PaidOrder => None,
        }
    }

    async fn open(&self, product: &str, units: u64) {
        let product = self.product(product);
        let details = json!({ "id": product, "name": product, "price": { "amount": PRICE, "currency": "INR" } });
        self.seller(Method::POST, "/products", details).await;
        let inventory = format!("/products/{product}/inventory");
        self.seller(Method::PUT, &inventory, json!({ "on_hand": units })).await;
    }

    async fn caller(&self, number: usize) -> Customer {
        let connection = Connection::open(&self.program.address).await;
        let token = match self.ask {
            Ask::Adjustment => &self.program.seller,
            Ask::PaidOrder => &self.program.customers[number],
        };
        Customer { connection, ask: self.ask, token: token.clone() }
    }

    async fn counts(&self, product: &str) -> (u64, Option<u64>) {
        let inventory = format!("/products/{}/inventory", self.product(product));
        let stock = self.seller(Method::GET, &inventory, serde_json::Value::Null).await.json();
        let number = |field: &str| stock[field].as_u64().expect("a number");
        let sold = match self.ask {
            Ask::Adjustment => None,
            Ask::PaidOrder => Some(number("sold")),
        };
        (number("on_hand"), sold)
    }
}

/// A caller over HTTP.
pub(crate) struct Customer {
    connection: Connection,
    ask: Ask,
    token: String,
}

impl Caller for Customer {
    async fn reserve(&mut self, product: &str, order: u64) -> Answer {
        let product = format!("{:?}-{product}", self.ask);
        match self.ask {
            Ask::Adjustment => self.adjust(&product, order).await,
            Ask::PaidOrder => self.buy(&product, order).await,
        }
    }
}

impl Customer {
    async fn post(&mut self, path: &str, key: &str, body: serde_json::Value) -> Reply {
        self.connection.send(Method::POST, path, &self.token, key, body).await
    }

    async fn adjust(&mut self, product: &str, order: u64) -> Answer {
        let path = format!("/products/{product}/inventory/adjustments");
        let reply = self.post(&path, &order.to_string(), json!({ "delta": -1 })).await;
        match reply.status {
            StatusCode::OK => Answer::Reserved,
            StatusCode::CONFLICT => Answer::SoldOut,
            _ => panic!("{}", reply.json()),
        }
    }

    async fn buy(&mut self, product: &str, order: u64) -> Answer {
        let added = self.post("/cart/add_products", "", json!({ "product_id": product })).await;
        assert_eq!(added.status, StatusCode::OK, "{}", added.json());
        let address =
            json!({ "name": "A", "line1": "1 Road", "city": "Pune", "postal_code": "411001", "country": "IN" });
        let items = json!([{ "product_id": product, "quantity": 1 }]);
        let checkout = json!({ "items": items, "total_price": PRICE, "shipping_address": address });
        let placed = self.post("/checkout", &format!("{product}-{order}"), checkout).await;
        match placed.status {
            StatusCode::CREATED => {}
            StatusCode::CONFLICT => return Answer::SoldOut,
            _ => panic!("{}", placed.json()),
        }
        let payment = json!({ "order_id": placed.json()["order_id"], "payment_method": "tok_success" });
        let paid = self.post("/payment", "", payment).await;
        assert_eq!(paid.status, StatusCode::OK, "{}", paid.json());
        Answer::Reserved
    }
}
