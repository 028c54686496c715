//! `souk verify` as an operator uses it: on a directory that is intact, in use, or damaged; on a shop that cannot be
//! reached; on a malformed history. Faults of a running shop are in `tests/planted/`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use souk::{
    clock::Clock,
    config::Config,
    domain::account::Role,
    internals::{
        app::demo,
        verify::{self, Access, Invariant, Login, Source, Subject, Verdict},
    },
    shop::Shop,
};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::TestApp;

async fn shop(data: &Path) -> Shop {
    let shop = Shop::open(Config { data_dir: data.into(), ..Config::default() }).await.unwrap();
    demo::fill(&shop, 1, 20).await.unwrap();
    shop
}

async fn check(data: &Path) -> Verdict {
    let shop = Source::Directory(data.into());
    verify::verify(Subject { shop, ..Subject::default() }).await
}

/// Reads every file below a directory.
fn bytes(directory: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes(&path, found);
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
}

/// Flips one bit of the first file with this extension, in the middle of its non-zero bytes.
fn flip(directory: &Path, ending: &str) {
    let mut files = BTreeMap::new();
    bytes(directory, &mut files);
    let (path, mut bytes) = files.into_iter().find(|(path, _)| path.to_string_lossy().ends_with(ending)).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let middle = (used / 2..used).find(|at| bytes[*at] != 0).unwrap();
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_checked_without_changes_and_damage_is_found() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("shop");
    let open = shop(&data).await;
    let in_use = check(&data).await;
    assert!(in_use.stopped.unwrap().to_string().contains("in use"), "a shop has it");
    open.close().await.unwrap();

    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    bytes(&data, &mut before);
    let verdict = check(&data).await;
    assert!(verdict.is_clean(), "{:?} {}", verdict.stopped, verdict.report);
    for looked_at in ["batches", "records", "streams", "values of the state", "products", "products in the index"] {
        assert!(verdict.report.looked_at[looked_at] > 0, "{}", verdict.report);
    }
    bytes(&data, &mut after);
    assert!(before == after, "the check changed the directory");

    for (ending, invariant) in [(".store", Invariant::I8), (".log", Invariant::I11)] {
        flip(&data, ending);
        let verdict = check(&data).await;
        assert!(verdict.report.broken().contains(&invariant), "{ending}: {:?} {}", verdict.stopped, verdict.report);
        assert!(!verdict.is_clean());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_shop_that_holds_money_keeps_its_invariants() {
    let app = TestApp::with(|config| config.payments.capture_later = true, Clock::system()).await;
    app.seller().await;
    let (customer, admin) = (app.customer("asha").await, app.user("admin", Role::Admin).await);
    let order = customer.order("CABLE", 2).await;
    customer.pay(&order, "tok_success").await;
    app.until(&customer, &order, "authorised").await;
    app.caught_up().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = app.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let login = Login::Token(admin.token.clone().unwrap().into());
    let shop = Source::Running(Access { url, login, patience: Duration::from_secs(20) });
    let verdict = verify::verify(Subject { shop, ..Subject::default() }).await;
    assert!(verdict.is_clean(), "{:?} {}", verdict.stopped, verdict.report);
    assert_eq!(verdict.report.looked_at["orders"], 1, "the held one");
    let not_decided = verdict.report.to_string().contains("the shop did not come to rest");
    assert!(!not_decided, "a hold is at rest: {}", verdict.report);
}

fn souk(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_souk")).arg("verify").args(arguments).env("SHOP_TOKEN", "x").output().unwrap()
}

#[test]
fn a_check_that_cannot_be_made_fails_with_one_line() {
    let directory = TempDir::new().unwrap();
    let history = directory.path().join("history.jsonl");
    let header = r#"{"souk_history":1,"shop":"http://127.0.0.1:1","started":"2026-11-23T00:00:00Z"}"#;
    fs::write(&history, format!("{header}\n{{\"op\":1}}\n")).unwrap();
    let (history, nowhere) = (history.to_str().unwrap(), directory.path().join("nowhere"));
    let cases: [(&[&str], &str, i32); 5] = [
        (&["--url", "http://127.0.0.1:1"], "cannot be reached: Connection refused", 75),
        (&["--url", "nonsense"], "write http:// before it", 2),
        (&["--history", history], "line 2: missing field", 1),
        (&["--history", "/nowhere/at/all"], "No such file", 1),
        (&["--data-dir", nowhere.to_str().unwrap()], "no shop was here", 1),
    ];
    for (arguments, said, code) in cases {
        let output = souk(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && error.contains(said), "{arguments:?}: {error}");
        assert_eq!((error.lines().count(), output.stdout.len()), (1, 0), "{arguments:?}: {error}");
    }
}

/// A payment with an unknown outcome, then a cancellation; and the stock and the cart at the end.
async fn cancelled(sold: bool, received: u64, sold_units: u64, cart: &str) -> Verdict {
    let total = r#"{"amount":500,"currency":"INR"}"#;
    let order = |state: &str, sold: &str| {
        format!(r#"{{"order":{{"order":"o1","state":"{state}","lines":[["pen",2]],"total":{total}{sold}}}}}"#)
    };
    let stock = |received: u64, sold: u64, reserved: u64| {
        let (on_hand, available) = (received - sold, received - sold - reserved);
        format!(
            r#"{{"stock":{{"received":{received},"on_hand":{on_hand},"sold":{sold},"reserved":{reserved},"available":{available}}}}}"#
        )
    };
    let show_cart = |version: u64, lines: &str| format!(r#"{{"cart":{{"version":{version},"lines":{lines}}}}}"#);
    let calls = [
        (r#"{"call":"cart_read","customer":"ann"}"#, Some(show_cart(1, r#"[["pen",2]]"#))),
        (r#"{"call":"stock_read","product":"pen"}"#, Some(stock(10, 0, 0))),
        (r#"{"call":"checkout","customer":"ann","key":"k","total":500}"#, Some(order("awaiting_payment", ""))),
        (r#"{"call":"pay","customer":"ann","order":"o1","key":"k","method":"m"}"#, None),
        (
            r#"{"call":"cancel","customer":"ann","order":"o1"}"#,
            Some(order("cancelled", if sold { r#","sold":true"# } else { "" })),
        ),
        (r#"{"call":"stock_read","product":"pen"}"#, Some(stock(received, sold_units, 0))),
        (r#"{"call":"cart_read","customer":"ann"}"#, Some(show_cart(9, cart))),
    ];
    let header = r#"{"souk_history":1,"shop":"http://127.0.0.1:1","started":"2026-11-23T00:00:00Z"}"#;
    let mut text = format!("{header}\n");
    for (number, (call, answer)) in calls.iter().enumerate() {
        let (begin, end) = (number * 10, number * 10 + 5);
        text += &format!("{{\"op\":{number},\"client\":1,\"at\":{begin},\"invoke\":{call}}}\n");
        let outcome = answer.as_ref().map_or(r#""unknown":"reset""#.to_owned(), |answer| format!(r#""ok":{answer}"#));
        text += &format!("{{\"op\":{number},\"at\":{end},{outcome}}}\n");
    }
    let directory = TempDir::new().unwrap();
    let history = directory.path().join("history.jsonl");
    fs::write(&history, text).unwrap();
    verify::verify(Subject { history: Some(history), ..Subject::default() }).await
}

#[tokio::test]
async fn an_order_cancelled_after_its_sale_returns_to_stock_and_not_to_the_cart() {
    let pens = r#"[["pen",2]]"#;
    for (sold, received, sold_units, cart, fits) in [
        (false, 10, 0, pens, true),
        (false, 10, 0, "[]", false),
        (false, 12, 2, pens, false),
        (true, 12, 2, "[]", true),
        (true, 12, 2, pens, false),
        (true, 10, 0, "[]", false),
        (true, 10, 2, "[]", false),
    ] {
        let verdict = cancelled(sold, received, sold_units, cart).await;
        let case = format!("sold {sold}, {received}, {sold_units}, {cart}: {:?} {}", verdict.stopped, verdict.report);
        assert!(verdict.stopped.is_none(), "{case}");
        let broken = verdict.report.broken().into_iter().collect::<Vec<_>>();
        assert_eq!(broken, if fits { Vec::new() } else { vec![Invariant::I9] }, "{case}");
    }
}
