//! An `Idempotency-Key` on every `POST`: one effect for two requests, at the same time or after a restart, and none for
//! another body.
//!
//! A `POST` of the document that is in neither table fails the test, so that a new one cannot be forgotten.

use std::collections::BTreeSet;

use axum::body::Body;
use serde_json::{Value, json};
use souk::{
    clock::Clock,
    config::{Config, Sellers},
    domain::account::Role,
    shop::Error,
};

use crate::{
    provider::{Provider, shop_at},
    recorded::{Process, World},
    support::{Answer, Client, PASSWORD, TestApp, checkout, operations, product, units},
    webhooks,
};

/// Operations whose answers must not be kept, and the notices of the provider.
const WITHOUT_KEY: [&str; 4] =
    ["/auth/login", "/auth/refresh", "/orders/{order_id}/events/tickets", "/webhooks/{provider}"];

/// A request in a shop where it can succeed, and where its effect is seen.
struct Scene {
    _provider: Provider,
    app: TestApp,
    client: Client,
    path: String,
    body: Value,
    /// Another body, if the operation has one.
    other: Option<Value>,
    /// Who sees the effect, and where.
    seen: (Client, String),
    /// What of that the request changes by one; `None` where nothing is to be seen.
    count: Option<Count>,
}

type Count = fn(&Value) -> usize;

/// How often the order's history has a status.
fn had(shown: &Value, status: &str) -> usize {
    shown["history"].as_array().unwrap().iter().filter(|entry| entry["status"] == status).count()
}

