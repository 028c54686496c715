//! Orders: reading, cancelling, fulfilling.

use serde_json::{Value, json};
use souk::{clock::Clock, domain::account::Role};

use crate::support::{NOW, TestApp, product};

fn parcel() -> Value {
    json!({"carrier": "Blue Dart", "tracking_number": "BD1"})
}

#[tokio::test]
async fn an_order_goes_from_search_to_delivery() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    app.caught_up().await;
    let found = customer.get("/products/search_item=cable").await.expect(200);
    let order = customer.buy(found["items"][0]["id"].as_str().unwrap(), 2).await;
    seller.act(&format!("/orders/{order}/pack")).await.expect(200);
    seller.post(&format!("/orders/{order}/ship"), &parcel()).await.expect(200);
    seller.act(&format!("/orders/{order}/deliver")).await.expect(200);
    let status = customer.get(&format!("/order_status={order}")).await.expect(200);
    assert_eq!((&status["status"], &status["tracking"]), (&json!("delivered"), &parcel()));
    assert_eq!(customer.get("/products/CABLE").await.expect(200)["quantity"], 8);
}

#[tokio::test]
async fn both_paths_show_the_order_and_the_list_contains_it_at_once() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    let mut orders = Vec::new();
    for count in 1..=5 {
        let order = if count == 1 { customer.buy("CABLE", 1).await } else { customer.order("CABLE", 1).await };
        let listed = customer.get("/orders").await.expect(200);
        assert_eq!(listed["items"].as_array().unwrap().len(), count);
        assert_eq!(listed["items"][0]["order_id"], order, "the newest first, at once");
        orders.push(order);
    }
    let order = customer.get(&format!("/orders/{}", orders[0])).await.expect(200);
    assert_eq!(order, customer.get(&format!("/order_status={}", orders[0])).await.expect(200));
    assert_eq!(order["status"], "confirmed");
    let history = order["history"].as_array().unwrap().iter();
    let statuses: Vec<&str> = history.map(|entry| entry["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["placed", "awaiting_payment", "payment_pending", "paid", "confirmed"]);
    assert!(order["payment_deadline"].as_str().unwrap().ends_with('Z'));

    let (mut path, mut seen) = ("/orders?limit=2".to_owned(), Vec::new());
    loop {
        let answer = customer.get(&path).await;
        let page = answer.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|order| order["order_id"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/orders?limit=2&after={cursor}");
        assert_eq!(answer.header("link"), format!("<{path}>; rel=\"next\""));
    }
    orders.reverse();
    assert_eq!(json!(seen), json!(orders));
    for query in [
        "limit=0",
        "limit=101",
        "stage=nowhere",
        "as=king",
        "limit=1&limit=2",
        "nothing=1",
        "from=soon",
        "updated_since=1",
    ] {
        customer.get(&format!("/orders?{query}")).await.problem(400, "invalid-query");
    }
    for cursor in ["!", "nonsense", &"A".repeat(342), &"A".repeat(4_000)] {
        customer.get(&format!("/orders?after={cursor}")).await.problem(400, "invalid-cursor");
    }
}

#[tokio::test]
async fn an_order_is_visible_to_its_customer_and_sellers_only() {
    let app = TestApp::new().await;
    let seller = app.seller().await;
    let (asha, ravi) = (app.customer("asha").await, app.customer("ravi").await);
    let other = app.user("other", Role::Seller).await;
    let admin = app.user("admin", Role::Admin).await;
    let order = asha.buy("CABLE", 1).await;
    for stranger in [&ravi, &other] {
        for path in ["", "/payments", "/events"] {
            stranger.get(&format!("/orders/{order}{path}")).await.problem(404, "not-found");
        }
        stranger.get(&format!("/order_status={order}")).await.problem(404, "not-found");
        for step in ["cancel", "pack", "deliver"] {
            stranger.act(&format!("/orders/{order}/{step}")).await.problem(404, "not-found");
        }
        stranger.post(&format!("/orders/{order}/ship"), &parcel()).await.problem(404, "not-found");
        assert_eq!(stranger.get("/orders").await.expect(200)["items"], json!([]));
    }
    app.anonymous().get(&format!("/orders/{order}")).await.problem(401, "unauthorized");
    seller.get(&format!("/orders/{order}")).await.expect(200);
    seller.get(&format!("/orders/{order}/payments")).await.expect(200);
    admin.get(&format!("/orders/{order}")).await.expect(200);
    asha.get("/orders/0123").await.problem(404, "not-found");

    app.caught_up().await;
    let sold = seller.get("/orders?as=seller&limit=1").await.expect(200);
    assert_eq!(sold["items"][0]["order_id"], order);
    assert_eq!(seller.get("/orders").await.expect(200)["items"], json!([]));
    assert_eq!(other.get("/orders?as=seller").await.expect(200)["items"], json!([]));
    asha.get("/orders?as=seller").await.problem(403, "forbidden");
    assert_eq!(admin.get("/orders?stage=confirmed").await.expect(200)["items"][0]["order_id"], order);
    assert_eq!(admin.get("/orders?stage=packed").await.expect(200)["items"], json!([]));
    for stranger in [&other, &seller] {
        assert_eq!(stranger.get("/orders?stage=confirmed").await.expect(200)["items"], json!([]));
    }
    assert_eq!(admin.get("/orders?stage=confirmed&as=seller").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn an_order_has_a_number_for_people_by_which_its_customer_finds_it() {
    let app = TestApp::new().await;
    app.seller().await;
    let (asha, ravi) = (app.customer("asha").await, app.customer("ravi").await);
    let (one, two) = (asha.order("CABLE", 1).await, asha.order("CABLE", 2).await);
    let number = |order: &Value| order["number"].as_str().unwrap().to_owned();
    let of_one = number(&asha.get(&format!("/orders/{one}")).await.expect(200));
    let of_two = number(&asha.get(&format!("/orders/{two}")).await.expect(200));
    assert!(of_one.len() == 14 && of_one != of_two, "{of_one} {of_two}");
    assert_eq!((&of_one[..3], &one.to_string()[..4]), (&of_two[..3], &two.to_string()[..4]), "of one customer");
    for written in [of_one.clone(), of_one.to_lowercase().replace('-', "%20")] {
        let found = asha.get(&format!("/orders?number={written}")).await.expect(200);
        assert_eq!((&found["items"][0]["order_id"], &found["items"][1]), (&json!(one), &Value::Null));
    }
    assert_eq!(ravi.get(&format!("/orders?number={of_one}")).await.expect(200)["items"], json!([]));
    let wrong = of_one.replace(&of_one[..1], if of_one.starts_with('7') { "8" } else { "7" });
    for query in [&wrong[..], "1", &format!("{of_one}&limit=1"), &format!("{of_one}&as=customer")] {
        asha.get(&format!("/orders?number={query}")).await.problem(400, "invalid-query");
    }
}

#[tokio::test]
async fn cancelling_releases_the_stock_and_restores_the_cart() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let order = customer.order("CABLE", 3).await;
    assert_eq!(seller.inventory("CABLE").await["available"], 7);
    seller.act(&format!("/orders/{order}/cancel")).await.problem(403, "forbidden");
    for _ in 0..2 {
        let cancelled = customer.act(&format!("/orders/{order}/cancel")).await.expect(200);
        assert_eq!((&cancelled["status"], &cancelled["reason"]), (&json!("cancelled"), &json!("cancelled")));
    }
    let stock = seller.inventory("CABLE").await;
    assert_eq!((&stock["available"], &stock["reserved_quantity"]), (&json!(10), &json!(0)));
    let cart = customer.get("/cart").await.expect(200);
    assert_eq!((&cart["items"][0]["product_id"], &cart["items"][0]["quantity"]), (&json!("CABLE"), &json!(3)));
    customer.pay(&order, "tok_success").await.problem(409, "wrong-order-status");

    let paid = customer.buy("PHONE", 1).await;
    for _ in 0..2 {
        let cancelled = customer.act(&format!("/orders/{paid}/cancel")).await.expect(200);
        assert_eq!((&cancelled["status"], &cancelled["refunded"]), (&json!("cancelled"), &cancelled["total"]));
    }
    let sent = customer.buy("CABLE", 1).await;
    let shipment = json!({"carrier": "Post", "tracking_number": "1"});
    seller.post(&format!("/orders/{sent}/ship"), &shipment).await.expect(200);
    let refused = customer.act(&format!("/orders/{sent}/cancel")).await.problem(409, "wrong-order-status");
    assert_eq!(refused["order_status"], "shipped");
}

#[tokio::test]
async fn an_unpaid_order_expires_and_releases_its_stock() {
    let app = TestApp::with(|config| config.payment_deadline_ms = 3_000, Clock::system()).await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let order = customer.order("PHONE", 5).await;
    app.until(&customer, &order, "expired").await;
    let expired = customer.get(&format!("/orders/{order}")).await.expect(200);
    assert_eq!(expired["reason"], "not_paid_in_time");
    assert_eq!(seller.inventory("PHONE").await["available"], 5);
    customer.pay(&order, "tok_success").await.problem(409, "wrong-order-status");
}

#[tokio::test]
async fn a_seller_packs_ships_and_delivers() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let order = customer.order("CABLE", 1).await;
    let path = |step: &str| format!("/orders/{order}/{step}");
    seller.act(&path("pack")).await.problem(409, "wrong-order-status");
    customer.pay(&order, "tok_success").await.expect(200);
    customer.act(&path("pack")).await.problem(403, "forbidden");
    seller.act(&path("deliver")).await.problem(409, "wrong-order-status");
    for _ in 0..2 {
        assert_eq!(seller.act(&path("pack")).await.expect(200)["status"], "packed", "a repeat is harmless");
    }
    let shipped = seller.post(&path("ship"), &parcel()).await.expect(200);
    assert_eq!((&shipped["status"], &shipped["tracking"]), (&json!("shipped"), &parcel()));
    seller.act(&path("pack")).await.problem(409, "wrong-order-status");
    assert_eq!(seller.act(&path("deliver")).await.expect(200)["status"], "delivered");
    customer.act(&path("cancel")).await.problem(409, "wrong-order-status");
}

#[tokio::test]
async fn only_the_seller_of_all_lines_fulfils_an_order() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let (other, admin) = (app.user("other", Role::Seller).await, app.user("admin", Role::Admin).await);
    other.post("/products", &product("LAMP", "Lamp", 500)).await.expect(201);
    other.put("/products/LAMP/inventory", &json!({"on_hand": 1})).await.expect(200);
    customer.add("LAMP", 1).await;
    let order = customer.buy("CABLE", 1).await;
    for part in [&seller, &other] {
        part.get(&format!("/orders/{order}")).await.expect(200);
        part.act(&format!("/orders/{order}/pack")).await.problem(403, "forbidden");
    }
    admin.act(&format!("/orders/{order}/pack")).await.expect(200);
}

#[tokio::test]
async fn everybody_filters_the_list_that_is_theirs() {
    let clock = Clock::manual(NOW);
    let app = TestApp::with(|_| {}, clock.clone()).await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let mut placed = Vec::new();
    // At 14:13:20, 14:14:20, 14:15:20 and 14:16:20 of 2026-09-21.
    for _ in 0..4 {
        placed.push(customer.buy("CABLE", 1).await);
        clock.advance_ms(60_000);
    }
    seller.act(&format!("/orders/{}/pack", placed[1])).await.expect(200);
    app.caught_up().await;
    let ids = |page: &Value| {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|order| order["order_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all: Vec<String> = placed.iter().rev().cloned().collect();
    for (client, whose) in [(&customer, ""), (&customer, "as=customer&"), (&seller, "as=seller&")] {
        for (filter, expected) in [
            ("limit=100", &all[..]),
            ("from=2026-09-21T14:14:20Z", &all[..3]),
            ("from=2026-09-21T14:14:20.001Z", &all[..2]),
            ("from=2026-09-21T14:14:00Z&to=2026-09-21T14:16:00Z", &all[1..3]),
            ("to=2026-09-21T14:14:20Z", &all[3..]),
            ("to=2026-09-21T19:44:20%2B05:30", &all[3..]),
            ("from=2026-09-21&to=2026-09-21", &all[..]),
            ("from=2026-09-22", &[][..]),
            ("to=2026-09-20", &[][..]),
            ("stage=packed", &all[2..3]),
            ("stage=packed&from=2026-09-21T14:15:00Z", &[][..]),
            ("stage=open", &[][..]),
            ("updated_since=2026-09-21T14:17:00Z", &all[2..3]),
            ("updated_since=2026-09-21T14:17:00Z&stage=confirmed", &[][..]),
            ("updated_since=2026-09-21T14:15:20Z", &all[..3]),
        ] {
            let page = client.get(&format!("/orders?{whose}{filter}")).await.expect(200);
            assert_eq!(ids(&page), expected, "{whose}{filter}");
        }
    }
    // One page after the other shows each order once.
    for filter in ["stage=confirmed", "updated_since=2026-09-21T14:14:20Z", "from=2026-09-21T14:14:00Z"] {
        let whole = ids(&customer.get(&format!("/orders?{filter}")).await.expect(200));
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = customer.get(&format!("/orders?{filter}&limit=1{after}")).await.expect(200);
            seen.extend(ids(&page));
            let Some(next) = page["next_cursor"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(seen, whole, "{filter}");
    }
    let number = customer.shown(&placed[0]).await["number"].as_str().unwrap().to_owned();
    assert_eq!(ids(&customer.get(&format!("/orders?number={number}")).await.expect(200)), &all[3..]);
    customer.get(&format!("/orders?number={number}&from=2026-09-21")).await.problem(400, "invalid-query");
}
