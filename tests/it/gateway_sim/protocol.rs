//! The simulated provider and its adapter by themselves, without a shop: every operation, every fault, and the notices.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::{Router, body::Bytes, http::HeaderMap, http::StatusCode, routing::post};
use parking_lot::Mutex;
use secrecy::SecretString;
use serde_json::json;
use souk::{
    app::serve::serve,
    config::Limits,
    domain::{
        entity::Timestamp,
        ids::OrderId,
        money::{Currency, Money},
        order::{About, CaptureMode, PaymentState, RefundState},
    },
    gateway_sim::{self, Fault, Mischief, RULES_MAX, Rule, Script, Webhook},
    payments::{
        Gateway, Notice, NoticeRefused, Operation, Payment, Repayment,
        fake_provider::FakeProvider,
        simulator::{Simulator, SimulatorConfig},
    },
};
use tokio::{net::TcpListener, task::JoinHandle};

/// How long a test waits for something that is to happen, in milliseconds.
const PATIENCE_MS: u64 = 20_000;
/// How long the adapter waits for an answer, in milliseconds.
const ANSWER_MS: u64 = 1_000;

struct Server {
    url: String,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

fn start(router: Router, listener: TcpListener, url: String) -> Server {
    let task = tokio::spawn(async move {
        serve(router, listener, &Limits::default(), std::future::pending()).await;
    });
    Server { url, task }
}

/// A provider, and the adapter that speaks to it.
async fn provider(books: FakeProvider, webhook: Option<Webhook>) -> (Server, Simulator) {
    let (listener, url) = listen().await;
    let books = books.with_page(format!("{url}/authenticate"));
    let server = start(gateway_sim::router(books, Script::default(), webhook), listener, url.clone());
    let adapter = Simulator::new(SimulatorConfig { url, answer_ms_max: ANSWER_MS, secrets: secrets() }).unwrap();
    (server, adapter)
}

async fn fresh() -> (Server, Simulator) {
    provider(FakeProvider::in_memory(), None).await
}

fn secrets() -> Vec<SecretString> {
    ["the next", "the present"].map(SecretString::from).to_vec()
}

async fn plan(server: &Server, rules: &[Rule]) -> u16 {
    let url = format!("{}/script", server.url);
    reqwest::Client::new().put(url).json(rules).send().await.unwrap().status().as_u16()
}

fn money(minor: u64) -> Money {
    Money::new(minor, Currency::INR).unwrap()
}

fn payment(order: u128, attempt: u32, method: &str) -> Payment {
    let (order, method, capture) = (OrderId(order), method.to_owned(), CaptureMode::AtOnce);
    Payment { order, attempt, amount: money(500), method, capture, reference: None }
}

fn repayment(order: u128, number: u32, minor: u64) -> Repayment {
    let (order, payment) = (OrderId(order), String::new());
    Repayment { order, number, attempt: 1, amount: money(minor), payment, reference: None }
}

fn is_captured(state: &PaymentState) -> bool {
    matches!(state, PaymentState::Captured { amount, .. } if *amount == money(500))
}

async fn lines(server: &Server) -> usize {
    let url = format!("{}/ledger", server.url);
    reqwest::get(url).await.unwrap().json::<Vec<serde_json::Value>>().await.unwrap().len()
}

async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_millis(PATIENCE_MS), looking).await.unwrap()
}