/// Of a list that is left out where it is empty.
fn length(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

/// A shop whose provider is at hand, and its people.
struct Shop {
    provider: Provider,
    app: TestApp,
    seller: Client,
    customer: Client,
    admin: Client,
}

impl Shop {
    async fn open(change: impl FnOnce(&mut Config)) -> Self {
        let provider = Provider::new().await;
        let change = |config: &mut Config| {
            webhooks::secrets(config);
            change(config);
        };
        let (app, seller, customer) = shop_at(&provider.url, change, Clock::system()).await;
        let admin = app.user("admin", Role::Admin).await;
        Self { provider, app, seller, customer, admin }
    }

    fn scene(self, client: &Client, path: &str, body: Value, seen: (&Client, &str), count: Count) -> Scene {
        Scene { count: Some(count), ..self.unseen(client, path, body, seen) }
    }

    fn unseen(self, client: &Client, path: &str, body: Value, seen: (&Client, &str)) -> Scene {
        let (client, seen) = (client.clone(), (seen.0.clone(), seen.1.to_owned()));
        let Self { provider, app, .. } = self;
        Scene { _provider: provider, app, client, path: path.to_owned(), body, other: None, seen, count: None }
    }
}

impl Scene {
    fn or(mut self, other: Value) -> Self {
        self.other = Some(other);
        self
    }

    async fn send(&self, key: &str, body: &Value) -> Answer {
        match body {
            Value::Null => {
                let request = self.client.request("POST", &self.path, &[("idempotency-key", key)], Body::empty());
                self.client.raw(request).await
            }
            body => self.client.post_with_key(&self.path, key, body).await,
        }
    }

    async fn counted(&self) -> usize {
        self.app.caught_up().await;
        let seen = self.seen.0.get(&self.seen.1).await.expect(200);
        self.count.map_or(0, |count| count(&seen))
    }

    async fn restart(self) -> Self {
        let app = self.app.restart().await;
        let (client, seen) = (app.again(&self.client), (app.again(&self.seen.0), self.seen.1));
        Self { app, client, seen, ..self }
    }
}

/// A request of each operation.
async fn scene(path: &str) -> Option<Scene> {
    let change = |config: &mut Config| {
        config.payments.capture_later = path.ends_with("/capture");
        if path.starts_with("/admin/sellers") {
            config.registration.sellers = Sellers::Approval;
        }
    };
    let shop = Shop::open(change).await;
    match path.split('/').nth(1)? {
        "products" => scene_of_product(shop, path),
        "orders" => scene_of_order(shop, path).await,
        "admin" => scene_of_operator(shop, path).await,
        _ => scene_of_customer(shop, path).await,
    }
}

const CABLE: &str = "/products/CABLE";

fn scene_of_product(shop: Shop, path: &str) -> Option<Scene> {
    let (seller, customer) = (shop.seller.clone(), shop.customer.clone());
    Some(match path {
        "/products" => {
            let named = |name: &str| json!({"name": name, "price": {"amount": 100, "currency": "INR"}});
            let all = |page: &Value| length(&page["items"]);
            let other = product("OTHER", "Lamp", 100);
            shop.scene(&seller, path, named("Lamp"), (&seller, path), all).or(other)
        }
        "/products/{product_id}/inventory/receipts" => {
            let inventory = format!("{CABLE}/inventory");
            let received = |shown: &Value| usize::try_from(shown["received"].as_u64().unwrap()).unwrap();
            let body = json!({"quantity": 1});
            let path = format!("{inventory}/receipts");
            shop.scene(&seller, &path, body, (&seller, &inventory), received).or(json!({"quantity": 2}))
        }
        "/products/{product_id}/inventory/adjustments" => {
            let inventory = format!("{CABLE}/inventory");
            let received = |shown: &Value| usize::try_from(shown["received"].as_u64().unwrap()).unwrap();
            let path = format!("{inventory}/adjustments");
            let body = json!({"delta": 1, "adjustment_id": "shelf"});
            shop.scene(&seller, &path, body, (&seller, &inventory), received).or(json!({"delta": 1}))
        }
        "/products/{product_id}/reviews" => {
            let path = format!("{CABLE}/reviews");
            let review = |title: &str| json!({"rating": 5, "title": title});
            let all = |page: &Value| length(&page["items"]);
            shop.scene(&customer, &path, review("Good"), (&customer, &path), all).or(review("Bad"))
        }
        _ => return None,
    })
}

async fn scene_of_customer(shop: Shop, path: &str) -> Option<Scene> {
    let (seller, customer) = (shop.seller.clone(), shop.customer.clone());
    Some(match path {
        "/cart/add_products" => {
            let add = |quantity: u32| json!({"product_id": "CABLE", "quantity": quantity});
            let units = |cart: &Value| {
                cart["items"][0]["quantity"].as_u64().map_or(0, |quantity| usize::try_from(quantity).unwrap())
            };
            shop.scene(&customer, path, add(1), (&customer, "/cart"), units).or(add(2))
        }
        "/checkout" => {
            let cart = customer.add("CABLE", 1).await;
            let all = |page: &Value| length(&page["items"]);
            let mut other = checkout(&cart["total"]);
            other["shipping_address"]["city"] = json!("Pune");
            shop.scene(&customer, path, checkout(&cart["total"]), (&customer, "/orders"), all).or(other)
        }
        "/payment" => {
            let order = customer.order("CABLE", 1).await;
            let pay = |method: &str| json!({"order_id": order, "payment_method": method});
            let seen = format!("/orders/{order}/payments");
            shop.scene(&customer, path, pay("tok_success"), (&customer, &seen), length).or(pay("tok_decline"))
        }
        "/auth/register" => {
            let register = |password: &str| json!({"email": "ravi@example.com", "password": password, "name": "Ravi"});
            let anonymous = shop.app.anonymous();
            let other = register("another one than that");
            shop.unseen(&anonymous, path, register(PASSWORD), (&customer, "/cart")).or(other)
        }
        "/auth/logout" => shop.unseen(&customer, path, Value::Null, (&seller, "/cart")),
        _ => return None,
    })
}

async fn scene_of_operator(shop: Shop, path: &str) -> Option<Scene> {
    let (seller, customer, admin) = (shop.seller.clone(), shop.customer.clone(), shop.admin.clone());
    Some(match path {
        "/admin/sellers/{seller_id}/approve" | "/admin/sellers/{seller_id}/refuse" => {
            let register = json!({"email": "new@example.com", "password": PASSWORD, "role": "seller"});
            let registered = shop.app.anonymous().post("/auth/register", &register).await.expect(201);
            let path = path.replace("{seller_id}", registered["user_id"].as_str().unwrap());
            let decided = |listed: &Value| 1 - length(&listed["items"]);
            let seen = (&admin, "/admin/sellers");
            if path.ends_with("approve") {
                shop.scene(&admin, &path, Value::Null, seen, decided)
            } else {
                let note = |note: &str| json!({"note": note});
                shop.scene(&admin, &path, note("no address"), seen, decided).or(note("no name"))
            }
        }
        "/admin/payments/reconciliation" => shop.unseen(&admin, path, Value::Null, (&admin, path)),
        "/admin/payments/notices/{notice_id}/dismiss" => {
            let unknown = "0".repeat(31) + "7";
            webhooks::tell(&shop.app, &webhooks::notice("succeeded", &unknown)).await.expect(204);
            let list = "/admin/payments/notices";
            let kept = admin.get(list).await.expect(200);
            let path = format!("{list}/{}/dismiss", kept[0]["notice_id"].as_str().unwrap());
            let note = |note: &str| json!({"note": note});
            let gone = |kept: &Value| 1 - length(kept);
            shop.scene(&admin, &path, note("a test"), (&admin, list), gone).or(note("another"))
        }
        "/admin/payments/attention/{order_id}" => {
            let order = customer.order("CABLE", 2).await;
            customer.pay(&order, "tok_refund_fails").await.expect(200);
            seller.deliver(&order).await;
            seller.refund(&order, &json!({"items": units(&[("CABLE", 1)]), "reason": "broken"})).await.expect(201);
            let path = format!("/admin/payments/attention/{order}");
            // Each retry fails and is an issue again.
            let retry = |note: &str| json!({"action": "retry", "note": note});
            let refunds = |shown: &Value| length(&shown["order"]["refunds"]);
            shop.scene(&admin, &path, retry("once"), (&admin, &path), refunds).or(retry("again"))
        }
        _ => return None,
    })
}

/// A request of each operation on an order.
async fn scene_of_order(shop: Shop, path: &str) -> Option<Scene> {
    let (seller, customer) = (shop.seller.clone(), shop.customer.clone());
    let none = Value::Null;
    let parcel = |number: &str| json!({"carrier": "Blue Dart", "tracking_number": number});
    let back = |quantity: u32, reason: &str| json!({"items": units(&[("CABLE", quantity)]), "reason": reason});
    let order = customer.order("CABLE", 3).await;
    let at = format!("/orders/{order}");
    let pay = async || customer.pay(&order, "tok_success").await.expect(200);
    let action = path.strip_prefix("/orders/{order_id}")?;
    let path = format!("{at}{}", action.replace("{number}", "1"));
    Some(match action {
        "/cancel" => {
            let count = |shown: &Value| had(shown, "cancelled");
            shop.scene(&customer, &path, none, (&customer, &at), count)
        }
        "/abandon_payment" => {
            customer.pay(&order, "tok_3ds").await.expect(202);
            let voided = |payments: &Value| usize::from(payments[0]["status"] == "voided");
            shop.scene(&customer, &path, none, (&customer, &format!("{at}/payments")), voided)
        }
        "/capture" => {
            pay().await;
            let paid = |shown: &Value| had(shown, "paid");
            shop.scene(&seller, &path, none, (&seller, &at), paid)
        }
        "/pack" => {
            pay().await;
            let count = |shown: &Value| had(shown, "packed");
            shop.scene(&seller, &path, none, (&seller, &at), count)
        }
        "/ship" => {
            pay().await;
            let count = |shown: &Value| had(shown, "shipped");
            shop.scene(&seller, &path, parcel("BD1"), (&seller, &at), count).or(parcel("BD2"))
        }
        "/deliver" => {
            pay().await;
            seller.post(&format!("{at}/ship"), &parcel("BD1")).await.expect(200);
            let count = |shown: &Value| had(shown, "delivered");
            shop.scene(&seller, &path, none, (&seller, &at), count)
        }
        "/refunds" => {
            pay().await;
            seller.deliver(&order).await;
            let count = |shown: &Value| length(&shown["refunds"]);
            shop.scene(&seller, &path, back(1, "broken"), (&seller, &at), count).or(back(2, "broken"))
        }
        "/returns" => {
            pay().await;
            seller.deliver(&order).await;
            let count = |shown: &Value| length(&shown["returns"]);
            shop.scene(&customer, &path, back(1, "too short"), (&seller, &at), count).or(back(1, "too long"))
        }
        "/returns/{number}/receive" | "/returns/{number}/reject" => {
            pay().await;
            seller.deliver(&order).await;
            customer.post(&format!("{at}/returns"), &back(1, "too short")).await.expect(201);
            if action.ends_with("receive") {
                let count = |shown: &Value| length(&shown["refunds"]);
                let receive = |restock: bool| json!({"restock": restock});
                shop.scene(&seller, &path, receive(true), (&seller, &at), count).or(receive(false))
            } else {
                let count = |shown: &Value| usize::from(shown["returns"][0]["status"] == "rejected");
                let reject = |note: &str| json!({"note": note});
                shop.scene(&seller, &path, reject("worn"), (&seller, &at), count).or(reject("torn"))
            }
        }
        _ => return None,
    })
}

/// What identifies the thing that an answer shows.
fn named(answer: &Answer) -> Vec<Value> {
    if answer.text.is_empty() {
        return Vec::new();
    }
    let body = answer.json();
    ["id", "order_id", "user_id", "product_id"].iter().map(|name| body[*name].clone()).collect()
}

#[tokio::test]
async fn a_post_with_a_key_takes_effect_once() {
    TestApp::new().await;
    let posts = operations().into_iter().filter(|(_, method, _)| method == "POST");
    for (path, _, _) in posts.filter(|(path, ..)| !WITHOUT_KEY.contains(&path.as_str())) {
        let scene = scene(&path).await.unwrap_or_else(|| panic!("how is POST {path} tried?"));
        let before = scene.counted().await;
        let (one, two) = tokio::join!(scene.send("k", &scene.body), scene.send("\"k\"", &scene.body));
        assert!(one.status.is_success(), "{path}: {one:?}");
        assert_eq!(one.header("idempotent-replayed"), "", "{path}");
        two.problem(409, "idempotency-key-in-use");
        assert_eq!(two.header("retry-after"), "1", "{path}");
        let two = scene.send("\"k\"", &scene.body).await;
        assert!(two.status.is_success(), "{path}: {two:?}");
        assert_eq!((two.header("idempotent-replayed"), named(&two)), ("true", named(&one)), "{path}");
        let after = scene.counted().await;
        assert_eq!(after, before + usize::from(scene.count.is_some()), "{path}: one effect");

        let scene = scene.restart().await;
        let again = scene.send("k", &scene.body).await;
        assert!(again.status.is_success(), "{path}: {again:?}");
        assert_eq!((again.header("idempotent-replayed"), named(&again)), ("true", named(&one)), "{path}");
        if let Some(other) = &scene.other {
            scene.send("k", other).await.problem(422, "idempotency-key-reused");
        }
        assert_eq!(scene.counted().await, after, "{path}: no other effect");
        for bad in ["", "\"open", "\u{e9}\u{fc}", &"k".repeat(256)] {
            let refused = scene.send(bad, &scene.body).await;
            refused.problem(400, "invalid-idempotency-key");
        }
        assert_eq!(scene.counted().await, after, "{path}: refused");
    }
}

#[tokio::test]
async fn a_post_whose_answer_must_not_be_kept_takes_no_key() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    let order = customer.order("CABLE", 1).await;
    let mut refused = BTreeSet::new();
    for (path, method, operation) in operations() {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let takes_key = parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key");
        assert!(!takes_key || method == "POST", "{method} {path}");
        if method == "POST" && !takes_key {
            let target = path.replace("{order_id}", &order).replace("{provider}", "simulator");
            let answer = customer.send_text("POST", &target, &[("idempotency-key", "k")], "{}").await;
            answer.problem(400, "idempotency-key-not-taken");
            refused.insert(path);
        }
    }
    assert_eq!(refused, WITHOUT_KEY.map(str::to_owned).into());
    // Other methods repeat themselves without harm, so there the header means nothing.
    customer.get_with("/cart", &[("idempotency-key", "k")]).await.expect(200);
}

