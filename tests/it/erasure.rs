//! Erasing customers: what is removed, what stays, who may do it, and when it is refused.

use std::{fs, path::Path};

use serde_json::{Value, json};
use souk::{clock::Clock, config::Config, domain::account::Role, internals::storage::Journal};

use crate::support::{Client, PASSWORD, TestApp};

/// A text that only this customer's data contains.
const CANARY: &str = "Zyxwvut";
const EMAIL: &str = "zyxwvut@example.com";

/// Where the canary was found: the number of streams' states, of entries of lists, and of records of the log.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    states: usize,
    entries: usize,
    records: usize,
}

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
}

/// The files of the log and of bases that contain the canary.
fn files_with_the_canary(app: &TestApp) -> Vec<String> {
    let journal = app.shop.config().data_dir.join("journal");
    // There is no base before the first compaction.
    let entries = |directory: &Path| fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path());
    let files = entries(&journal.join("log")).chain(entries(&journal.join("base")));
    // A running shop may rename a file in between.
    let files = files.filter_map(|path| Some((path.display().to_string(), fs::read(path).ok()?)));
    let files: Vec<_> = files.collect();
    assert!(!files.is_empty(), "there is always a log");
    files.into_iter().filter(|(_, bytes)| holds(bytes)).map(|(path, _)| path).collect()
}

/// Keeps as little of the log as possible.
fn forgetful(config: &mut Config) {
    config.retention.log_bytes = 0;
    config.retention.work_percent = 100;
}

/// Searches everything that the journal loads, and the log.
async fn look_for_the_canary(journal: &Journal) -> Found {
    let mut found = Found { states: 0, entries: 0, records: 0 };
    let (mut streams, mut from) = (Vec::new(), journal.oldest());
    loop {
        let page = journal.page(from, 1 << 20).unwrap();
        found.records += page.records.iter().filter(|record| holds(&record.payload)).count();
        streams.extend(page.records.into_iter().map(|record| record.stream));
        if page.next == from {
            break;
        }
        from = page.next;
    }
    streams.sort();
    streams.dedup();
    for stream in streams {
        let loaded = journal.read(&stream).await.unwrap();
        let in_snapshot = loaded.snapshot.iter().any(|snapshot| holds(&snapshot.bytes));
        found.states += usize::from(in_snapshot || loaded.records.iter().any(|record| holds(&record.payload)));
    }
    let entries = journal.read_models().scan(souk::internals::actors::lists::NAME, &[], None, usize::MAX).unwrap();
    found.entries = entries.iter().filter(|(key, value)| holds(key) || holds(value)).count();
    found
}

async fn erase(client: &Client, password: &str) -> crate::support::Answer {
    client.send("DELETE", "/account", &[], &json!({"password": password})).await
}

async fn erase_customer(admin: &Client, email: &str) -> crate::support::Answer {
    admin.send("DELETE", "/admin/customers", &[], &json!({"email": email})).await
}

async fn login(app: &TestApp, email: &str) -> Value {
    let credentials = json!({"email": email, "password": PASSWORD});
    app.anonymous().post("/auth/login", &credentials).await.expect(200)
}

/// A registered customer with a name.
async fn customer(app: &TestApp) -> (Client, Value) {
    let register = json!({"email": EMAIL, "password": PASSWORD, "name": CANARY});
    app.anonymous().post("/auth/register", &register).await.expect(201);
    let session = login(app, EMAIL).await;
    let mut client = app.anonymous();
    client.token = Some(session["access_token"].as_str().unwrap().to_owned());
    client.user_id = session["user_id"].as_str().unwrap().to_owned();
    (client, session)
}

/// An order to the customer's address, awaiting its payment.
async fn order(client: &Client, product: &str) -> String {
    client.add(product, 1).await;
    let total = client.get("/cart").await.expect(200)["total"].clone();
    let address = json!({
        "name": CANARY, "line1": format!("{CANARY} Road"), "line2": CANARY, "city": CANARY, "region": CANARY,
        "postal_code": "411001", "country": "IN", "phone": CANARY
    });
    let checkout = json!({"total_price": total, "shipping_address": address});
    let order = client.post("/checkout", &checkout).await.expect(201);
    order["order_id"].as_str().unwrap().to_owned()
}

