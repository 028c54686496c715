//! Finding products, in both forms of the path.

use serde_json::json;

use crate::support::{Client, TestApp, operations, product};

async fn ids(client: &Client, path: &str) -> Vec<String> {
    let found = client.get(path).await.expect(200);
    let items = found["items"].as_array().unwrap().iter();
    items.map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn both_search_paths_find_the_same() {
    let app = TestApp::new().await;
    let seller = app.seller().await;
    app.caught_up().await;
    let client = app.anonymous();
    let seller = format!("/products?seller={}&q=cables", seller.user_id);
    for path in [
        "/products/search_item=cable",
        "/products/search_item=CABLES",
        "/products/search_item=usb%20cable",
        "/products/search_item%3Dcable",
        "/products/search_item%3dcable",
        "/products/search_item=cable/",
        "/products/search_item=usb/cable",
        "/products/search_item=usb%2Fcable",
        "/products/search_item=/cable",
        "/products/search_item=cable?limit=5",
        "/products?q=cable",
        "/products?q=usb+cable&brand=acme&min_price=10000&max_price=10000&currency=INR",
        "/products?category=electronics%20%3E%20cables&max_price=20000",
        "/products?category=Electronics%3ECables",
        &seller,
    ] {
        assert_eq!(ids(&client, path).await, ["CABLE"], "{path}");
    }
    for path in ["/products?q=cable&min_price=10001", "/products?q=cable&currency=USD", "/products?brand=other"] {
        assert_eq!(ids(&client, path).await, [] as [&str; 0], "{path}");
    }
    assert_eq!(ids(&client, "/products?sort=price_asc").await, ["CABLE", "PHONE"]);
    assert_eq!(ids(&client, "/products?sort=price_desc").await, ["PHONE", "CABLE"]);
    let found = client.get("/products?q=cable").await.expect(200);
    assert_eq!(found["total"], 1);
    assert_eq!(found["items"][0]["price"], json!({"amount": 10_000, "currency": "INR"}));
    assert_eq!(found["items"][0]["title"], "Braided USB cable");
}

#[tokio::test]
async fn no_keywords_list_everything() {
    let app = TestApp::new().await;
    app.seller().await;
    app.caught_up().await;
    for path in ["/products/search_item=", "/products/search_item%3D", "/products/search_item=%20", "/products"] {
        assert_eq!(ids(&app.anonymous(), path).await.len(), 2, "{path}");
    }
    assert_eq!(ids(&app.anonymous(), "/products/search_item=?limit=1").await.len(), 1);
}

#[tokio::test]
async fn pages_follow_each_other_by_cursor_and_link() {
    let app = TestApp::new().await;
    let seller = app.seller().await;
    for number in 0..7 {
        seller.post("/products", &product(&format!("LAMP-{number}"), "Desk lamp", 100)).await.expect(201);
    }
    app.caught_up().await;
    let client = app.anonymous();
    for begin in ["/products?q=lamp&limit=3", "/products/search_item=lamp?limit=3"] {
        let (mut path, mut seen) = (begin.to_owned(), Vec::new());
        loop {
            let answer = client.get(&path).await;
            let page = answer.expect(200);
            seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].to_string()));
            assert_eq!(page["total"], 7);
            let Some(cursor) = page["next_cursor"].as_str() else {
                assert_eq!(answer.header("link"), "");
                break;
            };
            path = format!("{begin}&after={cursor}");
            assert_eq!(answer.header("link"), format!("<{path}>; rel=\"next\""));
        }
        assert_eq!(seen.len(), 7);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 7, "nothing twice");
    }
    client.get("/products?q=other&after=zzzz").await.problem(400, "invalid-cursor");
}