#[tokio::test]
async fn a_key_belongs_to_its_caller_and_to_what_the_path_names() {
    let app = TestApp::new().await;
    let (seller, asha, ravi) = (app.seller().await, app.customer("asha").await, app.customer("ravi").await);
    let add = json!({"product_id": "CABLE"});
    for client in [&asha, &ravi] {
        let added = client.post_with_key("/cart/add_products", "k", &add).await;
        assert_eq!(
            (added.expect(200)["items"][0]["quantity"].clone(), added.header("idempotent-replayed")),
            (json!(1), "")
        );
    }
    for product in ["CABLE", "PHONE"] {
        let path = format!("/products/{product}/inventory/receipts");
        let before = seller.inventory(product).await["received"].as_u64().unwrap();
        let stock = seller.post_with_key(&path, "k", &json!({"quantity": 1})).await.expect(200);
        assert_eq!(stock["received"], before + 1);
    }
    // A refusal leaves the key free, and what does not matter in JSON does not matter here.
    let path = "/products/CABLE/inventory/receipts";
    seller.post_with_key(path, "free", &json!({"quantity": 0})).await.problem(422, "invalid-body");
    let headers = [("idempotency-key", "free")];
    seller.send_text("POST", path, &headers, "{\"receipt_id\":\"lorry\",\"quantity\":3}").await.expect(200);
    let again = seller.send_text("POST", path, &headers, " { \"quantity\": 3, \"receipt_id\": \"lorry\" }").await;
    again.expect(200);
    assert_eq!(again.header("idempotent-replayed"), "true");
}

