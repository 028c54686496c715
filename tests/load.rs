//! The load generator against a real shop on a socket: it shops, counts, checks, and says clearly what it cannot do.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::{
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use souk::{
    app::{
        demo,
        import::{Mode, import_entries},
        serve::serve,
    },
    catalog::{demo::DemoCatalog, row::Entry},
    config::Config,
    domain::{ids::UserId, product::Editor},
    load::{self, Arrivals, Kind, LoadError, Plan, Protocol, Report, Scenario},
    shop::{Shop, catalogue::SetStock},
};
use tokio::{net::TcpListener, sync::Notify};

const PRODUCTS: usize = 40;

struct Served {
    shop: Shop,
    url: String,
    stop: Arc<Notify>,
    _directory: tempfile::TempDir,
}

async fn served() -> Served {
    let directory = tempfile::tempdir().unwrap();
    let shop = Shop::open(Config { data_dir: directory.path().into(), ..Config::default() }).await.unwrap();
    demo::fill(&shop, 1, 1).await.unwrap();
    let plenty = DemoCatalog::new(1, PRODUCTS).map(|entry| Entry { stock: Some(100_000), ..entry });
    let mode = Mode { editor: Editor::Admin(UserId(0)), set_stock: SetStock::Always };
    import_entries(&shop, plenty, mode).await.unwrap();
    for progress in shop.progress() {
        progress.catch_up(std::time::Duration::from_secs(30)).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (router, stop) = (souk::http::router(shop.clone()), Arc::new(Notify::new()));
    let (limits, stopped) = (shop.config().limits.clone(), Arc::clone(&stop));
    tokio::spawn(async move { serve(router, listener, &limits, stopped.notified()).await });
    Served { shop, url, stop, _directory: directory }
}

impl Served {
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
        in_flight_max: 64,
        request_ms_max: 15_000,
        products: 5,
        product: None,
        queries: None,
        seed: 7,
        protocol: Protocol::Http1,
    }
}

async fn run(plan: Plan) -> Report {
    load::run(plan, |_| {}).await.unwrap()
}

fn done(report: &Report, kind: Kind) -> u64 {
    report.rows.iter().find(|row| row.kind == kind).map_or(0, |row| row.done)
}

fn failures(report: &Report) -> u64 {
    report.rows.iter().map(|row| row.failed + row.unanswered).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_shop_and_what_they_paid_for_is_there() {
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
    }
    served.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flash_sale_sells_what_there_is_and_being_sold_out_is_an_answer() {
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
async fn arrivals_come_at_their_rate_and_need_no_login_to_browse() {
    let served = served().await;
    let report = run(plan(&served.url, Scenario::Browse, Arrivals::Open { rate: 50.0 })).await;
    assert_eq!(done(&report, Kind::Page) + done(&report, Kind::Search) + report.not_sent, 50, "{report}");
    assert!(done(&report, Kind::Page) > 0 && done(&report, Kind::Search) > 0, "{report}");
    served.close().await;
}

#[tokio::test]
async fn a_plan_that_cannot_be_carried_out_is_refused_with_its_reason() {
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let open = Arrivals::Open { rate: 10.0 };
    let fails = async |plan: Plan| load::run(plan, |_| {}).await.unwrap_err();
    let unreachable = fails(plan(&nobody, Scenario::Browse, open)).await;
    assert!(matches!(&unreachable, LoadError::Unreachable { .. }), "{unreachable}");
    assert!(unreachable.to_string().contains("refused"), "{unreachable}");
    for url in ["nonsense", "ftp://127.0.0.1", "https://127.0.0.1"] {
        let error = fails(plan(url, Scenario::Browse, open)).await;
        assert!(matches!(&error, LoadError::Unreachable { .. }), "{url}: {error}");
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

/// A shop that forgets what it sold: everything can be bought, and no order is there afterwards. Its tokens end at once, and it
/// counts how often they are renewed.
fn forgetful_shop(renewals: &Arc<AtomicU64>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let renewals = Arc::clone(renewals);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let renewals = Arc::clone(&renewals);
            std::thread::spawn(move || {
                let mut request = [0; 4_096];
                let length = stream.read(&mut request).unwrap_or(0);
                let head = String::from_utf8_lossy(&request[..length]).into_owned();
                renewals.fetch_add(u64::from(head.starts_with("POST /auth/refresh ")), Ordering::Relaxed);
                let (status, body) = answer(head.lines().next().unwrap_or_default());
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
            });
        }
    });
    url
}

fn answer(line: &str) -> (u16, &'static str) {
    match line {
        line if line.starts_with("GET /orders/") => (404, "{}"),
        line if line.starts_with("GET /products?") => (200, r#"{"items":[{"id":"p","title":"A thing"}]}"#),
        line if line.starts_with("GET /products/") => (200, r#"{"purchasable":true,"quantity":9,"variants":[]}"#),
        line if line.starts_with("POST /auth/") => {
            (200, r#"{"access_token":"t","access_expires_at":"2026-01-01T00:00:00Z","refresh_token":"r"}"#)
        }
        _ => (200, r#"{"order_id":"o","total":{"amount":1,"currency":"INR"}}"#),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_that_forgets_an_order_is_found_out() {
    let renewals = Arc::default();
    let url = forgetful_shop(&renewals);
    let report = run(plan(&url, Scenario::FlashSale, Arrivals::Closed { callers: 1 })).await;
    assert!(done(&report, Kind::Payment) > 0, "{report}");
    assert_eq!((report.verdict.orders, report.verdict.wrong), (1, 1), "{report}");
    assert!(!report.is_clean());
    assert!(renewals.load(Ordering::Relaxed) > 0, "a token that has ended is renewed");
}
