//! The load generator against a real shop on a socket: it buys, counts and checks, and reports clearly what it cannot
//! do.

mod fakes;

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use souk::{
    config::{Config, Switch},
    domain::{ids::SellerId, product::Editor},
    http::serve,
    internals::{
        app::{demo, import::import_entries, tokens},
        catalogue::{demo::DemoCatalogue, entry::Entry},
        verify::history::{Answer, Call, History, Outcome},
    },
    shop::Shop,
};
use souk_load::{Arrivals, Kind, LoadError, NoAnswer, Operator, Plan, Protocol, Report, Scenario};
use tokio::{net::TcpListener, sync::Notify};

use self::fakes::{ENDED, LATER, Then, forgetful_shop, refusing_shop, shop_until};

const PRODUCTS: usize = 40;

struct Served {
    shop: Shop,
    url: String,
    stop: Arc<Notify>,
    directory: tempfile::TempDir,
}

async fn served() -> Served {
    served_with(|config| config.limits.rates = Switch::Off).await
}

async fn served_with(change: impl FnOnce(&mut Config)) -> Served {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config { data_dir: directory.path().into(), ..Config::default() };
    change(&mut config);
    let shop = Shop::open(config).await.unwrap();
    demo::fill(&shop, 1, 1).await.unwrap();
    let plenty = DemoCatalogue::new(1, PRODUCTS).map(|entry| Entry { stock: Some(100_000), ..entry });
    import_entries(&shop, plenty, Editor::Admin(SellerId(0))).await.unwrap();
    shop.catch_up(std::time::Duration::from_secs(30)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (router, stop) = (souk::http::router(shop.clone()), Arc::new(Notify::new()));
    let (limits, stopped) = (shop.config().limits.clone(), Arc::clone(&stop));
    tokio::spawn(async move { serve(router, listener, &limits, stopped.notified()).await });
    Served { shop, url, stop, directory }
}

impl Served {
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    async fn close(self) {
        self.stop.notify_one();
        self.shop.close().await.unwrap();
    }
}

fn plan(url: &str, scenario: Scenario, arrivals: Arrivals) -> Plan {
    Plan {
        url: url.to_owned(),
        scenario,
        arrivals,
        seconds: 1,
        users: 4,
        tokens: None,
        operator: None,
        in_flight_max: 64,
        request_ms_max: 15_000,
        products: 5,
        product: None,
        queries: None,
        baskets: None,
        history: None,
        seed: 7,
        protocol: Protocol::Http1,
        generator: "a test".into(),
    }
}

async fn run(plan: Plan) -> Report {
    souk_load::run(plan, std::future::pending(), |_| {}).await.unwrap()
}

fn done(report: &Report, kind: Kind) -> u64 {
    report.rows.iter().find(|row| row.kind == kind).map_or(0, |row| row.done)
}

fn failures(report: &Report) -> u64 {
    report.failures()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_that_customers_paid_for_exists() {
    let served = served().await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let plan = Plan { protocol, ..plan(&served.url, Scenario::Shop, Arrivals::Closed { callers: 4 }) };
        let report = run(plan).await;
        assert_eq!(failures(&report), 0, "{report}");
        assert!(done(&report, Kind::Payment) > 0, "{report}");
        assert_eq!(report.verdict.orders, done(&report, Kind::Payment), "{report}");
        assert_eq!((report.verdict.wrong, report.verdict.unknown), (0, 0), "{report}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["plan"]["scenario"], "shop");
        assert_eq!(json["verdict"]["orders"], report.verdict.orders);
        let row = |kind| report.rows.iter().find(|row| row.kind == kind).unwrap();
        assert_eq!(row(Kind::Journey).done, row(Kind::Payment).done, "{report}");
        assert!(
            row(Kind::Journey).p50_ms > row(Kind::Payment).p50_ms,
            "a journey is longer than its payment: {report}"
        );
        assert!(report.to_string().contains("Use --rate to measure latencies"), "{report}");
    }
    served.close().await;
}

/// Customers without passwords in bulk, the operator's journeys, and the files of a run.
#[tokio::test(flavor = "multi_thread")]
async fn a_marketplace_of_customers_in_bulk_delivers_and_leaves_a_history() {
    let served = served().await;
    let mut lines = Vec::new();
    tokens::write(&served.shop, 20, Some("admin@demo.example"), &mut lines).await.unwrap();
    let tokens = served.file("tokens.jsonl", std::str::from_utf8(&lines).unwrap());
    let history = served.directory.path().join("history.jsonl");
    let market = plan(&served.url, Scenario::Marketplace, Arrivals::Closed { callers: 4 });
    let (tokens, history_file) = (Some(tokens), Some(history.clone()));
    let report = run(Plan { tokens, history: history_file, products: 20, ..market }).await;
    assert!(report.is_clean(), "{report}");
    for kind in [Kind::Payment, Kind::Pack, Kind::Ship, Kind::Deliver, Kind::Stock] {
        assert!(done(&report, kind) > 0, "{report}");
    }
    assert_eq!(report.plan.users, 20);
    assert_eq!((report.verdict.stocks, report.verdict.stocks_wrong), (20, 0), "{report}");
    assert_eq!(report.conditions.settings["version"], env!("CARGO_PKG_VERSION"));
    assert!(report.to_string().contains("fdatasync before every acknowledgement"), "{report}");
    let counted: u64 = report.series.iter().map(|second| second.done).sum();
    let requests = report.rows.iter().filter(|row| row.kind != Kind::Journey);
    assert_eq!(counted, requests.map(|row| row.done).sum::<u64>());

    let html = report.to_html();
    assert!(html.matches("<polyline").count() > 10, "a chart without its lines");
    for foreign in ["<script", "src=", "url(", "<link"] {
        assert!(!html.contains(foreign), "the report must stand alone: {foreign}");
    }

    let history = History::read(&history).unwrap();
    let is_paid = |outcome: &Outcome| matches!(outcome, Outcome::Ok(Answer::Payment(payment)) if payment.captured);
    let paid = history.ops.iter().filter(|op| is_paid(&op.outcome)).count() as u64;
    assert_eq!((history.cut, paid), (false, done(&report, Kind::Payment)));
    for op in &history.ops {
        if let (Call::Checkout { customer, .. }, Some(Answer::Order(order))) = (&op.call, op.answer()) {
            assert_eq!(order.owner.as_ref(), Some(customer), "the order tells whose it is");
        }
    }
    assert!(history.ops.iter().any(|op| matches!(op.answer(), Some(Answer::Stock(_)))));
    assert!(history.ops.iter().any(|op| matches!(op.answer(), Some(Answer::Cart(cart)) if !cart.lines.is_empty())));
    served.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_in_bulk_have_no_password_and_operators_must_be_admins() {
    let served = served().await;
    let write = async |customers, operator| {
        let mut lines = Vec::new();
        tokens::write(&served.shop, customers, operator, &mut lines).await.map(|()| lines.len())
    };
    assert!(write(3, None).await.unwrap() > 0);
    let login = served.shop.login("customer-0@load.example", "load generator password".to_owned().into()).await;
    assert!(matches!(login, Err(souk::shop::Error::WrongCredentials)), "{login:?}");
    let refused = async |customers, operator| write(customers, operator).await.unwrap_err().to_string();
    assert!(refused(0, None).await.contains("1 to 100000"));
    assert!(refused(1, Some("nobody@demo.example")).await.contains("no account"));
    assert!(refused(1, Some("customer@demo.example")).await.contains("is a customer"));
    served.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mix_with_real_baskets_and_a_run_that_is_ended_early() {
    let served = served().await;
    let baskets = served.file("baskets.csv", "invoice,quantity\n1,3\n1,2\n2,-1\n");
    let queries = served.file("queries.csv", "query\nmouse\n");
    let mix = plan(&served.url, Scenario::Shop, Arrivals::Closed { callers: 2 });
    let plan = Plan { seconds: 600, baskets: Some(baskets), queries: Some(queries), ..mix };
    let enough = tokio::time::sleep(std::time::Duration::from_secs(1));
    let report = souk_load::run(plan, enough, |_| {}).await.unwrap();
    assert!(report.interrupted && !report.is_clean() && report.seconds < 60.0, "{report}");
    assert!(report.to_string().contains("ended early"), "{report}");
    assert!(done(&report, Kind::Payment) > 0 && failures(&report) == 0, "{report}");
    assert_eq!((report.verdict.orders, report.verdict.wrong), (done(&report, Kind::Payment), 0), "{report}");
    let buyer = served.shop.principal("load-7-0@load.example").await.unwrap();
    let orders = served.shop.orders(&buyer, None, 1).await.unwrap().orders;
    let lines = &orders[0].order.placement().unwrap().lines;
    let mut quantities: Vec<u32> = lines.iter().map(|line| line.quantity).collect();
    quantities.sort_unstable();
    assert_eq!(quantities, [2, 3]);
    served.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_and_a_missing_operator_are_reported_before_the_run() {
    let served = served().await;
    let line = r#"{"role":"customer","access_token":"nonsense","access_expires_at":"2099-01-01T00:00:00Z","refresh_token":"r"}"#;
    let fails = async |scenario, tokens: Option<PathBuf>, operator| {
        let plan = plan(&served.url, scenario, Arrivals::Closed { callers: 1 });
        souk_load::run(Plan { tokens, operator, ..plan }, std::future::pending(), |_| {}).await.unwrap_err()
    };
    let wrong = fails(Scenario::Shop, Some(served.file("wrong", line)), None).await;
    assert!(matches!(&wrong, LoadError::Refused { status: 401, .. }), "{wrong}");
    let corrupt = fails(Scenario::Shop, Some(served.file("corrupt", &line[..40])), None).await;
    assert!(matches!(&corrupt, LoadError::File { .. }) && corrupt.to_string().contains("line 1"), "{corrupt}");
    let nobody = fails(Scenario::Marketplace, None, None).await;
    assert!(matches!(&nobody, LoadError::NoOperator), "{nobody}");
    let operator = Operator { email: "admin@demo.example".into(), password: "a wrong password".to_owned().into() };
    let refused = fails(Scenario::Marketplace, None, Some(operator)).await;
    assert!(matches!(&refused, LoadError::Refused { status: 401, .. }), "{refused}");
    served.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flash_sale_sells_every_unit_and_counts_sold_out_as_an_answer() {
    let served = served().await;
    let admin = served.shop.principal("admin@demo.example").await.unwrap();
    let product = "demo-000007".parse().unwrap();
    served.shop.count_stock(&admin, &product, 3).await.unwrap();
    let sale = plan(&served.url, Scenario::FlashSale, Arrivals::Open { rate: 30.0 });
    let report = run(Plan { product: Some("demo-000007".into()), ..sale }).await;
    assert_eq!(failures(&report), 0, "{report}");
    assert_eq!(done(&report, Kind::Payment), 3, "{report}");
    let checkout = report.rows.iter().find(|row| row.kind == Kind::Checkout).unwrap();
    assert!(checkout.refused > 0, "{report}");
    assert_eq!(served.shop.inventory(&admin, &product).await.unwrap().available, 0);
    served.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn journeys_begin_at_the_rate_and_browsing_needs_no_login() {
    let served = served().await;
    let report = run(plan(&served.url, Scenario::Browse, Arrivals::Open { rate: 50.0 })).await;
    assert_eq!(done(&report, Kind::Page) + done(&report, Kind::Search) + report.not_sent, 50, "{report}");
    assert!(done(&report, Kind::Page) > 0 && done(&report, Kind::Search) > 0, "{report}");
    served.close().await;
}

#[tokio::test]
async fn an_impossible_plan_is_refused_with_a_reason() {
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let open = Arrivals::Open { rate: 10.0 };
    let fails = async |plan: Plan| souk_load::run(plan, std::future::pending(), |_| {}).await.unwrap_err();
    let unreachable = fails(plan(&nobody, Scenario::Browse, open)).await;
    assert!(matches!(&unreachable, LoadError::Unreachable { .. }), "{unreachable}");
    assert!(unreachable.to_string().contains("refused"), "{unreachable}");
    for url in ["nonsense", "ftp://127.0.0.1", "https://127.0.0.1"] {
        let error = fails(plan(url, Scenario::Browse, open)).await;
        assert!(matches!(&error, LoadError::Address { .. }), "{url}: {error}");
    }
    for (wrong, setting) in [
        (plan(&nobody, Scenario::Browse, Arrivals::Open { rate: 0.0 }), "--rate"),
        (plan(&nobody, Scenario::Browse, Arrivals::Open { rate: f64::NAN }), "--rate"),
        (plan(&nobody, Scenario::Browse, Arrivals::Closed { callers: 0 }), "--callers"),
        (Plan { seconds: 0, ..plan(&nobody, Scenario::Browse, open) }, "--seconds"),
        (Plan { users: 0, ..plan(&nobody, Scenario::Shop, open) }, "--users"),
    ] {
        let error = fails(wrong).await;
        assert!(matches!(&error, LoadError::Impossible { setting: found, .. } if *found == setting), "{error}");
    }
}

/// The requests of a run before its first journey in this scenario: `livez`, the list, and `readyz`.
const ASKED_BEFORE_BROWSING: u64 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_report_says_why_requests_were_not_answered() {
    for (then, reason, words) in [
        (Then::StopListening, NoAnswer::ConnectionRefused, "connection refused"),
        (Then::CloseConnection, NoAnswer::ConnectionClosed, "connection closed before the answer"),
        (Then::NeverAnswer, NoAnswer::TimedOut, "timed out"),
    ] {
        let url = shop_until(ASKED_BEFORE_BROWSING, then);
        let browse = plan(&url, Scenario::Browse, Arrivals::Open { rate: 20.0 });
        let report = run(Plan { request_ms_max: 300, ..browse }).await;
        assert!(!report.is_clean() && report.failures() == 20, "{report}");
        let counted: u64 = report.unanswered.iter().filter(|one| one.reason == reason).map(|one| one.count).sum();
        // The request during which the listener closes may be reset.
        assert!(counted >= 19, "{reason:?}: {report}");
        for kind in ["search", "page"] {
            assert!(report.to_string().contains(&format!(" x {kind}: {words}")), "{kind}, {words}: {report}");
        }
        assert!(report.to_html().contains(words));
        let journeys = report.rows.iter().find(|row| row.kind == Kind::Journey).unwrap();
        assert_eq!(journeys.unanswered, 20, "{report}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["unanswered"][0]["reason"], serde_json::to_value(reason).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn journeys_that_did_not_begin_are_marked_in_the_table() {
    let url = shop_until(ASKED_BEFORE_BROWSING, Then::NeverAnswer);
    let browse = plan(&url, Scenario::Browse, Arrivals::Open { rate: 20.0 });
    let report = run(Plan { request_ms_max: 2_000, in_flight_max: 3, ..browse }).await;
    assert_eq!(report.not_sent, 17, "{report}");
    assert!(report.to_string().contains("request * "), "{report}");
    assert!(report.to_string().contains("* 17 journeys were due and not begun, because --in-flight 3"), "{report}");
}

#[tokio::test]
async fn a_wrong_path_is_named() {
    let served = served().await;
    let nested = plan(&format!("{}/foo", served.url), Scenario::Browse, Arrivals::Open { rate: 1.0 });
    let error = souk_load::run(nested, std::future::pending(), |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("there is no shop: GET") && error.contains("/foo/livez answered 404"), "{error}");
    served.close().await;
}

/// Every kind of call in a generator's history.
fn generated_calls() -> [souk_load::history::Call; 7] {
    use souk_load::history as generator;

    let text = str::to_owned;
    [
        generator::Call::StockRead { product: text("p") },
        generator::Call::CartAdd { customer: text("c"), items: vec![(text("p"), 2)] },
        generator::Call::CartRemove { customer: text("c"), product: text("p") },
        generator::Call::Checkout { customer: text("c"), total: 5 },
        generator::Call::Pay { customer: text("c"), order: text("o"), method: text("m") },
        generator::Call::OrderRead { customer: text("c"), order: text("o") },
        generator::Call::Advance { order: text("o"), to: text("packed") },
    ]
}

/// Every kind of outcome in a generator's history.
fn generated_outcomes() -> [souk_load::history::Outcome; 7] {
    use souk_load::history::{self as generator, Cart, Cause, Order, Payment, Refusal, Stock};

    let text = str::to_owned;
    let total = serde_json::json!({ "amount": 5, "currency": "INR" });
    let (order, owner, lines) = (text("o"), Some(text("c")), vec![(text("p"), 2)]);
    [
        generator::Outcome::Ok(generator::Answer::Stock(Stock {
            received: 5,
            on_hand: 4,
            sold: 1,
            reserved: 2,
            available: 2,
        })),
        generator::Outcome::Ok(generator::Answer::Cart(Cart { version: 1, lines: lines.clone() })),
        generator::Outcome::Ok(generator::Answer::Order(Order {
            order,
            owner,
            state: text("confirmed"),
            lines,
            total,
            sold: true,
        })),
        generator::Outcome::Ok(generator::Answer::Payment(Payment {
            order: text("o"),
            state: text("paid"),
            attempt: 1,
            captured: true,
        })),
        generator::Outcome::Ok(generator::Answer::Done),
        generator::Outcome::Fail(Refusal { status: 409, code: text("cart-changed") }),
        generator::Outcome::Unknown(Cause::Timeout),
    ]
}

/// The generator and the checker have types of their own for the history: each line of one must be readable by the
/// other.
#[test]
fn the_checker_reads_every_line_that_the_generator_writes() {
    use souk::internals::verify::history as checker;
    use souk_load::history::{self as generator, Cause, Log};

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.jsonl");
    let (calls, outcomes) = (generated_calls(), generated_outcomes());
    let log = Log::create(&path, "http://127.0.0.1:1").unwrap();
    for (call, outcome) in calls.iter().zip(&outcomes) {
        let op = log.invoke(7, call.clone()).unwrap();
        log.end(op, outcome.clone()).unwrap();
    }
    for cause in [Cause::Reset, Cause::ServerError] {
        let op = log.invoke(8, calls[0].clone()).unwrap();
        log.end(op, generator::Outcome::Unknown(cause)).unwrap();
    }
    let read = History::read(&path).unwrap();
    assert_eq!((read.shop.as_str(), read.ops.len(), read.cut), ("http://127.0.0.1:1", calls.len() + 2, false));
    fn json(value: &impl serde::Serialize) -> serde_json::Value {
        serde_json::to_value(value).unwrap()
    }
    for (op, call) in read.ops.iter().zip(&calls) {
        assert_eq!(json(&op.call), json(call), "the checker understood a call as another");
    }
    for (op, outcome) in read.ops.iter().zip(&outcomes) {
        match (&op.outcome, outcome) {
            (Outcome::Ok(read), generator::Outcome::Ok(written)) => assert_eq!(json(read), json(written)),
            (Outcome::Fail(read), generator::Outcome::Fail(written)) => assert_eq!(json(read), json(written)),
            (Outcome::Unknown(read), generator::Outcome::Unknown(written)) => assert_eq!(json(read), json(written)),
            (read, written) => panic!("{read:?} was written as {written:?}"),
        }
    }
    let causes: Vec<_> = read.ops.iter().map(|op| &op.outcome).skip(calls.len()).cloned().collect();
    let unknown = [checker::Cause::Reset, checker::Cause::ServerError].map(Outcome::Unknown);
    assert_eq!(causes, unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_reports_a_missing_order() {
    let renewals = Arc::default();
    let url = forgetful_shop(&renewals, ENDED);
    let report = run(plan(&url, Scenario::FlashSale, Arrivals::Closed { callers: 1 })).await;
    assert!(done(&report, Kind::Payment) > 0, "{report}");
    assert_eq!((report.verdict.orders, report.verdict.wrong), (1, 1), "{report}");
    assert!(!report.is_clean());
}

/// An expired token is renewed. A failed renewal is reported, and no request is sent with the expired token.
#[tokio::test(flavor = "multi_thread")]
async fn renewals_that_fail_are_counted_as_such() {
    let renewals = Arc::default();
    let url = forgetful_shop(&renewals, ENDED);
    let report = run(plan(&url, Scenario::FlashSale, Arrivals::Closed { callers: 1 })).await;
    let asked = renewals.load(Ordering::Relaxed);
    assert!(asked > 2, "{report}");
    assert_eq!(report.renewals_failed, asked - 2, "{report}");
    assert_eq!(done(&report, Kind::Payment), 2, "{report}");
    assert!(report.to_string().contains("renewals of tokens failed"), "{report}");
}

/// A stock with units made or lost is found.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_reports_a_stock_that_does_not_add_up() {
    let served = served().await;
    let operator = || Some(Operator { email: "admin@demo.example".into(), password: demo::PASSWORD.to_owned().into() });
    let sale = |url: &str| plan(url, Scenario::FlashSale, Arrivals::Closed { callers: 1 });
    let right = run(Plan { operator: operator(), ..sale(&served.url) }).await;
    assert_eq!((right.verdict.stocks, right.verdict.stocks_wrong), (1, 0), "{right}");
    let url = forgetful_shop(&Arc::default(), LATER);
    let wrong = run(Plan { operator: operator(), ..sale(&url) }).await;
    assert_eq!((wrong.verdict.stocks, wrong.verdict.stocks_wrong), (1, 1), "{wrong}");
    served.close().await;
}

/// A run in which all requests of a kind were refused has measured nothing, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_which_nothing_was_sold_or_shown_is_not_clean() {
    for (refused, status, code, scenario, words) in [
        (&["POST /cart"][..], 401, "unauthenticated", Scenario::Shop, "Nothing was sold: "),
        (&["POST /checkout"], 409, "insufficient-stock", Scenario::FlashSale, "Nothing was sold: "),
        (&["POST /payment"], 402, "payment-declined", Scenario::Shop, "Nothing was sold: "),
        // The provider does not answer, so nobody knows whether it was paid.
        (&["POST /payment"], 202, "unknown-outcome", Scenario::FlashSale, "Nothing was sold: "),
        (&["GET /products/", "GET /products?q"], 429, "too-many", Scenario::Browse, "Nothing was shown: "),
    ] {
        let url = refusing_shop(refused, status, code);
        // Browsing asks for no product before it begins; buying looks at the one that it buys.
        let report = run(plan(&url, scenario, Arrivals::Open { rate: 10.0 })).await;
        let said = report.to_string();
        assert_eq!((report.failures(), report.not_sent), (0, 0), "{said}");
        assert!(!report.is_clean() && !report.is_clean_so_far(), "{refused:?}: {said}");
        assert!(report.to_html().contains("Not clean") && said.contains(words), "{said}");
        let answers = said.lines().find(|line| line.starts_with(words)).unwrap();
        match status {
            202 => assert!(answers.contains(" x payment answered, but not as paid"), "{said}"),
            _ => assert!(answers.contains(&format!("{status} {code}")), "{said}"),
        }
    }
}

/// A run that meets the limits of one client says how to switch them off.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_limited_says_so() {
    let served = served_with(|config| config.rates.requests_per_minute = 200).await;
    let report = run(plan(&served.url, Scenario::Browse, Arrivals::Closed { callers: 4 })).await;
    let said = report.to_string();
    assert!(done(&report, Kind::Page) > 0 && !report.is_clean(), "{said}");
    assert!(said.contains("start it with SOUK_LIMITS__RATES=off"), "{said}");
    served.close().await;
    let served = served_with(|config| config.rates.logins_per_minute = 4).await;
    let buying = Plan { users: 8, ..plan(&served.url, Scenario::Shop, Arrivals::Closed { callers: 4 }) };
    let refused = souk_load::run(buying, std::future::pending(), |_| {}).await;
    let said = refused.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(said.contains("start it with SOUK_LIMITS__RATES=off"), "{said}");
    served.close().await;
}
