//! The shop without HTTP, as an embedding program uses it: opening, dropping, event streams, and refused settings.

use std::{process::Command, time::Duration};

use futures::StreamExt;
use souk::{
    config::Config,
    domain::account::Role,
    shop::{Cursor, Error, NotDelivered, OpenShopError, SearchRequest, Shop},
};
use tempfile::TempDir;

use crate::support::{PASSWORD, TestApp, eventually};

/// How long a test waits for what should not take long.
const PATIENCE: Duration = Duration::from_secs(10);

fn config(directory: &TempDir) -> Config {
    Config { data_dir: directory.path().join("data"), ..Config::default() }
}

async fn register(shop: &Shop) {
    shop.register("asha@example.com", PASSWORD.to_owned().into(), None, Role::Customer).await.unwrap();
}

/// The names of this process's threads that belong to a shop.
fn shop_threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.ok()?.path().join("comm")).ok();
    let names = tasks.filter_map(name).map(|name| name.trim().to_owned());
    names.filter(|name| name.starts_with("journal-")).collect()
}

/// Runs itself in a process of its own, in which no other test's shop has threads.
#[test]
fn dropped_shops_leave_no_threads() {
    const CHILD: &str = "SOUK_TEST_DROPPED_SHOPS";
    if std::env::var_os(CHILD).is_none() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "embedding::dropped_shops_leave_no_threads", "--nocapture"]).env(CHILD, "1");
        assert!(child.status().unwrap().success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for _ in 0..5 {
            let directory = tempfile::tempdir().unwrap();
            let shop = Shop::open(config(&directory)).await.unwrap();
            assert!(!shop_threads().is_empty(), "the names of the threads have changed");
            drop(shop);
        }
        let gone = eventually(async || shop_threads().is_empty().then_some(()));
        gone.await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_shop_frees_its_directory_and_keeps_what_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let shop = Shop::open(config(&directory)).await.unwrap_or_else(|error| panic!("{round}: {error}"));
        if round == 0 {
            register(&shop).await;
        } else {
            shop.principal("asha@example.com").await.unwrap();
        }
        let clone = shop.clone();
        drop(shop);
        clone.principal("asha@example.com").await.unwrap();
        assert!(matches!(
            Shop::open(config(&directory)).await,
            Err(OpenShopError::Storage(souk::internals::storage::OpenError::Locked(_)))
        ));
        drop(clone);
    }
}

#[tokio::test]
async fn a_call_with_a_key_takes_effect_once() {
    let app = TestApp::new().await;
    app.seller().await;
    let who = app.shop.principal("seller@example.com").await.unwrap();
    let cable = "CABLE".parse().unwrap();
    let receive = async |body: &[u8]| {
        let shop = app.shop.once(&who, "receive", "my-key", body).unwrap();
        let stock = shop.receive_stock(&who, &cable, 5, None).await;
        (stock.map(|stock| stock.received), shop.is_repeat())
    };
    assert!(matches!(receive(b"5").await, (Ok(15), false)));
    assert!(matches!(receive(b"5").await, (Ok(15), true)));
    assert!(matches!(receive(b"6").await, (Err(Error::KeyReused), false)));
    assert!(matches!(app.shop.once(&who, "receive", "", b"5"), Err(Error::InvalidKey(_))));
}

#[tokio::test]
async fn streams_of_events_end_when_the_shop_closes() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    let order = customer.order("CABLE", 1).await.parse().unwrap();
    let who = app.shop.principal("asha@example.com").await.unwrap();
    let mut events = app.shop.order_events(&who, order, 0).await.unwrap();
    let placed = events.next().await.unwrap().unwrap();
    assert_eq!((placed.sequence, placed.status.as_str()), (1, "placed"));
    let rest = tokio::spawn(events.collect::<Vec<_>>());
    app.shop.close().await.unwrap();
    let rest = tokio::time::timeout(PATIENCE, rest).await.expect("the stream hangs").unwrap();
    let statuses: Vec<_> = rest.into_iter().map(|entry| entry.unwrap().status).collect();
    assert_eq!(statuses.last().map(|status| status.as_str()), Some("awaiting_payment"));
    app.shop.close().await.unwrap();
}

