//! Catalogue files into a shop: each row whole or not at all.

use std::path::Path;

use serde_json::json;
use souk::{
    app::import::{Mode, Summary, import_file},
    catalogue::read::Options,
    domain::{account::Role, ids::UserId, product::Editor},
    shop::import::SetStock,
};

use crate::support::TestApp;

async fn import(app: &TestApp, name: &str, text: &str) -> (Summary, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(Path::new(name));
    std::fs::write(&path, text).unwrap();
    let editor = Editor::Admin(UserId(0));
    let mode = Mode { editor, set_stock: SetStock::Always, file: Options::default(), from_line: 1 };
    let mut refused = Vec::new();
    let report = |line: u64, reason: &str| refused.push(format!("{line}: {reason}"));
    let summary = import_file(&app.shop, &path, mode, report).await.unwrap();
    (summary, refused)
}

#[tokio::test]
async fn a_refused_row_changes_nothing() {
    let app = TestApp::new().await;
    let customer = app.customer("asha").await;
    let row = |title: &str, stock: [u64; 2]| {
        let variants =
            json!([{"sku": "A", "size": "S", "stock": stock[0]}, {"sku": "B", "size": "M", "stock": stock[1]}]);
        json!({"id": "hood", "title": title, "price_minor": 100, "currency": "INR", "variants": variants}).to_string()
    };
    let (summary, refused) = import(&app, "a.jsonl", &row("Hoodie", [5, 5])).await;
    assert_eq!((summary.imported.changed, summary.imported.stock_changed, refused), (3, 2, Vec::new()));
    customer.order("hood:B", 3).await;

    let (summary, refused) = import(&app, "b.jsonl", &row("Renamed", [9, 1])).await;
    assert_eq!((summary.imported, summary.bad), (Default::default(), 1));
    assert_eq!(refused, ["1: hood:B: 3 are reserved, so there must be at least as many on hand"]);
    let page = customer.get("/products/hood").await.expect(200);
    assert_eq!(page["name"], "Hoodie");
    let admin = app.user("admin", Role::Admin).await;
    assert_eq!(admin.get("/products/hood:A/inventory").await.expect(200)["on_hand"], 5);
}

#[tokio::test]
async fn a_file_without_titles_changes_price_and_stock() {
    let app = TestApp::new().await;
    let admin = app.user("admin", Role::Admin).await;
    app.seller().await;
    let file = "id;quantity;price_minor;currency\nCABLE;7;;\nnone;1;;\nMUG-OF-NOBODY;;5;INR\n";
    let (summary, refused) = import(&app, "stock.csv", file).await;
    assert_eq!((summary.imported.changed, summary.imported.stock_changed, summary.bad), (1, 1, 2));
    assert!(refused.iter().all(|reason| reason.ends_with("there is no such product")), "{refused:?}");
    assert_eq!(admin.get("/products/CABLE/inventory").await.expect(200)["on_hand"], 7);
    let (summary, _) = import(&app, "stock.csv", "id;quantity\nCABLE;7\n").await;
    assert_eq!((summary.imported.already_so, summary.imported.stock_changed), (1, 0), "again");
    import(&app, "price.csv", "id,price_minor,currency\nCABLE,4242,INR\n").await;
    assert_eq!(admin.get("/products/CABLE").await.expect(200)["price"]["amount"], 4242);
}

#[tokio::test]
async fn an_export_without_a_currency_leaves_prices_as_they_are() {
    let app = TestApp::new().await;
    let admin = app.user("admin", Role::Admin).await;
    import(&app, "price.jsonl", r#"{"id":"MUG","title":"Mug","price_minor":900,"currency":"EUR"}"#).await;
    let file = "ID,Type,SKU,Name,Stock,Regular price\n1,simple,MUG,Blue mug,5,12.99\n2,simple,PIN,Pin,5,1\n";
    let (summary, refused) = import(&app, "woo.csv", file).await;
    assert_eq!((summary.imported.changed, summary.bad), (2, 1));
    assert!(refused[0].starts_with("1: ") && refused[0].contains("--currency"), "{refused:?}");
    let mug = admin.get("/products/MUG").await.expect(200);
    assert_eq!((&mug["name"], &mug["price"]["amount"]), (&json!("Blue mug"), &json!(900)));
    assert_eq!(admin.get("/products/PIN").await.expect(200)["purchasable"], false);
}