#[tokio::test]
async fn a_payment_is_held_captured_refunded_and_known_ever_after() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("ledger.jsonl");
    let open = |path: &Path| FakeProvider::open(path).unwrap();
    let (server, gateway) = provider(open(&ledger), None).await;
    let held = Payment { capture: CaptureMode::Later, ..payment(1, 1, "tok_success") };
    assert_eq!(gateway.find(held.clone()).await.unwrap(), None);
    assert!(gateway.capture(held.clone()).await.is_err(), "there is nothing to capture");
    for _ in 0..2 {
        let PaymentState::Authorised { amount, .. } = gateway.pay(held.clone()).await.unwrap() else {
            panic!("not held")
        };
        assert_eq!(amount, money(500));
    }
    for _ in 0..2 {
        assert!(is_captured(&gateway.capture(held.clone()).await.unwrap()));
    }
    assert!(is_captured(&gateway.void(held.clone()).await.unwrap()), "too late to give it up");
    for (number, minor) in [(1, 200), (1, 200), (2, 300)] {
        let refunded = gateway.refund(repayment(1, number, minor)).await.unwrap();
        assert!(matches!(refunded, RefundState::Refunded { .. }), "{refunded:?}");
    }
    assert!(gateway.refund(repayment(1, 2, 301)).await.is_err(), "a key for one refund");
    let failed = RefundState::Failed { reason: "more_than_captured".into() };
    assert_eq!(gateway.refund(repayment(1, 3, 1)).await.unwrap(), failed);
    assert!(gateway.refund(repayment(9, 1, 1)).await.is_err(), "of no payment");
    let before = lines(&server).await;
    drop(server);
    let (server, gateway) = provider(open(&ledger), None).await;
    assert!(is_captured(&gateway.find(held.clone()).await.unwrap().unwrap()));
    assert_eq!(gateway.refund(repayment(1, 3, 1)).await.unwrap(), failed);
    assert_eq!((lines(&server).await, before), (5, 5), "held, captured, three refunds");
    let found = |number: u32| {
        let body = json!({"order": OrderId(1).to_string(), "number": number});
        let request = reqwest::Client::new().post(format!("{}/refunds/find", server.url)).json(&body);
        async { request.send().await.unwrap().json::<serde_json::Value>().await.unwrap() }
    };
    assert_eq!(found(3).await, json!({"found": {"status": "failed", "reason": "more_than_captured"}}));
    assert_eq!(found(4).await, json!({"found": null}));
    let page = gateway.list_payments(Timestamp(0), Timestamp(u64::MAX), None).await.unwrap();
    assert_eq!((page.payments.len(), page.next), (1, None));
    assert_eq!((page.payments[0].of, page.payments[0].refunded_minor), (Some((OrderId(1), 1)), 500));
}

#[tokio::test]
async fn what_is_given_up_is_never_charged_also_where_it_was_never_heard_of() {
    let (_server, gateway) = fresh().await;
    for (order, is_heard_of) in [(1, false), (2, true)] {
        let held = Payment { capture: CaptureMode::Later, ..payment(order, 1, "tok_success") };
        if is_heard_of {
            gateway.pay(held.clone()).await.unwrap();
        }
        for _ in 0..2 {
            assert!(matches!(gateway.void(held.clone()).await.unwrap(), PaymentState::Voided { .. }));
        }
        assert!(
            matches!(gateway.pay(held.clone()).await.unwrap(), PaymentState::Voided { .. }),
            "a request that was late"
        );
        assert!(matches!(gateway.capture(held).await.unwrap(), PaymentState::Voided { .. }));
    }
}

#[tokio::test]
async fn tokens_have_their_ways() {
    let (server, gateway) = fresh().await;
    let declined = PaymentState::Declined { reason: "insufficient_funds".into() };
    assert_eq!(gateway.pay(payment(1, 1, "tok_insufficient_funds")).await.unwrap(), declined);
    assert!(gateway.pay(payment(2, 1, "tok_timeout_after_charge")).await.is_err());
    assert!(is_captured(&gateway.pay(payment(2, 1, "tok_timeout_after_charge")).await.unwrap()));
    assert!(gateway.pay(payment(3, 1, "tok_slow")).await.is_err(), "slower than the adapter waits");
    assert!(is_captured(&gateway.pay(payment(3, 1, "tok_slow")).await.unwrap()));
    gateway.pay(payment(4, 1, "tok_refund_fails")).await.unwrap();
    assert!(matches!(gateway.refund(repayment(4, 1, 1)).await.unwrap(), RefundState::Failed { .. }));
    let working = gateway.pay(payment(5, 1, "tok_processing")).await.unwrap();
    assert!(matches!(working, PaymentState::Processing { .. }));
    until(async || gateway.find(payment(5, 1, "")).await.unwrap().filter(is_captured)).await;
    assert_eq!(lines(&server).await, 7);
}

