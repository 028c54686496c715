//! Products: their pages, and who may write them.

use serde_json::{Value, json};
use souk::domain::account::Role;

use crate::support::{TestApp, product};

#[tokio::test]
async fn a_product_page_shows_price_stock_and_rating() {
    let app = TestApp::new().await;
    let seller = app.seller().await;
    let answer = app.anonymous().get("/products/CABLE").await;
    let page = answer.expect(200);
    assert_eq!(page["id"], "CABLE");
    assert_eq!(page["name"], "Braided USB cable");
    assert_eq!(page["price"], json!({"amount": 10_000, "currency": "INR"}));
    assert_eq!(page["quantity"], 10);
    assert_eq!(page["rating"], json!({"average": 0.0, "count": 0}));
    assert_eq!(page["attributes"], json!({"colour": "black"}));
    assert_eq!(page["category"], json!(["Electronics", "Cables"]));
    assert_eq!(page["thumbnail_url"], "https://images.example/1.jpg", "the first image, where none is named");
    assert_eq!((&page["purchasable"], &page["version"]), (&json!(true), &json!(1)));
    assert_eq!(page["seller_id"], seller.user_id);
    assert_eq!(answer.header("etag"), "\"p1-s10.0-r0.0-v0-n0\"");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    app.anonymous().get("/products/NOTHING").await.problem(404, "not-found");
}

#[tokio::test]
async fn pictures_have_alternative_texts_and_addresses_alone_go_on_to_work() {
    let app = TestApp::new().await;
    let seller = app.seller().await;
    let mut fields = product("CABLE", "Braided USB cable", 10_000);
    let put = |fields: &Value| {
        let (seller, fields) = (seller.clone(), fields.clone());
        async move { seller.put("/products/CABLE", &fields).await }
    };
    let picture = |number: u8, alt: Option<&str>| json!({"url": format!("https://i.example/{number}"), "alt": alt});
    fields["images"] = Value::Null;
    fields["pictures"] = json!([picture(1, Some("A black cable")), picture(2, None)]);
    let page = put(&fields).await.expect(200);
    assert_eq!(page["pictures"], fields["pictures"]);
    assert_eq!(page["images"], json!(["https://i.example/1", "https://i.example/2"]));
    assert_eq!((&page["thumbnail_url"], &page["thumbnail_alt"]), (&page["images"][0], &json!("A black cable")));

    fields["thumbnail_url"] = json!("https://i.example/small");
    let page = put(&fields).await.expect(200);
    assert_eq!((&page["thumbnail_url"], &page["thumbnail_alt"]), (&fields["thumbnail_url"], &json!("A black cable")));
    fields["thumbnail_alt"] = json!("Coiled");
    fields["images"] = page["images"].clone();
    assert_eq!(put(&fields).await.expect(200)["thumbnail_alt"], "Coiled");
    let customer = app.customer("asha").await;
    let cart = customer.post("/cart/add_products", &json!({"product_id": "CABLE", "quantity": 1})).await.expect(200);
    assert_eq!(cart["items"][0]["thumbnail_alt"], "Coiled");
    app.caught_up().await;
    let hit = &app.anonymous().get("/products?q=cable").await.expect(200)["items"][0];
    assert_eq!((&hit["thumbnail_url"], &hit["thumbnail_alt"]), (&fields["thumbnail_url"], &json!("Coiled")));

    fields["images"] = json!(["https://i.example/2"]);
    put(&fields).await.problem(422, "invalid-body");
    fields["pictures"] = json!([]);
    put(&fields).await.problem(422, "invalid-body");
    fields["images"] = json!([]);
    fields["thumbnail_url"] = Value::Null;
    put(&fields).await.problem(422, "invalid-body");
    fields["pictures"] = json!([picture(1, Some(&"x".repeat(513)))]);
    fields["images"] = Value::Null;
    put(&fields).await.problem(422, "invalid-body");
}

