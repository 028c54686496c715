//! The checker against planted bugs: the real program with one bug in it, scripted customers who record their calls and
//! answers, and the checker on the running shop, on the history, and on the directory. The invariant that a bug breaks
//! must find it; without a bug the same script must be clean.
//!
//! `cargo test --test planted` tries three bugs, with `PLANTED=all` every bug in `tests/planted/bugs/`, with
//! `PLANTED=Name` that one, and prints the checker's reports. The product has no code for them: they are edits of a
//! copy.
#![allow(clippy::unwrap_used, reason = "a test that cannot continue must fail")]

mod bugs;
mod program;
#[path = "../recorded/mod.rs"]
mod recorded;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use souk::{
    domain::entity::Timestamp,
    internals::{
        signature::sign,
        verify::{
            self, Access, Login, Report, Source, Subject, Verdict,
            history::{Call, Line},
        },
    },
};
use tempfile::TempDir;

use bugs::Bug;
use recorded::{PASSWORD, Person, Process, START_MAX, World};

const PRICE: u64 = 1_000;

/// The bugs of a short run: one in the domain, one in the runtime, one in the journal.
const SHORT: [&str; 3] = ["NewKeyOnRetry", "ReplyBeforeWrite", "ReservesOneTooMany"];

struct Planted {
    bugs: Vec<Bug>,
    program: PathBuf,
}