/// The key is new, so nothing is repeated.
#[tokio::test]
async fn a_request_that_finds_nothing_to_change_is_no_repeat_and_leaves_its_key_free() {
    let app = TestApp::new().await;
    let (seller, asha) = (app.seller().await, app.customer("asha").await);
    let admin = app.user("admin", Role::Admin).await;
    let order = asha.buy("CABLE", 1).await;
    let act = async |client: &Client, path: &str, key: &str| {
        let request = client.request("POST", path, &[("idempotency-key", key)], Body::empty());
        let answer = client.raw(request).await;
        answer.expect(200);
        answer.header("idempotent-replayed").to_owned()
    };
    let pack = format!("/orders/{order}/pack");
    assert_eq!(act(&seller, &pack, "first").await, "");
    for mark in ["", ""] {
        assert_eq!(act(&seller, &pack, "second").await, mark, "it was packed before");
    }
    assert_eq!(act(&seller, &pack, "first").await, "true");
    let approve = format!("/admin/sellers/{}/approve", seller.user_id);
    assert_eq!([act(&admin, &approve, "a").await, act(&admin, &approve, "b").await], ["", ""]);
    assert_eq!(act(&admin, &approve, "a").await, "true");
}

/// As where a client gives up: the key is free when nobody waits for the answer.
#[tokio::test]
async fn a_request_that_is_given_up_gives_its_key_back() {
    let app = TestApp::new().await;
    app.seller().await;
    let who = app.shop.principal("seller@example.com").await.unwrap();
    let shop = app.shop.once(&who, "receive", "k", b"5").unwrap();
    for body in [b"5", b"6"] {
        assert!(matches!(app.shop.once(&who, "receive", "k", body), Err(Error::KeyInUse)));
    }
    assert!(app.shop.once(&who, "receive", "other", b"5").is_ok());
    assert!(app.shop.once(&who, "count", "k", b"5").is_ok());
    drop(shop);
    assert!(app.shop.once(&who, "receive", "k", b"5").is_ok());
}

