//! Sellers who wait for an admin's approval.

use serde_json::{Value, json};
use souk::{
    clock::Clock,
    config::{Config, Sellers},
    domain::account::Role,
};

use crate::support::{Client, NOW, PASSWORD, TestApp, product};

fn approval(config: &mut Config) {
    config.registration.sellers = Sellers::Approval;
}

/// A seller who has registered and logged in.
async fn seller(app: &TestApp, name: &str) -> Client {
    let email = format!("{name}@example.com");
    let register = json!({"email": email, "password": PASSWORD, "name": name, "role": "seller"});
    app.anonymous().post("/auth/register", &register).await.expect(201);
    let mut client = app.anonymous();
    let session = client.post("/auth/login", &json!({"email": email, "password": PASSWORD})).await.expect(200);
    client.token = Some(session["access_token"].as_str().unwrap().to_owned());
    client.user_id = session["user_id"].as_str().unwrap().to_owned();
    client
}

async fn listed(admin: &Client, query: &str) -> Vec<Value> {
    let page = admin.get(&format!("/admin/sellers{query}")).await.expect(200);
    page["items"].as_array().unwrap().iter().map(|item| item["seller_id"].clone()).collect()
}

#[tokio::test]
async fn a_seller_sells_nothing_until_an_admin_approves() {
    let clock = Clock::manual(NOW);
    let app = TestApp::with(approval, clock.clone()).await;
    let (asha, admin) = (seller(&app, "asha").await, app.user("admin", Role::Admin).await);
    assert_eq!(asha.get("/account").await.expect(200)["standing"], "waiting");
    asha.post("/products", &product("MUG", "Mug", 100)).await.problem(403, "seller-not-approved");
    app.anonymous().get("/products/MUG").await.problem(404, "not-found");
    asha.put(&format!("/sellers/{}", asha.user_id), &json!({"name": "Mugs of Pune"})).await.expect(200);

    let waiting = admin.get("/admin/sellers").await.expect(200);
    let expected = json!([{
        "seller_id": asha.user_id, "standing": "waiting", "name": "asha", "contact": null,
        "registered_at": "2026-09-21T14:13:20.000Z"
    }]);
    assert_eq!(waiting["items"], expected);
    clock.advance_ms(1_000);
    let approve = format!("/admin/sellers/{}/approve", asha.user_id);
    for other in [&asha, &app.customer("ravi").await] {
        other.get("/admin/sellers").await.problem(403, "forbidden");
        other.act(&approve).await.problem(403, "forbidden");
    }
    let approved = admin.act(&approve).await.expect(200);
    let decision = json!({"by": admin.user_id, "at": "2026-09-21T14:13:21.000Z"});
    assert_eq!((&approved["standing"], &approved["decision"]), (&json!("approved"), &decision));
    assert_eq!(admin.act(&approve).await.expect(200), approved, "a repeat");
    assert!(listed(&admin, "").await.is_empty());
    assert_eq!(listed(&admin, "?standing=approved").await, [json!(asha.user_id)]);

    // With the same token.
    asha.post("/products", &product("MUG", "Mug", 100)).await.expect(201);
    let receipt = json!({"quantity": 3, "receipt_id": "first"});
    asha.post("/products/MUG/inventory/receipts", &receipt).await.expect(200);
    app.customer("ravi").await.buy("MUG", 1).await;
    assert_eq!(asha.get("/account").await.expect(200)["standing"], "approved");
}

#[tokio::test]
async fn a_refused_seller_knows_why_and_sends_what_was_ordered() {
    let app = TestApp::with(approval, Clock::system()).await;
    let (asha, admin) = (seller(&app, "asha").await, app.user("admin", Role::Admin).await);
    let (approve, refuse) =
        (format!("/admin/sellers/{}/approve", asha.user_id), format!("/admin/sellers/{}/refuse", asha.user_id));
    for bad in [json!({}), json!({"note": " "}), json!({"note": "x".repeat(501)})] {
        let refused = admin.post(&refuse, &bad).await.problem(422, "invalid-body");
        assert_eq!(refused["errors"][0]["pointer"], "#/note");
    }
    admin.act(&approve).await.expect(200);
    asha.post("/products", &product("MUG", "Mug", 100)).await.expect(201);
    asha.put("/products/MUG/inventory", &json!({"on_hand": 3})).await.expect(200);
    let order = app.customer("ravi").await.buy("MUG", 1).await;

    let refused = admin.post(&refuse, &json!({"note": "counterfeits"})).await.expect(200);
    assert_eq!(refused["decision"]["note"], "counterfeits");
    let own = asha.get("/account").await.expect(200);
    assert_eq!((&own["standing"], &own["note"]), (&json!("refused"), &json!("counterfeits")));
    let other = product("CUP", "Cup", 100);
    for answer in [
        asha.post("/products", &other).await,
        asha.put("/products/MUG", &product("MUG", "Mug 2", 100)).await,
        asha.put("/products/MUG/inventory", &json!({"on_hand": 30})).await,
        asha.post("/products/MUG/inventory/receipts", &json!({"quantity": 1, "receipt_id": "r"})).await,
        asha.post("/products/MUG/inventory/adjustments", &json!({"delta": 1, "adjustment_id": "a"})).await,
    ] {
        answer.problem(403, "seller-not-approved");
    }
    asha.deliver(&order).await;
    asha.delete("/products/MUG").await.expect(204);
    assert_eq!(listed(&admin, "?standing=refused").await, [json!(asha.user_id)]);
    admin.act(&approve).await.expect(200);
    asha.post("/products", &other).await.expect(201);
}