#[tokio::test]
async fn sellers_have_names_that_product_pages_show() {
    let app = TestApp::new().await;
    let (seller, admin) = (app.seller().await, app.user("admin", Role::Admin).await);
    let (other, customer) = (app.user("other", Role::Seller).await, app.customer("asha").await);
    let path = format!("/sellers/{}", seller.user_id);
    let name = |name: &str| json!({"name": name});
    let before = customer.get("/products/CABLE").await;
    assert_eq!(before.expect(200)["seller"], json!({"id": seller.user_id, "name": null}));
    app.anonymous().get(&path).await.problem(404, "not-found");
    app.anonymous().get("/sellers/nobody").await.problem(404, "not-found");

    assert_eq!(seller.put(&path, &name("Cables of Pune")).await.expect(200)["name"], "Cables of Pune");
    assert_eq!(app.anonymous().get(&path).await.expect(200), json!({"id": seller.user_id, "name": "Cables of Pune"}));
    let changed = customer.get_with("/products/CABLE", &[("if-none-match", before.header("etag"))]).await;
    assert_eq!(changed.expect(200)["seller"]["name"], "Cables of Pune");
    for stranger in [&other, &customer] {
        stranger.put(&path, &name("Mine")).await.problem(403, "forbidden");
    }
    app.anonymous().put(&path, &name("Mine")).await.problem(401, "unauthorized");
    for bad in [" ", "A\nB", &"x".repeat(101)] {
        seller.put(&path, &name(bad)).await.problem(422, "invalid-body");
    }
    admin.put(&path, &name("Cables")).await.expect(200);
    let app = app.restart().await;
    assert_eq!(app.anonymous().get(&path).await.expect(200)["name"], "Cables");
}

#[tokio::test]
async fn the_etag_changes_with_all_that_is_shown_and_writes_compare_the_product_only() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let tag = customer.get("/products/CABLE").await.header("etag").to_owned();
    let cached = customer.get_with("/products/CABLE", &[("if-none-match", &tag)]).await;
    assert_eq!((cached.expect(304), cached.header("etag")), (Value::Null, tag.as_str()));
    customer.get_with("/products/CABLE", &[("if-none-match", &format!("\"other\", {tag}"))]).await.expect(304);
    customer.get_with("/products/CABLE", &[("if-none-match", "\"other\"")]).await.expect(200);

    customer.order("CABLE", 1).await;
    let sold = customer.get_with("/products/CABLE", &[("if-none-match", &tag)]).await;
    assert_eq!(sold.expect(200)["quantity"], 9);
    let review = json!({"rating": 4, "title": "Fine"});
    customer.post("/products/CABLE/reviews", &review).await.expect(201);
    let rated = customer.get_with("/products/CABLE", &[("if-none-match", sold.header("etag"))]).await;
    assert_eq!(rated.expect(200)["rating"], json!({"average": 4.0, "count": 1}));

    let revised = product("CABLE", "Braided USB-C cable", 12_000);
    let put = |tag: &str| {
        let (seller, revised, tag) = (seller.clone(), revised.clone(), tag.to_owned());
        async move { seller.send("PUT", "/products/CABLE", &[("if-match", &tag)], &revised).await }
    };
    let page = put(&tag).await.expect(200);
    assert_eq!((&page["version"], &page["name"]), (&json!(2), &json!("Braided USB-C cable")));
    assert_eq!(put(&tag).await.problem(412, "version-mismatch")["current_version"], 2);
    put("*").await.expect(200);
    put("p2").await.problem(400, "invalid-etag");
    let delist = seller.request("DELETE", "/products/CABLE", &[("if-match", &tag)], axum::body::Body::empty());
    seller.raw(delist).await.problem(412, "version-mismatch");
    customer.get("/products/CABLE").await.expect(200);
}

#[tokio::test]
async fn products_belong_to_their_sellers() {
    let app = TestApp::new().await;
    let seller = app.seller().await;
    let (other, customer) = (app.user("other", Role::Seller).await, app.customer("asha").await);
    let revised = product("CABLE", "Mine now", 1);
    for stranger in [&other, &customer] {
        stranger.put("/products/CABLE", &revised).await.problem(403, "forbidden");
        stranger.delete("/products/CABLE").await.problem(403, "forbidden");
    }
    other.get("/products/CABLE/inventory").await.problem(403, "forbidden");
    other.post("/products/CABLE/inventory/receipts", &json!({"quantity": 1})).await.problem(403, "forbidden");
    customer.post("/products", &product("MINE", "Mine", 1)).await.problem(403, "forbidden");
    customer.get("/products/CABLE/inventory").await.problem(403, "forbidden");
    app.anonymous().post("/products", &product("MINE", "Mine", 1)).await.problem(401, "unauthorized");
    assert_eq!(seller.get("/products/CABLE").await.expect(200)["version"], 1);
    app.user("admin", Role::Admin).await.put("/products/CABLE", &revised).await.expect(200);
    let page = seller.get("/products/CABLE").await.expect(200);
    assert_eq!((&page["seller_id"], &page["version"]), (&json!(seller.user_id), &json!(2)), "the owner stays");
}