#[tokio::test]
async fn unknown_or_invalid_parameters_are_refused() {
    let app = TestApp::new().await;
    let client = app.anonymous();
    for query in [
        "qq=a",
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=%20",
        "limt=",
        "min_price=-1",
        "max_price=1.5",
        "currency=inr",
        "seller=x",
        "sort=best",
        "q=a&q=b",
    ] {
        client.get(&format!("/products?{query}")).await.problem(400, "invalid-query");
    }
    client.get(&format!("/products?q={}", "a".repeat(3_000))).await.problem(400, "invalid-query");
    client.get("/products/search_item=a?q=b").await.problem(400, "invalid-query");
    client.get("/products/search_item=?q=b").await.problem(400, "invalid-query");
    client.get("/products/search_item=%FF").await.problem(400, "invalid-path");
    client.get("/products/CABLE?limit=1").await.problem(400, "invalid-query");
}

/// Forms send the fields that are left empty, too.
#[tokio::test]
async fn parameters_without_a_value_count_as_absent() {
    let app = TestApp::new().await;
    let (seller, anonymous) = (app.seller().await, app.anonymous());
    app.caught_up().await;
    for (path, method, operation) in operations() {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
        let empty: String = in_query.map(|parameter| format!("{}=&", parameter["name"].as_str().unwrap())).collect();
        if empty.is_empty() || path.contains("{order_id}") || path.starts_with("/admin") {
            continue;
        }
        assert_eq!(method, "GET");
        let path = path.replace("{keywords}", "cable").replace("{product_id}", "CABLE");
        let client = if operation["security"] == json!([]) { &anonymous } else { &seller };
        let expected = client.get(&path).await.expect(200);
        assert_eq!(client.get(&format!("{path}?{empty}")).await.expect(200), expected, "{path}?{empty}");
    }
    let listed = anonymous.get("/products?sort=&min_price=&max_price=&limit=1&after=").await;
    assert_eq!(listed.expect(200)["items"].as_array().unwrap().len(), 1);
    let next = listed.header("link").split(['<', '>']).nth(1).unwrap().to_owned();
    assert_eq!(anonymous.get(&next).await.expect(200)["items"].as_array().unwrap().len(), 1, "{next}");
}

#[tokio::test]
async fn categories_are_counted_and_can_be_filtered_by() {
    let app = TestApp::new().await;
    app.seller().await;
    app.caught_up().await;
    let client = app.anonymous();
    let categories = client.get("/categories").await.expect(200);
    let items = categories.as_array().unwrap();
    let count = |path: &[&str]| items.iter().find(|item| item["path"] == json!(path)).unwrap()["products"].clone();
    assert_eq!(count(&["Electronics"]), 2);
    assert_eq!(count(&["Electronics", "Cables"]), 1);
    for item in items {
        let levels: Vec<&str> = item["path"].as_array().unwrap().iter().map(|level| level.as_str().unwrap()).collect();
        let path = format!("/products?category={}", levels.join("%3E"));
        assert_eq!(json!(ids(&client, &path).await.len()), item["products"], "{path}");
    }
}

#[tokio::test]
async fn an_index_that_is_deleted_while_the_shop_runs_is_made_anew() {
    let app = TestApp::new().await;
    let seller = app.seller().await;
    app.caught_up().await;
    std::fs::remove_dir_all(app.directory.path().join("data/search")).unwrap();
    // The next commit finds that its directory is gone.
    seller.post("/products", &product("LAMP", "Lamp", 5_000)).await.expect(201);
    let client = app.anonymous();
    let began = std::time::Instant::now();
    loop {
        let before = ids(&client, "/products").await;
        let ready = client.get("/readyz").await;
        let found = ids(&client, "/products").await;
        if found.len() == 3 {
            break;
        }
        // Until the loss is noticed, the old products are found. After that, a shop that is ready finds everything.
        assert!(before.len() == 2 || ready.status == 503, "{before:?}, then {ready:?}, then {found:?}");
        assert!(began.elapsed().as_secs() < 30, "{found:?} and {ready:?}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    app.caught_up().await;
    client.get("/readyz").await.expect(200);
}