#[tokio::test]
async fn who_waits_is_listed_page_by_page_the_oldest_first_also_after_a_restart() {
    let clock = Clock::manual(NOW);
    let app = TestApp::with(approval, clock.clone()).await;
    let mut sellers = Vec::new();
    for name in ["a", "b", "c"] {
        sellers.push(json!(seller(&app, name).await.user_id));
        clock.advance_ms(1);
    }
    let admin = app.user("admin", Role::Admin).await;
    let app = app.restart().await;
    let admin = app.again(&admin);
    let first = admin.get("/admin/sellers?limit=2").await;
    let page = first.expect(200);
    assert!(first.header("link").contains("rel=\"next\""), "{first:?}");
    let cursor = page["next_cursor"].as_str().unwrap();
    let mut found: Vec<Value> =
        page["items"].as_array().unwrap().iter().map(|item| item["seller_id"].clone()).collect();
    found.extend(listed(&admin, &format!("?limit=2&after={cursor}")).await);
    assert_eq!(found, sellers);
    admin.get(&format!("/admin/sellers?standing=refused&after={cursor}")).await.problem(400, "invalid-cursor");
    admin.get("/admin/sellers?standing=king").await.problem(400, "invalid-query");
}

#[tokio::test]
async fn a_seller_whom_nobody_had_to_approve_can_be_refused_and_customers_cannot() {
    let app = TestApp::new().await;
    let (asha, admin) = (seller(&app, "asha").await, app.user("admin", Role::Admin).await);
    asha.post("/products", &product("MUG", "Mug", 100)).await.expect(201);
    asha.put("/products/MUG/inventory", &json!({"on_hand": 3})).await.expect(200);
    let app = app.restart_with(approval).await;
    let (asha, admin, ravi) = (app.again(&asha), app.again(&admin), app.customer("ravi").await);
    asha.post("/products", &product("CUP", "Cup", 100)).await.expect(201);
    assert_eq!(asha.get("/account").await.expect(200)["standing"], "approved");
    let made = app.user("made", Role::Seller).await;
    made.post("/products", &product("JUG", "Jug", 100)).await.expect(201);
    let sold = ravi.buy("MUG", 1).await;
    for id in [&ravi.user_id, &admin.user_id, &"0".repeat(32)] {
        admin.act(&format!("/admin/sellers/{id}/approve")).await.problem(404, "not-found");
    }
    assert_eq!(listed(&admin, "?standing=approved").await, [json!(asha.user_id), json!(made.user_id)]);
    for (suspended, id) in [(&asha, "CUP"), (&made, "JUG")] {
        let refuse = format!("/admin/sellers/{}/refuse", suspended.user_id);
        admin.post(&refuse, &json!({"note": "counterfeits"})).await.expect(200);
        suspended.post("/products", &product("NEW", "New", 100)).await.problem(403, "seller-not-approved");
        suspended.put(&format!("/products/{id}"), &product(id, "New", 1)).await.problem(403, "seller-not-approved");
        // What is there stays, until an admin removes it.
        app.anonymous().get(&format!("/products/{id}")).await.expect(200);
        admin.delete(&format!("/products/{id}")).await.expect(204);
    }
    asha.deliver(&sold).await;
    let both = [json!(asha.user_id), json!(made.user_id)];
    assert_eq!(listed(&admin, "?standing=refused").await, both);
    assert!(listed(&admin, "?standing=approved").await.is_empty());
    // Who is made an admin is no seller any more, and comes back as it stood.
    app.user("made", Role::Admin).await;
    assert_eq!(listed(&admin, "?standing=refused").await, both[..1]);
    app.user("made", Role::Seller)
        .await
        .post("/products", &product("NEW", "New", 100))
        .await
        .problem(403, "seller-not-approved");
    assert_eq!(listed(&admin, "?standing=refused").await, both);
    assert!(ravi.get("/account").await.expect(200).get("standing").is_none());
}