/// Pays an order at the second attempt, and delivers it.
async fn deliver(client: &Client, seller: &Client, order: &str) {
    client.pay(order, &format!("tok_decline_{CANARY}")).await.problem(422, "payment-declined");
    client.pay(order, "tok_success").await.expect(200);
    let parcel = json!({"carrier": "Blue Dart", "tracking_number": CANARY});
    seller.post(&format!("/orders/{order}/ship"), &parcel).await.expect(200);
    erase(client, PASSWORD).await.problem(409, "orders-unfinished");
    seller.act(&format!("/orders/{order}/deliver")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_is_erased_and_accounting_data_stays() {
    let app = TestApp::with(forgetful, Clock::system()).await;
    let seller = app.seller().await;
    let (client, session) = customer(&app).await;
    let bought = order(&client, "CABLE").await;
    deliver(&client, &seller, &bought).await;
    let cancelled = order(&client, "PHONE").await;
    let refused = erase(&client, PASSWORD).await.problem(409, "orders-unfinished");
    assert_eq!(refused["order_ids"], json!([cancelled]));
    client.act(&format!("/orders/{cancelled}/cancel")).await.expect(200);
    let review = json!({"rating": 5, "title": CANARY, "text": CANARY});
    client.post("/products/CABLE/reviews", &review).await.expect(201);
    client.add("PHONE", 1).await;
    app.customer("ravi").await.post("/products/CABLE/reviews", &json!({"rating": 2, "title": "Bad"})).await.expect(201);
    let before = seller.get(&format!("/orders/{bought}")).await.expect(200);
    let payments = seller.get(&format!("/orders/{bought}/payments")).await.expect(200);
    app.caught_up().await;
    let found = look_for_the_canary(souk::internals::journal(&app.shop)).await;
    assert!(found.states >= 4 && found.entries >= 1, "account, two orders, review: {found:?}");

    erase(&client, "a wrong password").await.problem(401, "wrong-credentials");
    client.get("/cart").await.expect(200);
    let refused = client.send("DELETE", "/account", &[], &json!({})).await.problem(422, "invalid-body");
    assert_eq!(refused["errors"][0]["pointer"], "#/password");
    assert_eq!(erase(&client, PASSWORD).await.expect_text(204), "");

    erase(&client, PASSWORD).await.problem(401, "unauthorized");
    client.get("/cart").await.problem(401, "unauthorized");
    let refresh = json!({"refresh_token": session["refresh_token"]});
    app.anonymous().post("/auth/refresh", &refresh).await.problem(401, "unauthorized");
    let credentials = json!({"email": EMAIL, "password": PASSWORD});
    app.anonymous().post("/auth/login", &credentials).await.problem(401, "wrong-credentials");

    let after = seller.get(&format!("/orders/{bought}")).await.expect(200);
    assert_eq!((&after["shipping_address"], after.get("tracking")), (&Value::Null, None));
    for member in ["status", "items", "total", "tax", "shipping", "placed_at"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    let paid = seller.get(&format!("/orders/{bought}/payments")).await.expect(200);
    assert_eq!((&paid[1], paid[1]["reference"].is_string()), (&payments[1], true));
    assert_eq!((&paid[0]["status"], paid[0].get("declined_reason")), (&json!("fail"), None));
    let ended = seller.get(&format!("/orders/{cancelled}")).await.expect(200);
    assert_eq!((&ended["status"], &ended["shipping_address"]), (&json!("cancelled"), &Value::Null));
    let reviews = app.anonymous().get("/products/CABLE/reviews").await.expect(200);
    assert_eq!(reviews["items"].as_array().unwrap().len(), 1, "the other one");
    let rating = &app.anonymous().get("/products/CABLE").await.expect(200)["rating"];
    assert_eq!(rating, &json!({"average": 2.0, "count": 1}));

    app.caught_up().await;
    let left = look_for_the_canary(souk::internals::journal(&app.shop)).await;
    assert_eq!((left.states, left.entries), (0, 0));
    assert!(left.records >= found.states, "the log has not been compacted, and the search finds what is there");

    let app = app.restart().await;
    app.again(&client).get("/cart").await.problem(401, "unauthorized");
    let left = look_for_the_canary(souk::internals::journal(&app.shop)).await;
    assert_eq!((left.states, left.entries), (0, 0));

    // The log loses the customer's data with its segments, and the base that replaces them does not contain it.
    app.caught_up().await;
    assert!(!files_with_the_canary(&app).is_empty());
    assert!(app.shop.compact().await.unwrap().segments_removed > 0);
    app.again(&seller).get(&format!("/orders/{bought}")).await.expect(200);
    app.shop.close().await.unwrap();
    assert_eq!(files_with_the_canary(&app), Vec::<String>::new());
}

#[tokio::test]
async fn a_customer_who_was_a_seller_loses_the_sellers_name() {
    let app = TestApp::with(forgetful, Clock::system()).await;
    let register = json!({"email": EMAIL, "password": PASSWORD, "name": CANARY, "role": "seller"});
    let registered = app.anonymous().post("/auth/register", &register).await.expect(201);
    let path = format!("/sellers/{}", registered["user_id"].as_str().unwrap());
    assert_eq!(app.anonymous().get(&path).await.expect(200)["name"], CANARY);
    let admin = app.user("admin", Role::Admin).await;
    erase_customer(&admin, EMAIL).await.problem(403, "not-erasable");
    app.shop.ensure_account(EMAIL, PASSWORD.to_owned().into(), Role::Customer).await.unwrap();
    erase_customer(&admin, EMAIL).await.expect(204);
    app.anonymous().get(&path).await.problem(404, "not-found");
    admin.put(&path, &json!({"name": CANARY})).await.problem(404, "not-found");
    app.caught_up().await;
    let left = look_for_the_canary(souk::internals::journal(&app.shop)).await;
    assert_eq!((left.states, left.entries), (0, 0));
    let app = app.restart().await;
    app.anonymous().get(&path).await.problem(404, "not-found");
}

#[tokio::test]
async fn the_address_of_an_erased_customer_can_register_again() {
    let app = TestApp::new().await;
    let seller = app.seller().await;
    let (former, _) = customer(&app).await;
    let bought = order(&former, "CABLE").await;
    deliver(&former, &seller, &bought).await;
    erase(&former, PASSWORD).await.expect(204);
    let (next, _) = customer(&app).await;
    assert_ne!(next.user_id, former.user_id);
    assert_eq!(next.get("/orders").await.expect(200)["items"], json!([]));
    next.get(&format!("/orders/{bought}")).await.problem(404, "not-found");
    order(&next, "CABLE").await;
    former.get("/cart").await.problem(401, "unauthorized");
    let app = app.restart().await;
    app.again(&next).get("/cart").await.expect(200);
    app.again(&former).get("/cart").await.problem(401, "unauthorized");
}

#[tokio::test]
async fn admins_erase_a_customer_by_e_mail_address() {
    let app = TestApp::new().await;
    let (seller, admin) = (app.seller().await, app.user("admin", Role::Admin).await);
    let (client, _) = customer(&app).await;
    for stranger in [&seller, &client] {
        erase_customer(stranger, EMAIL).await.problem(403, "forbidden");
    }
    erase_customer(&app.anonymous(), EMAIL).await.problem(401, "unauthorized");
    erase_customer(&admin, "nobody@example.com").await.problem(404, "not-found");
    let refused = erase_customer(&admin, "nobody").await.problem(422, "invalid-body");
    assert_eq!(refused["errors"][0]["pointer"], "#/email");
    for email in ["seller@example.com", "admin@example.com"] {
        erase_customer(&admin, email).await.problem(403, "not-erasable");
    }
    erase(&seller, PASSWORD).await.problem(403, "not-erasable");

    let open = order(&client, "CABLE").await;
    let refused = erase_customer(&admin, EMAIL).await.problem(409, "orders-unfinished");
    assert_eq!(refused["order_ids"], json!([open]));
    client.act(&format!("/orders/{open}/cancel")).await.expect(200);
    for _ in 0..2 {
        erase_customer(&admin, "ZYXWVUT@example.com").await.expect(204);
    }
    client.get("/cart").await.problem(401, "unauthorized");
    seller.get("/cart").await.expect(200);
}