#[tokio::test]
async fn a_customer_approves_or_declines_on_the_page() {
    let (server, gateway) = fresh().await;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    for (order, decision) in [(1, "approve"), (2, "decline")] {
        let asked = payment(order, 1, "tok_3ds");
        let PaymentState::ActionRequired { url, .. } = gateway.pay(asked.clone()).await.unwrap() else {
            panic!("no page")
        };
        assert!(gateway.capture(asked.clone()).await.is_err(), "it waits for its customer");
        let page = http.get(&url).send().await.unwrap();
        assert_eq!((page.status().as_u16(), page.text().await.unwrap().contains("Approve")), (200, true));
        let post = |query: &str, said: &str| {
            let request = http.post(format!("{url}{query}")).body(format!("decision={said}"));
            request.header("content-type", "application/x-www-form-urlencoded").send()
        };
        assert_eq!(post("", "maybe").await.unwrap().status(), 422);
        assert_eq!(
            post("?return_url=https://example.org/", decision).await.unwrap().status(),
            422,
            "goes nowhere else"
        );
        assert!(matches!(gateway.find(asked.clone()).await.unwrap(), Some(PaymentState::ActionRequired { .. })));
        let done = post("?return_url=http://127.0.0.1:9/orders/1", decision).await.unwrap();
        assert_eq!(
            (done.status().as_u16(), &done.headers()["location"]),
            (303, &"http://127.0.0.1:9/orders/1".parse().unwrap())
        );
        assert_eq!(post("", "decline").await.unwrap().status(), 200, "said twice");
        let state = gateway.pay(asked).await.unwrap();
        assert_eq!(is_captured(&state), decision == "approve", "{state:?}");
        assert!(state.is_final());
    }
    for path in ["0/1", &format!("{}/1", OrderId(9)), "x/y"] {
        let status = http.get(format!("{}/authenticate/{path}", server.url)).send().await.unwrap().status();
        assert!(status.is_client_error(), "{path}: {status}");
    }
}

/// What was done, by operation, under each fault: the answer is unknown until the fault is over, and the thing is done once.
#[tokio::test]
async fn whatever_fails_each_operation_is_done_once_and_found_again() {
    let (server, gateway) = fresh().await;
    let faults = [
        Fault::RequestLost,
        Fault::AnswerLost,
        Fault::Silence,
        Fault::FailsBefore,
        Fault::FailsAfter,
        Fault::TooMany,
        Fault::Garbage,
    ];
    for (order, fault) in (1..).zip(faults) {
        let held = Payment { capture: CaptureMode::Later, ..payment(order, 1, "tok_success") };
        let (given_up, order_text) = (Payment { attempt: 2, ..held.clone() }, held.order.to_string());
        let before = lines(&server).await;
        for operation in [Operation::Charge, Operation::Capture, Operation::Void, Operation::Refund] {
            let rule =
                Rule { key_prefix: order_text.clone(), operation: Some(operation), times: Some(1), ..Rule::default() };
            assert_eq!(plan(&server, &[Rule { fault, ..rule }]).await, 204);
            let go = async || match operation {
                Operation::Create => unreachable!("the simulator has no such request"),
                Operation::Charge => gateway.pay(held.clone()).await.map(drop),
                Operation::Capture => gateway.capture(held.clone()).await.map(drop),
                Operation::Void => gateway.void(given_up.clone()).await.map(drop),
                Operation::Refund => gateway.refund(repayment(order, 1, 500)).await.map(drop),
            };
            assert!(go().await.is_err(), "{fault:?} of {operation:?}");
            assert!(go().await.is_ok(), "{fault:?} of {operation:?}, again");
        }
        assert_eq!(lines(&server).await - before, 4, "{fault:?}");
    }
}