static PLANTED: LazyLock<Planted> = LazyLock::new(|| {
    let bugs = bugs::all(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let program = program::build(&bugs);
    Planted { bugs, program }
});

/// Starts the program with at most one of its bugs switched on.
fn start(bug: Option<&str>, data: &Path, variables: &[(&str, &str)]) -> Process {
    let mut command = Process::command_of(&PLANTED.program, "127.0.0.1:0", data, variables);
    command.env("PLANTED_BUG", bug.unwrap_or_default());
    Process::begin(command, START_MAX).expect("the shop prints its URL")
}

/// The script. It continues whatever the shop answers, because bugs make some calls fail.
async fn script(world: &Arc<World>) {
    let seller = world.enter("seller", "seller@demo.example").await;
    let admin = world.enter("admin", "admin@demo.example").await;
    for (product, on_hand) in [("pen", 50), ("ink", 50), ("lamp", 1), ("old", 5)] {
        seller.list(product, PRICE).await;
        seller.call(Call::StockSet { product: product.into(), on_hand }).await;
    }
    let ann = world.enter("ann", "ann@example.org").await;
    let bob = world.enter("bob", "bob@example.org").await;

    one_customer(&seller, &ann, &bob).await;
    another_customer(&seller, &admin, &bob).await;
}

/// The number of units in a cart that contains one product.
fn units(lines: &[Line]) -> u64 {
    lines.iter().map(|(_, quantity)| u64::from(*quantity)).sum()
}

/// Repeated keys, a payment whose answer is lost, cancelled orders.
async fn one_customer(seller: &Person, ann: &Person, bob: &Person) {
    // A cart, with a key that is used twice, and then for another request.
    ann.cart().await;
    ann.add("pen", 2, Some("k1")).await;
    ann.add("pen", 2, Some("k1")).await;
    ann.add("pen", 3, Some("k1")).await;
    ann.add("pen", 1, None).await;
    let total = units(&ann.cart().await) * PRICE;

    // An order whose payment is charged while the answer is lost.
    let first = ann.checkout(total, "c1").await;
    seller.stock("pen").await;
    if let Some(first) = &first {
        ann.pay(first, "tok_timeout_after_charge", "y1").await;
        ann.read_order(first).await;
        bob.read_order(first).await;
    }
    seller.stock("pen").await;

    // The same request again finds the same order, although the cart is full again.
    ann.add("pen", u32::try_from(total / PRICE).unwrap(), None).await;
    ann.checkout(total, "c1").await;

    // An order that is cancelled, and one that is declined.
    for (key, declined) in [("c2", false), ("c3", true)] {
        let total = units(&ann.cart().await) * PRICE;
        if let Some(order) = ann.checkout(total, key).await {
            seller.stock("pen").await;
            if declined {
                ann.pay(&order, "tok_decline", "y3").await;
            }
            ann.cancel(&order).await;
            ann.read_order(&order).await;
        }
        seller.stock("pen").await;
        ann.cart().await;
    }
}

/// A price that changes, a parcel, more units than there are, a product that is removed.
async fn another_customer(seller: &Person, admin: &Person, bob: &Person) {
    // A price that changes between the cart and the checkout; an order that is packed and shipped.
    bob.cart().await;
    bob.add("ink", 1, None).await;
    seller.reprice("ink", 2 * PRICE).await;
    bob.checkout(PRICE, "d0").await;
    bob.cart().await;
    bob.add("ink", 1, None).await;
    let total = units(&bob.cart().await) * 2 * PRICE;
    if let Some(order) = bob.checkout(total, "d1").await {
        bob.pay(&order, "tok_success", "z1").await;
        for to in ["pack", "ship"] {
            admin.call(Call::Advance { order: order.clone(), to: to.into() }).await;
            bob.read_order(&order).await;
        }
    }
    seller.stock("ink").await;

    // More than there is in stock.
    bob.add("lamp", 2, None).await;
    bob.checkout(2 * PRICE, "d2").await;
    seller.stock("lamp").await;
    bob.remove("lamp").await;

    // A cart with so many events that it leaves a snapshot when it is passivated.
    for _ in 0..20 {
        bob.add("pen", 1, None).await;
        bob.remove("pen").await;
    }

    // An order that awaits its payment, a product that is removed, and one that changes after that.
    bob.add("pen", 1, None).await;
    bob.checkout(PRICE, "d3").await;
    bob.cart().await;
    let gone = admin.send(Method::DELETE, "/products/old", Value::Null, None).await.unwrap();
    assert_eq!(gone.0, 204, "{}", gone.1);
    tokio::time::sleep(Duration::from_millis(400)).await;
    seller.reprice("pen", PRICE + 1).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    for product in ["pen", "ink", "lamp"] {
        seller.stock(product).await;
    }
}

/// What the checker reports about a shop with this bug: while it ran, and afterwards.
async fn run(bug: Option<&str>) -> [Report; 2] {
    let directory = TempDir::new().unwrap();
    let (data, history) = (directory.path().join("shop"), directory.path().join("history.jsonl"));
    let ledger = data.join("simulated-provider.jsonl");
    let variables = [("SOUK_LIMITS__PAYMENT_WAIT_MS_MAX", "1500"), ("SOUK_LIMITS__LIST_WAIT_MS_MAX", "500")];
    let process = start(bug, &data, &variables);
    let world = World::new(&history, &process.url);
    script(&world).await;
    let login = Login::Password { email: "admin@demo.example".into(), password: SecretString::from(PASSWORD) };
    let access = Access { url: process.url.clone(), login, patience: Duration::from_secs(4) };
    let subject = Subject { history: Some(history.clone()), ledger: Some(ledger), shop: Source::Running(access) };
    let online = verify::verify(subject).await;
    assert!(online.stopped.is_none(), "{bug:?}: {:?}", online.stopped);
    if bug == Some("ReplyBeforeWrite") {
        let bob = world.enter("bob", "bob@example.org").await;
        let admin = world.enter("admin", "admin@demo.example").await;
        bob.add("ink", 1, None).await;
        let order = bob.checkout(2 * PRICE, "last").await.unwrap();
        bob.pay(&order, "tok_success", "z2").await;
        // The entity itself answers this request; a checkout would wait for the disk at its barrier.
        admin.call(Call::Advance { order, to: "pack".into() }).await;
        drop(process);
    } else {
        process.stop();
    }
    let subject = Subject { history: Some(history), ledger: None, shop: Source::Directory(data) };
    let offline = verify::verify(subject).await;
    let Verdict { report: offline, stopped } = offline;
    assert!(stopped.is_none(), "{bug:?}: {stopped:?}");
    [online.report, offline]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_bugs_are_found_and_a_shop_without_one_is_clean() {
    let asked = std::env::var("PLANTED").ok();
    let wanted = |bug: &Bug| match asked.as_deref() {
        None => SHORT.contains(&bug.name.as_str()),
        Some("all") => true,
        Some(name) => bug.name == name,
    };
    for report in run(None).await {
        assert!(report.is_clean(), "without a bug:\n{report}");
        println!("{report}\n");
    }
    let (mut missed, mut tried) = (Vec::new(), 0);
    for bug in PLANTED.bugs.iter().filter(|bug| wanted(bug)) {
        let Some(expected) = &bug.caught_by else { continue };
        tried += 1;
        let [online, offline] = run(Some(&bug.name)).await;
        let caught: BTreeSet<String> = online.broken().union(&offline.broken()).map(ToString::to_string).collect();
        let names: Vec<&str> = caught.iter().map(String::as_str).collect();
        println!("{}: {} Expected {expected}, caught by {}", bug.name, bug.what, names.join(" "));
        let is_caught = caught.contains(expected);
        if !is_caught || asked.as_deref().is_some_and(|asked| asked != "all") {
            println!("online: {online}\noffline: {offline}\n");
        }
        if !is_caught {
            missed.push(&bug.name);
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
    let least = if asked.is_none() { SHORT.len() } else { 1 };
    assert!(tried >= least, "only {tried} bugs of {asked:?} are there");
}

/// Whether a shop with this bug lists a notice that it has acknowledged and that names an unknown order.
async fn lists_what_it_acknowledged(bug: Option<&str>) -> bool {
    let directory = TempDir::new().unwrap();
    let secret = "whsec_of_the_provider";
    let variables = [
        ("SOUK_PAYMENTS__PROVIDER", "stripe"),
        // The provider receives no requests here.
        ("SOUK_PAYMENTS__URL", "http://127.0.0.1:9"),
        ("SOUK_PAYMENTS__KEY", "sk_test_of_nobody"),
        ("SOUK_PAYMENTS__WEBHOOK_SECRETS", secret),
    ];
    let process = start(bug, &directory.path().join("shop"), &variables);
    let world = World::new(&directory.path().join("history.jsonl"), &process.url);
    let admin = world.enter("admin", "admin@demo.example").await;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let reference = "pi_of_nobody";
    let payment = json!({
        "object": "payment_intent", "id": reference, "metadata": { "order": "0".repeat(32), "attempt": "1" }
    });
    let notice = json!({
        "object": "event", "id": "evt_1", "type": "payment_intent.succeeded", "created": seconds, "data": { "object": payment }
    });
    let body = notice.to_string();
    let signature = sign(&SecretString::from(secret), body.as_bytes(), Timestamp(seconds * 1_000));
    let request = reqwest::Client::new().post(format!("{}/webhooks/stripe", process.url));
    let answer = request.header("stripe-signature", signature).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 204, "{bug:?}: the notice is not acknowledged");
    let (status, listed) = admin.send(Method::GET, "/admin/payments/notices", Value::Null, None).await.unwrap();
    assert_eq!(status, 200, "{bug:?}: {listed}");
    listed.as_array().unwrap().iter().any(|listed| listed["reference"] == reference)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_that_was_acknowledged_and_dropped_is_found() {
    assert!(lists_what_it_acknowledged(None).await, "without a bug it is not listed");
    assert!(!lists_what_it_acknowledged(Some("NoticeDropped")).await, "the bug is not caught");
}
