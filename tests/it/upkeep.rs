//! Compaction, backup and restore: afterwards the shop shows the same as before.

use std::fs;

use serde_json::{Value, json};
use souk::{
    clock::Clock,
    config::Config,
    internals::storage::Position,
    shop::{
        Shop,
        upkeep::{UpkeepError, restore},
    },
};

use crate::support::{Client, TestApp};

/// Keeps as little of the log as possible.
fn forgetful(config: &mut Config) {
    config.retention.log_bytes = 0;
    config.retention.work_percent = 100;
}

const PATHS: [&str; 7] = [
    "/orders",
    "/cart",
    "/products/CABLE",
    "/products/PHONE",
    "/products/CABLE/reviews",
    "/products?q=cable",
    "/products?q=phone",
];

/// What the customer sees, and the seller's stock.
async fn seen(customer: &Client, seller: &Client, orders: &[String]) -> Vec<Value> {
    let mut seen = Vec::new();
    for path in PATHS {
        seen.push(customer.get(path).await.expect(200));
    }
    for order in orders {
        seen.push(customer.get(&format!("/orders/{order}")).await.expect(200));
    }
    seen.push(seller.get("/orders").await.expect(200));
    seen.push(seller.inventory("CABLE").await);
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacted_shop_without_state_and_index_shows_the_same() {
    let mut app = TestApp::with(forgetful, Clock::system()).await;
    let (mut seller, mut customer) = (app.seller().await, app.customer("asha").await);
    let mut orders = Vec::new();
    for round in 0..3 {
        orders.push(customer.buy("CABLE", 2).await);
        let review = json!({"rating": 3 + round, "title": format!("Round {round}")});
        customer.post("/products/CABLE/reviews", &review).await.expect(201);
        orders.push(customer.order("PHONE", 1).await);
        customer.act(&format!("/orders/{}/cancel", orders[orders.len() - 1])).await.expect(200);
        customer.add("CABLE", 1).await;
        app.caught_up().await;
        let compacted = app.shop.compact().await.unwrap();
        assert!(compacted.segments_removed > 0, "{compacted:?}");
        assert!(souk::internals::journal(&app.shop).oldest() > Position::BEGINNING);
        let before = seen(&customer, &seller, &orders).await;

        app.shop.close().await.unwrap();
        let data = app.shop.config().data_dir.clone();
        // Each round deletes something else: the index, the state, both.
        if round != 1 {
            fs::remove_dir_all(data.join("search")).unwrap();
        }
        if round != 0 {
            fs::remove_dir_all(data.join("journal/state")).unwrap();
        }
        app = app.restart().await;
        app.caught_up().await;
        (seller, customer) = (app.again(&seller), app.again(&customer));
        assert_eq!(seen(&customer, &seller, &orders).await, before, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_shop_is_the_shop_of_the_backup() {
    let app = TestApp::with(forgetful, Clock::system()).await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let orders = [customer.buy("CABLE", 2).await, customer.order("PHONE", 1).await];
    customer.add("CABLE", 1).await;
    app.caught_up().await;
    let before = seen(&customer, &seller, &orders).await;
    let backups = app.directory.path().join("backups");
    fs::create_dir(&backups).unwrap();
    let backup = app.shop.backup(&backups.join("one"), |_| {}).await.unwrap();
    assert!(backup.bytes > 0 && backup.files >= 4, "{backup:?}");
    let again = app.shop.backup(&backups.join("one"), |_| {}).await;
    assert!(matches!(again, Err(UpkeepError::Exists(_))), "nothing is written over: {again:?}");
    assert!(!backups.join("one/identity/signing.key").exists(), "the signing key is in no backup");
    // The shop goes on; the backup contains none of this.
    customer.buy("CABLE", 1).await;

    let data = app.directory.path().join("restored");
    assert_eq!(restore(&backups.join("one"), &data).unwrap(), backup);
    let taken = restore(&backups.join("one"), &data);
    assert!(matches!(taken, Err(UpkeepError::Exists(_))), "a shop is not written over: {taken:?}");
    let config = Config { data_dir: data, ..app.shop.config().clone() };
    let restored = Shop::open(config).await.unwrap();
    let router = souk::http::router(restored.clone());
    let restored = TestApp { shop: restored, router, health: app.health.clone(), directory: app.directory.clone() };
    restored.caught_up().await;
    let stale = restored.again(&customer).get("/cart").await;
    assert_eq!(stale.status, 401, "access tokens end with a restore");
    let (seller, customer) =
        (restored.user("seller", souk::domain::account::Role::Seller).await, restored.customer("asha").await);
    assert_eq!(seen(&customer, &seller, &orders).await, before);
    assert_eq!(customer.pay(&orders[1], "tok_success").await.expect(200)["order_status"], "confirmed");
    restored.shop.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_backup_is_refused() {
    let app = TestApp::new().await;
    app.seller().await;
    let directory = app.directory.path();
    let backup = directory.join("backup");
    app.shop.backup(&backup, |_| {}).await.unwrap();
    let data = directory.join("restored");
    let manifest: Value = serde_json::from_slice(&fs::read(backup.join("manifest.json")).unwrap()).unwrap();
    let files = manifest["files"].as_array().unwrap();
    for file in files {
        let path = backup.join(file["path"].as_str().unwrap());
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let place = bad.len() / 2;
        bad[place] ^= 1;
        for bad in [bad, good[..good.len() - 1].to_vec()] {
            fs::write(&path, bad).unwrap();
            let refused = restore(&backup, &data);
            assert!(matches!(&refused, Err(UpkeepError::Damaged(damaged)) if *damaged == path), "{refused:?}");
            assert!(!data.exists(), "nothing half-made is left");
        }
        fs::remove_file(&path).unwrap();
        let refused = restore(&backup, &data).unwrap_err();
        assert!(matches!(refused, UpkeepError::NoBackup { .. }) && refused.to_string().contains("manifest.json names"));
        fs::write(&path, good).unwrap();
    }
    let with = |change: &dyn Fn(&mut Value)| {
        let mut changed = manifest.clone();
        change(&mut changed);
        fs::write(backup.join("manifest.json"), changed.to_string()).unwrap();
        restore(&backup, &data)
    };
    for path in ["../outside", "/etc/passwd", "journal/../../outside"] {
        let refused = with(&|manifest| manifest["files"][0]["path"] = json!(path));
        assert!(matches!(refused, Err(UpkeepError::NoBackup { .. })), "{path}: {refused:?}");
    }
    let refused = with(&|manifest| manifest["souk_backup"] = json!(2));
    assert!(matches!(refused, Err(UpkeepError::NoBackup { .. })), "{refused:?}");
    assert!(matches!(restore(directory, &data), Err(UpkeepError::NoBackup { .. })));
    with(&|_| {}).unwrap();
}