#[tokio::test]
async fn the_script_lies_about_amounts_declines_and_has_a_limit() {
    let (server, gateway) = fresh().await;
    plan(&server, &[Rule { times: Some(2), fault: Fault::WrongAmount, ..Rule::default() }]).await;
    let wrong = |state: PaymentState| state.amount() == Some(money(501));
    assert!(wrong(gateway.pay(payment(1, 1, "tok_success")).await.unwrap()));
    assert!(wrong(gateway.find(payment(1, 1, "tok_success")).await.unwrap().unwrap()));
    assert!(is_captured(&gateway.pay(payment(1, 1, "tok_success")).await.unwrap()));
    plan(&server, &[Rule { fault: Fault::Declined, method: Some("tok_success".into()), ..Rule::default() }]).await;
    let declined = PaymentState::Declined { reason: "by_script".into() };
    assert_eq!(gateway.pay(payment(2, 1, "tok_success")).await.unwrap(), declined);
    let failed = RefundState::Failed { reason: "by_script".into() };
    assert_eq!(gateway.refund(repayment(1, 1, 1)).await.unwrap(), failed);
    assert_eq!(plan(&server, &vec![Rule::default(); RULES_MAX + 1]).await, 422);
    let contradiction = Rule { fault: Fault::Garbage, webhook: Some(Mischief::default()), ..Rule::default() };
    assert_eq!(plan(&server, &[contradiction]).await, 422);
}

#[tokio::test]
async fn the_books_are_read_page_by_page() {
    let (_server, gateway) = fresh().await;
    let orders = 250;
    for order in 1..=orders {
        gateway.pay(payment(order, 1, "tok_success")).await.unwrap();
    }
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = gateway.list_payments(Timestamp(0), Timestamp(u64::MAX), after).await.unwrap();
        seen.extend(page.payments.into_iter().filter_map(|booked| booked.of));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    seen.sort_unstable();
    assert_eq!((seen, pages), ((1..=orders).map(|order| (OrderId(order), 1)).collect(), 3));
    let none = gateway.list_payments(Timestamp(0), Timestamp(1), None).await.unwrap();
    assert!(none.payments.is_empty());
}

/// A shop's end of the webhook, which takes a notice only when it was sent so often; and what came there, in order.
struct Ear {
    server: Server,
    heard: Arc<Mutex<Vec<(String, Bytes)>>>,
}

impl Ear {
    async fn new(refuses: usize) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (listener, url) = listen().await;
        let ear = Arc::clone(&heard);
        let take = async move |headers: HeaderMap, body: Bytes| {
            let signature = headers["souk-signature"].to_str().unwrap().to_owned();
            let mut heard = ear.lock();
            let before = heard.iter().filter(|(_, earlier)| *earlier == body).count();
            heard.push((signature, body));
            if before < refuses { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
        };
        Self { server: start(Router::new().route("/hook", post(take)), listener, url), heard }
    }

    fn webhook(&self) -> Option<Webhook> {
        let secret = SecretString::from("the present");
        Some(Webhook::new(&format!("{}/hook", self.server.url), secret).unwrap())
    }

    /// What the adapter makes of the first so many.
    async fn told(&self, count: usize, gateway: &Simulator) -> Vec<Result<Notice, NoticeRefused>> {
        let heard = until(async || Some(self.heard.lock().clone()).filter(|heard| heard.len() >= count)).await;
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = Timestamp(u64::try_from(since.as_millis()).unwrap());
        heard.into_iter().map(|(signature, body)| gateway.notice(&signature, &body, now)).collect()
    }
}

