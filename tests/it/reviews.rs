//! Reviews.

use serde_json::json;
use souk::{
    domain::{
        account::Role,
        ids::{SellerId, UserId},
        product::{Details, Editor},
    },
    shop::import::{Listing, SetStock, Terms},
};

use crate::support::{TestApp, product};

#[tokio::test]
async fn a_review_is_verified_by_a_paid_order_and_replaced_by_the_next() {
    let app = TestApp::new().await;
    app.seller().await;
    let (asha, ravi) = (app.customer("asha").await, app.customer("ravi").await);
    let review = |rating: i64, title: &str| json!({"rating": rating, "title": title, "text": "As described"});
    asha.order("CABLE", 1).await;
    let unpaid = asha.post("/products/CABLE/reviews", &review(5, "Good")).await.expect(201);
    assert_eq!(unpaid["verified"], false);
    asha.buy("CABLE", 1).await;
    let paid = asha.post("/products/CABLE/reviews", &review(4, "Fine")).await.expect(201);
    assert_eq!(paid["verified"], true);
    ravi.post("/products/CABLE/reviews", &review(3, "So so")).await.expect(201);
    ravi.post("/products/CABLE/reviews", &review(3, "So so")).await.expect(200);

    let listed = app.anonymous().get("/products/CABLE/reviews").await.expect(200);
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "replaced, not added");
    assert_eq!((&items[0]["title"], &items[1]["title"]), (&json!("So so"), &json!("Fine")), "newest first");
    assert!(items.iter().all(|item| item["written_at"].as_str().unwrap().ends_with('Z')));
    let page = app.anonymous().get("/products/CABLE").await.expect(200);
    assert_eq!(page["rating"], json!({"average": 3.5, "count": 2}));

    let first = app.anonymous().get("/products/CABLE/reviews?limit=1").await.expect(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = app.anonymous().get(&format!("/products/CABLE/reviews?limit=1&after={cursor}")).await.expect(200);
    assert_eq!((&first["items"][0], &second["items"][0]), (&items[0], &items[1]));
    assert!(second.get("next_cursor").is_none());
}

#[tokio::test]
async fn a_review_that_breaks_a_rule_is_refused_with_the_field() {
    let app = TestApp::new().await;
    app.seller().await;
    let asha = app.customer("asha").await;
    for (review, pointer) in [
        (json!({"rating": 0, "title": "x"}), "#/rating"),
        (json!({"rating": 6, "title": "x"}), "#/rating"),
        (json!({"rating": 300, "title": "x"}), "#/rating"),
        (json!({"rating": 5, "title": " "}), "#/title"),
        (json!({"rating": 5, "title": "x".repeat(201)}), "#/title"),
        (json!({"rating": 5, "title": "x", "text": "x".repeat(3_001)}), "#/text"),
        (json!({"rating": 5, "title": "x", "stars": 5}), "#/stars"),
    ] {
        let refused = asha.post("/products/CABLE/reviews", &review).await.problem(422, "invalid-body");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
    let review = json!({"rating": 5, "title": "x"});
    asha.post("/products/NOTHING/reviews", &review).await.problem(404, "not-found");
    app.anonymous().post("/products/CABLE/reviews", &review).await.problem(401, "unauthorized");
    app.anonymous().get("/products/NOTHING/reviews").await.problem(404, "not-found");
    assert_eq!(asha.get("/products/CABLE/reviews").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn nobody_reviews_what_they_sell_or_manage() {
    let app = TestApp::new().await;
    let (seller, admin) = (app.seller().await, app.user("admin", Role::Admin).await);
    let (asha, other) = (app.customer("asha").await, app.user("other", Role::Seller).await);
    let best = json!({"rating": 5, "title": "Best"});
    admin.post("/products", &product("HOUSE", "The shop's own", 100)).await.expect(201);
    // An import may name the account of a customer as the seller.
    let by = Editor::Seller(SellerId::of(UserId(u128::from_str_radix(&asha.user_id, 16).unwrap())));
    let details = Details { title: "Asha's".to_owned(), ..Details::default() };
    let listing = Listing { id: "ASHAS".parse().unwrap(), details, stock: None, keep: Vec::new() };
    app.shop.import_products(Terms { by, set_stock: SetStock::Once, dry_run: false }, vec![listing]).await.unwrap();

    // Also after they have bought it.
    seller.buy("CABLE", 1).await;
    for (who, own) in [(&seller, "CABLE"), (&admin, "HOUSE"), (&admin, "CABLE"), (&asha, "ASHAS")] {
        who.post(&format!("/products/{own}/reviews"), &best).await.problem(403, "own-product");
        let page = app.anonymous().get(&format!("/products/{own}")).await.expect(200);
        assert_eq!(page["rating"]["count"], 0, "{own}");
    }
    for (who, others) in [(&seller, "HOUSE"), (&other, "CABLE"), (&asha, "CABLE")] {
        who.post(&format!("/products/{others}/reviews"), &best).await.expect(201);
    }
    // The order of the checks tells nothing of what does not exist.
    seller.post("/products/NOTHING/reviews", &best).await.problem(404, "not-found");
}

#[tokio::test]
async fn who_becomes_an_admin_keeps_the_review_of_before_and_writes_no_other() {
    let app = TestApp::new().await;
    app.seller().await;
    let asha = app.customer("asha").await;
    asha.post("/products/CABLE/reviews", &json!({"rating": 4, "title": "Fine"})).await.expect(201);
    let asha = app.user("asha", Role::Admin).await;
    asha.post("/products/CABLE/reviews", &json!({"rating": 5, "title": "Best"})).await.problem(403, "own-product");
    let page = app.anonymous().get("/products/CABLE").await.expect(200);
    assert_eq!(page["rating"], json!({"average": 4.0, "count": 1}));
}