#[tokio::test]
async fn a_key_names_one_product_whatever_id_the_body_gives_it() {
    let app = TestApp::new().await;
    let seller = app.seller().await;
    let lamp = product("LAMP", "Lamp", 100);
    seller.post_with_key("/products", "bad", &json!({"id": "LAMP", "name": " "})).await.problem(422, "invalid-body");
    seller.post_with_key("/products", "bad", &lamp).await.expect(201);
    let again = seller.post_with_key("/products", "bad", &lamp).await;
    assert_eq!((again.expect(201)["id"].clone(), again.header("idempotent-replayed")), (json!("LAMP"), "true"));
    seller
        .post_with_key("/products", "bad", &product("LAMP2", "Lamp", 100))
        .await
        .problem(422, "idempotency-key-reused");
    seller.get("/products/LAMP2").await.problem(404, "not-found");
    // Without a key each is a product of its own.
    let nameless = json!({"name": "Lamp"});
    let ids = [seller.post("/products", &nameless).await, seller.post("/products", &nameless).await];
    assert_ne!(ids[0].expect(201)["id"], ids[1].expect(201)["id"]);
}

/// The answer was on its way when the shop was killed, so the client sends the request again.
#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_created_once_also_when_the_shop_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut ids = BTreeSet::new();
    for life in 0..3 {
        let mut shop = Process::start(&data, &[]);
        let world = World::new(&directory.path().join(format!("history-{life}.jsonl")), &shop.url);
        let seller = world.enter("s", "seller@demo.example").await;
        let lamp = json!({"name": "Lamp", "price": {"amount": 100, "currency": "INR"}});
        let (status, made) = seller.send(reqwest::Method::POST, "/products", lamp, Some("lamp")).await.unwrap();
        assert_eq!(status, 201, "{made}");
        ids.insert(made["id"].as_str().unwrap().to_owned());
        shop.kill();
    }
    assert_eq!(ids.len(), 1);
}