#[tokio::test]
async fn what_happens_is_announced_until_it_is_taken() {
    let ear = Ear::new(1).await;
    let (server, gateway) = provider(FakeProvider::in_memory(), ear.webhook()).await;
    let held = Payment { capture: CaptureMode::Later, ..payment(1, 1, "tok_success") };
    gateway.pay(held.clone()).await.unwrap();
    gateway.capture(held.clone()).await.unwrap();
    gateway.capture(held.clone()).await.unwrap();
    gateway.refund(repayment(1, 1, 500)).await.unwrap();
    gateway.refund(repayment(1, 2, 1)).await.unwrap();
    gateway.pay(payment(2, 1, "tok_decline")).await.unwrap();
    gateway.void(payment(2, 2, "tok_success")).await.unwrap();
    gateway.pay(payment(3, 1, "tok_3ds")).await.unwrap();
    let page = format!("{}/authenticate/{}/1", server.url, OrderId(3));
    let form = reqwest::Client::new().post(page).header("content-type", "application/x-www-form-urlencoded");
    form.body("decision=approve").send().await.unwrap();
    gateway.pay(payment(4, 1, "tok_processing")).await.unwrap();
    let mut told: Vec<_> = ear.told(16, &gateway).await.into_iter().map(Result::unwrap).collect();
    told.sort_unstable_by_key(|notice| notice.id.clone());
    let seen: Vec<_> = told
        .chunks(2)
        .map(|twice| {
            assert_eq!(twice[0], twice[1], "sent again as it was");
            (twice[0].of.unwrap(), twice[0].what.as_str())
        })
        .collect();
    let attempt = |order: u128, attempt: u32| (OrderId(order), About::Attempt(attempt));
    let refund = |number: u32| (OrderId(1), About::Refund(number));
    let wanted = [
        (attempt(1, 1), "captured"),
        (attempt(1, 1), "authorised"),
        (refund(1), "refunded"),
        (refund(2), "refund_failed"),
        (attempt(2, 1), "declined"),
        (attempt(2, 2), "voided"),
        (attempt(3, 1), "captured"),
        (attempt(4, 1), "captured"),
    ];
    assert_eq!(seen, wanted);
    assert_eq!(told[0].reference, Some(format!("sim_{}:charge:1", OrderId(1))));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(ear.heard.lock().len(), 16, "what was taken is not sent again");
}

#[tokio::test]
async fn notices_come_as_often_and_as_badly_signed_as_the_script_says() {
    let ear = Ear::new(0).await;
    let (server, gateway) = provider(FakeProvider::in_memory(), ear.webhook()).await;
    let rule = |order: u128, mischief: Mischief| Rule {
        key_prefix: OrderId(order).to_string(),
        webhook: Some(mischief),
        ..Rule::default()
    };
    let plain = Mischief::default();
    let rules = [
        rule(1, Mischief { times: 1_000, ..plain }),
        rule(2, Mischief { times: 0, ..plain }),
        rule(3, Mischief { bad_signature: true, ..plain }),
        rule(4, Mischief { stale: true, ..plain }),
        rule(5, Mischief { delay_ms: 400, ..plain }),
    ];
    assert_eq!(plan(&server, &rules).await, 204);
    for order in (1..=6).rev() {
        gateway.pay(payment(order, 1, "tok_success")).await.unwrap();
    }
    let told = ear.told(1_004, &gateway).await;
    assert_eq!(told.len(), 1_004);
    let of = |order: u128| Some((OrderId(order), About::Attempt(1)));
    let good = |order: u128| told.iter().flatten().filter(|notice| notice.of == of(order)).count();
    assert_eq!([1, 2, 3, 4, 5, 6].map(good), [1_000, 0, 0, 0, 1, 1]);
    let refused: Vec<_> = told.iter().filter_map(|notice| notice.as_ref().err()).collect();
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|refused| matches!(refused, NoticeRefused::Signature(_))), "{refused:?}");
    assert_eq!(refused.iter().filter(|refused| refused.to_string().contains("too old")).count(), 1);
}