#[tokio::test]
async fn a_product_is_created_once_and_gets_an_id_by_default() {
    let app = TestApp::new().await;
    let seller = app.user("seller", Role::Seller).await;
    let created = seller.post("/products", &product("CABLE", "Cable", 100)).await;
    created.expect(201);
    assert_eq!(created.header("location"), "/products/CABLE");
    seller.post("/products", &product("CABLE", "Cable", 100)).await.expect(201);
    seller.post("/products", &product("CABLE", "Another", 100)).await.problem(409, "already-exists");
    let other_id = seller.put("/products/CABLE", &product("CORD", "Cord", 100)).await.problem(422, "invalid-body");
    assert_eq!(other_id["errors"][0]["pointer"], "#/id");

    let nameless = json!({"name": "Nameless"});
    let first = seller.post("/products", &nameless).await.expect(201);
    let other = seller.post("/products", &nameless).await.expect(201);
    assert_ne!(first["id"], other["id"]);
    assert_eq!((&first["price"], &first["purchasable"]), (&json!(null), &json!(false)));
}

#[tokio::test]
async fn a_delisted_product_is_visible_to_its_seller_only() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    seller.delete("/products/CABLE").await.expect(204);
    customer.get("/products/CABLE").await.problem(404, "not-found");
    customer.get("/products/CABLE/reviews").await.problem(404, "not-found");
    assert_eq!(seller.get("/products/CABLE").await.expect(200)["purchasable"], false);
    let add = json!({"product_id": "CABLE", "quantity": 1});
    customer.post("/cart/add_products", &add).await.problem(404, "not-found");
    app.caught_up().await;
    assert_eq!(customer.get("/products?q=cable").await.expect(200)["total"], 0);
    seller.put("/products/CABLE", &product("CABLE", "Cable again", 100)).await.expect(200);
    customer.post("/cart/add_products", &add).await.expect(200);
    app.caught_up().await;
    assert_eq!(customer.get("/products?q=cable").await.expect(200)["total"], 1);
}

#[tokio::test]
async fn variants_are_chosen_and_shown_with_their_own_price_and_stock() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let shirt = json!({
        "id": "SHIRT", "name": "Shirt", "price": {"amount": 50_000, "currency": "INR"},
        "variants": [
            {"product_id": "SHIRT-M", "options": {"size": "M"}},
            {"product_id": "SHIRT-L", "options": {"size": "L"}}
        ]
    });
    let mut medium = product("SHIRT-M", "Shirt M", 50_000);
    medium["variant_of"] = json!("SHIRT");
    seller.post("/products", &shirt).await.expect(201);
    seller.post("/products", &medium).await.expect(201);
    seller.put("/products/SHIRT-M/inventory", &json!({"on_hand": 3})).await.expect(200);

    let answer = customer.get("/products/SHIRT").await;
    let page = answer.expect(200);
    assert_eq!(page["purchasable"], false);
    assert_eq!((&page["variants"][0]["options"], &page["variants"][0]["quantity"]), (&json!({"size": "M"}), &json!(3)));
    assert_eq!(page["variants"][1]["price"], json!(null), "not in the shop yet");

    let add = |id: &str| json!({"product_id": id, "quantity": 1});
    let refused = customer.post("/cart/add_products", &add("SHIRT")).await.problem(422, "choose-variant");
    assert_eq!(refused["variants"], json!(["SHIRT-M", "SHIRT-L"]));
    customer.post("/cart/add_products", &add("SHIRT-M")).await.expect(200);
    assert_eq!(customer.get("/products/SHIRT-M").await.expect(200)["variant_of"], "SHIRT");

    seller.put("/products/SHIRT-M/inventory", &json!({"on_hand": 2})).await.expect(200);
    let known = customer.get_with("/products/SHIRT", &[("if-none-match", answer.header("etag"))]).await;
    assert_eq!(known.expect(200)["variants"][0]["quantity"], 2);
}