#[tokio::test]
async fn every_call_of_a_closed_shop_gets_the_same_error() {
    let app = TestApp::new().await;
    app.seller().await;
    let who = app.shop.principal("seller@example.com").await.unwrap();
    app.shop.close().await.unwrap();
    let is_closed = |error: Error| matches!(error, Error::NotDelivered(NotDelivered::Closed));
    assert!(is_closed(app.shop.orders(&who, None, 10).await.unwrap_err()));
    assert!(is_closed(app.shop.remove_cart_line(&who, &"CABLE".parse().unwrap()).await.unwrap_err()));
}

#[test]
fn a_shop_whose_runtime_has_ended_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let first = runtime();
    let (shop, who) = first.block_on(async {
        let shop = Shop::open(config(&directory)).await.unwrap();
        register(&shop).await;
        let who = shop.principal("asha@example.com").await.unwrap();
        (shop, who)
    });
    drop(first);
    let product = "CABLE".parse().unwrap();
    let refused =
        runtime().block_on(async { tokio::time::timeout(PATIENCE, shop.remove_cart_line(&who, &product)).await });
    assert!(matches!(refused, Ok(Err(Error::NotDelivered(NotDelivered::Closed)))), "{refused:?}");
    drop(shop);
    // The threads of the journal end by themselves, on a busy machine a moment later.
    let reopened = async {
        loop {
            match Shop::open(config(&directory)).await {
                Err(OpenShopError::Storage(souk::internals::storage::OpenError::Locked(_))) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                opened => break opened.unwrap().close().await.unwrap(),
            }
        }
    };
    runtime().block_on(async { tokio::time::timeout(PATIENCE, reopened).await }).unwrap();
}

#[tokio::test]
async fn settings_out_of_bounds_are_refused_before_anything_is_created() {
    let directory = tempfile::tempdir().unwrap();
    let changes: [fn(&mut Config); 7] = [
        |config| config.limits.mailbox_max = 0,
        |config| config.limits.event_streams_max = usize::MAX,
        |config| config.payment_deadline_ms = 0,
        |config| config.tax_basis_points = u64::MAX,
        |config| config.shipping_flat_minor = u64::MAX,
        |config| config.session_days = 0,
        |config| config.access_token_seconds = 0,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut config = config(&directory);
        change(&mut config);
        let refused = Shop::open(config).await;
        assert!(matches!(refused, Err(OpenShopError::Config(_))), "{index}: {refused:?}");
        assert!(!directory.path().join("data").exists(), "{index}");
    }
}

#[test]
fn a_tokio_runtime_without_timers_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let without_time = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let refused = without_time.block_on(Shop::open(config(&directory)));
    assert!(matches!(refused, Err(OpenShopError::Runtime)), "{refused:?}");
    let without_runtime = futures::executor::block_on(Shop::open(config(&directory)));
    assert!(matches!(without_runtime, Err(OpenShopError::Runtime)), "{without_runtime:?}");
}

#[tokio::test]
async fn pages_with_invalid_limits_or_cursors_are_refused() {
    let app = TestApp::new().await;
    app.seller().await;
    let who = app.shop.principal("seller@example.com").await.unwrap();
    let product = "CABLE".parse().unwrap();
    for limit in [0, 1_001, usize::MAX] {
        for refused in [
            app.shop.orders(&who, None, limit).await.map(drop),
            app.shop.sold_orders(&who, None, limit).await.map(drop),
            app.shop.reviews(None, &product, None, limit).await.map(drop),
        ] {
            assert!(matches!(refused, Err(Error::InvalidLimit { limit: named, .. }) if named == limit), "{refused:?}");
        }
    }
    let foreign = || Some(Cursor::new(b"another list", b"key"));
    let search = SearchRequest { after: foreign(), ..SearchRequest::default() };
    for refused in [
        app.shop.orders(&who, foreign(), 10).await.map(drop),
        app.shop.sold_orders(&who, foreign(), 10).await.map(drop),
        app.shop.reviews(None, &product, foreign(), 10).await.map(drop),
        app.shop.search(&search).await.map(drop),
        "junk".parse::<Cursor>().map(drop).map_err(Error::from),
    ] {
        assert!(matches!(refused, Err(Error::InvalidCursor(_))), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_without_http_runs() {
    crate::example_embedded::run().await.unwrap();
}

#[tokio::test]
async fn the_example_of_a_nested_router_runs() {
    crate::example_nested::run().await.unwrap();
}
