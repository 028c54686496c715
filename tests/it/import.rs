//! Catalogue files into a shop: each row whole or not at all.

use std::path::Path;

use serde_json::json;
use souk::{
    domain::{account::Role, ids::SellerId, product::Editor},
    internals::{
        app::import::{Event, LocalRows, Outcome, Rows, Source, Summary, import_file},
        catalogue::read::Options,
    },
    shop::import::{SetStock, Terms},
};
use tokio_util::sync::CancellationToken;

use crate::support::TestApp;

async fn import(app: &TestApp, name: &str, text: &str) -> (Summary, Vec<String>) {
    import_as(app, name, text, 1, false).await
}

async fn import_as(app: &TestApp, name: &str, text: &str, from_line: u64, dry_run: bool) -> (Summary, Vec<String>) {
    let (outcome, refused) = import_until(app, name, text, from_line, dry_run, u64::MAX).await;
    assert!(outcome.stopped.is_none(), "{outcome:?}");
    (outcome.summary, refused)
}

/// Imports until the row of this line is refused.
async fn import_until(
    app: &TestApp,
    name: &str,
    text: &str,
    from_line: u64,
    dry_run: bool,
    last: u64,
) -> (Outcome, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(Path::new(name));
    std::fs::write(&path, text).unwrap();
    let terms = Terms { by: Editor::Admin(SellerId(0)), set_stock: SetStock::Always, dry_run };
    let source = Source { path: &path, options: Options::default(), from_line };
    let mut refused = Vec::new();
    let stop = CancellationToken::new();
    let watch = |event: Event<'_>| match event {
        Event::Refused { line, reason } => {
            refused.push(format!("{line}: {reason}"));
            if line == last {
                stop.cancel();
            }
        }
        Event::Warned { line, reason } => refused.push(format!("{line}: warning: {reason}")),
        Event::Progress { .. } => {}
    };
    let mut rows = Rows::Here(LocalRows::new(app.shop.clone(), terms));
    let outcome = import_file(&mut rows, source, &stop, watch).await.unwrap();
    (outcome, refused)
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
async fn ids_that_differ_in_capitals_are_taken_with_a_warning() {
    let app = TestApp::new().await;
    let admin = app.user("admin", Role::Admin).await;
    let file = "id,title\nmug-1,Mug\nMug-1,Another mug\nmug-1,Again\nMUG-1,A third\n";
    let (summary, reported) = import(&app, "mugs.csv", file).await;
    assert_eq!((summary.imported.changed, summary.bad), (3, 1));
    assert_eq!(
        reported,
        [
            "3: warning: the id Mug-1 differs only in capitals from one in line 2; they are two products",
            "4: the id mug-1 is given twice in this file, first in line 2; this row is not taken",
            "5: warning: the id MUG-1 differs only in capitals from one in line 2; they are two products",
        ]
    );
    for (id, name) in [("mug-1", "Mug"), ("Mug-1", "Another mug"), ("MUG-1", "A third")] {
        assert_eq!(admin.get(&format!("/products/{id}")).await.expect(200)["name"], name);
    }
    let (_, reported) = import_as(&app, "mugs.csv", file, 5, false).await;
    assert_eq!(reported.len(), 1, "rows that are passed over are not reported: {reported:?}");
    let variants = r#"{"id":"cap","title":"Cap","variants":[{"sku":"A"},{"sku":"a"}]}"#;
    let (_, reported) = import(&app, "caps.jsonl", variants).await;
    assert_eq!(
        reported,
        ["1: warning: the id cap:a differs only in capitals from one in line 1; they are two products"]
    );
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

/// Also a page whose variants are in the file in part, and stock files that look like products.
#[tokio::test]
async fn a_file_of_another_shop_erases_nothing_that_it_does_not_state() {
    let app = TestApp::new().await;
    let admin = app.user("admin", Role::Admin).await;
    let product = json!({"id": "MUG", "title": "Mug", "description": "For tea", "image_url": "https://i.example/1.jpg",
        "category": "Home > Mugs", "brand": "Acme", "price_minor": 900, "currency": "EUR", "ean": ["5901234123457"],
        "variants": [{"sku": "S", "size": "S"}, {"sku": "M", "size": "M"}]});
    import(&app, "mug.jsonl", &product.to_string()).await;
    let before = admin.get("/products/MUG").await.expect(200);
    let inventory = "Handle,Title,Option1 Name,Option1 Value,SKU,Location,On hand (new)\nMUG,Mug,Size,S,S,Shop,5\n";
    let unread = "id,title,variant_of,sku,size\nMUG,New,,,\n,,MUG,S,S,x\n,,MUG,M,M\n";
    let inside =
        "Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Price\nMUG,New,Size,S,S,1\nMUG,,,\"M\" x,M,1\n";
    for file in [inventory, unread, inside] {
        let (summary, refused) = import(&app, "x.csv", file).await;
        assert_eq!((summary.imported, summary.bad > 0), (Default::default(), true), "{refused:?}");
        assert_eq!(admin.get("/products/MUG").await.expect(200), before);
    }
    import(&app, "pin.jsonl", r#"{"id":"PIN","title":"Pin","description":"Old","price_minor":5,"currency":"EUR"}"#)
        .await;
    for (file, name) in [
        ("ID,Type,SKU,Name,Parent\n1,simple,PIN,Pin 1,\n", "Pin 1"),
        ("Handle,Title,Variant SKU,Variant Inventory Qty\nPIN,Pin 2,PIN,3\n", "Pin 2"),
        ("id,title,availability\nPIN,Pin 3,in_stock\n", "Pin 3"),
    ] {
        import(&app, "x.csv", file).await;
        let pin = admin.get("/products/PIN").await.expect(200);
        let found = (pin["name"].as_str(), pin["description"].as_str(), pin["price"]["amount"].as_u64());
        assert_eq!(found, (Some(name), Some("Old"), Some(5)));
    }
}

#[tokio::test]
async fn an_import_goes_on_at_a_line() {
    let app = TestApp::new().await;
    let admin = app.user("admin", Role::Admin).await;
    let row = |id: &str| format!(r#"{{"id":"{id}","title":"{id}","stock":5}}"#);
    let file = [row("a"), "nonsense".to_owned(), row("b"), row("a"), row("c")].join("\n");
    let (summary, refused) = import_as(&app, "a.jsonl", &file, 3, false).await;
    assert_eq!((summary.imported.changed, summary.bad), (2, 1));
    assert!(refused[0].starts_with("4: the id a is given twice"), "as in an import of the whole file: {refused:?}");
    admin.get("/products/a").await.problem(404, "not-found");
    let (summary, _) = import_as(&app, "a.jsonl", &file, 1, false).await;
    assert_eq!((summary.imported.changed, summary.imported.already_so, summary.bad), (1, 2, 2));

    // The rows of variants belong to their product, whose line counts; a file of another program goes by that, too.
    let table = "id,title,variant_of,sku,stock\np,P,,,\n,,p,S,3\nq,Q,,,\n,,q,S,4\n";
    let (summary, refused) = import_as(&app, "t.csv", table, 3, false).await;
    assert_eq!((summary.imported.changed, refused), (2, Vec::new()), "q and its variant");
    admin.get("/products/p").await.problem(404, "not-found");
    let shopify =
        "Handle,Title,Option1 Name,Option1 Value,Variant Inventory Qty\nm,M,Size,S,1\nn,N,Size,S,1\nm,,,L,1\n";
    let (summary, _) = import_as(&app, "s.csv", shopify, 3, false).await;
    assert_eq!(summary.imported.changed, 2, "n and its variant");
}

/// A product waits for the rows of its variants, so a later row may be refused before it is taken.
#[tokio::test]
async fn the_line_where_an_import_goes_on_misses_no_row() {
    let table = "id,title,variant_of,sku,size\np,#REF!,,,\nq,Q,,,\n,,q,S1,M\n";
    let feed = "<rss xmlns:g='http://base.google.com/ns/1.0'><channel><item><g:id>p</g:id><title>P</title></item>\
        <item><title>nameless</title></item><item><g:id>q</g:id><title>Q</title></item></channel></rss>";
    for (name, text, last, first, products) in
        [("t.csv", table, 2, 3, &["q", "q:S1"][..]), ("feed.xml", feed, 1, 1, &["p", "q"][..])]
    {
        let app = TestApp::new().await;
        let (outcome, refused) = import_until(&app, name, text, 1, false, last).await;
        let stopped = outcome.stopped.unwrap();
        assert_eq!((stopped.line, refused.len()), (first, 1), "{name}: {refused:?}");
        let (_, again) = import_as(&app, name, text, stopped.line, false).await;
        assert_eq!(again, if first > last { Vec::new() } else { refused }, "{name}");
        for product in products {
            app.anonymous().get(&format!("/products/{product}")).await.expect(200);
        }
    }
}

#[tokio::test]
async fn a_dry_run_says_what_an_import_would_do_and_does_nothing() {
    let app = TestApp::new().await;
    let (admin, customer) = (app.user("admin", Role::Admin).await, app.customer("asha").await);
    import(&app, "a.jsonl", r#"{"id":"a","title":"A","price_minor":5,"currency":"EUR","stock":5}"#).await;
    customer.order("a", 3).await;
    let same = r#"{"id":"a","title":"A","price_minor":5,"currency":"EUR","stock":5}"#;
    for file in [
        format!("{same}\n{}", r#"{"id":"b","title":"B","stock":7}"#),
        r#"{"id":"a","title":"New","stock":2}"#.to_owned(),
        r#"{"id":"a","title":"New","stock":9}"#.to_owned(),
    ] {
        let before = admin.get("/products/a").await.expect(200);
        let forecast = import_as(&app, "f.jsonl", &file, 1, true).await;
        assert_eq!(admin.get("/products/a").await.expect(200), before);
        admin.get("/products/c").await.problem(404, "not-found");
        assert_eq!(import(&app, "f.jsonl", &file).await, forecast, "{file}");
    }
    let changes = "id,stock,price_minor,currency\na,8,7,EUR\nb,7,,\nc,1,,\n";
    let forecast = import_as(&app, "c.csv", changes, 1, true).await;
    assert_eq!((forecast.0.imported.changed, forecast.0.imported.already_so, forecast.0.bad), (1, 1, 1));
    assert_eq!(import(&app, "c.csv", changes).await, forecast);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_imports_of_the_same_products_take_each_row_whole() {
    let app = TestApp::new().await;
    let admin = app.user("admin", Role::Admin).await;
    let row = |stock: u64| {
        let variants: Vec<_> = (0..8).map(|sku| json!({"sku": sku.to_string(), "stock": stock})).collect();
        json!({"id": "p", "title": format!("Of {stock}"), "variants": variants}).to_string()
    };
    for _ in 0..10 {
        let (low, high) = (row(10), row(20));
        let imports = [import(&app, "low.jsonl", &low), import(&app, "high.jsonl", &high)];
        futures::future::join_all(imports).await;
        let title = admin.get("/products/p").await.expect(200)["name"].as_str().unwrap().to_owned();
        let stock = if title == "Of 10" { 10 } else { 20 };
        for sku in 0..8 {
            let path = format!("/products/p:{sku}/inventory");
            assert_eq!(admin.get(&path).await.expect(200)["on_hand"], stock, "{title}, {sku}");
        }
    }
}
