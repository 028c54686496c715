//! The fake provider and the Stripe adapter, without a shop: every operation, every fault, and the events.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use axum::{Router, body::Bytes, http::HeaderMap, http::StatusCode, routing::post};
use parking_lot::Mutex;
use secrecy::SecretString;
use serde_json::json;
use souk::{
    domain::{
        entity::Timestamp,
        ids::OrderId,
        money::{Currency, Money},
        order::{About, CaptureMode, PaymentState, RefundState},
    },
    internals::stripe::{FAKE_KEY, Stripe, StripeConfig},
    payments::{Gateway, Notice, NoticeRefused, NoticeSubject, Payment, Repayment},
};
use souk_gateway_sim::{Fault, Operation, RULES_MAX, Rule, Webhook, WebhookDelivery};
use tokio::net::TcpListener;

use crate::provider::{Provider, Server, anywhere, decide, url_of};

/// How long a test waits for an expected change, in milliseconds.
const PATIENCE_MS: u64 = 20_000;
/// How long the adapter waits for an answer, in milliseconds.
const ANSWER_MS: u64 = 1_000;

/// The adapter for a provider.
fn adapter(provider: &Provider) -> Stripe {
    let (api_url, return_url) = (provider.url.clone(), Some(provider.url.clone()));
    let (key, webhook_secrets) = (FAKE_KEY.into(), ["the next", "the present"].map(SecretString::from).to_vec());
    let config =
        StripeConfig { name: "simulator", api_url, key, webhook_secrets, return_url, answer_ms_max: ANSWER_MS };
    Stripe::new(config).unwrap()
}

async fn fresh() -> (Provider, Stripe) {
    let provider = Provider::new().await;
    let adapter = adapter(&provider);
    (provider, adapter)
}

async fn plan(provider: &Provider, rules: &[Rule]) -> u16 {
    let url = format!("{}/script", provider.url);
    reqwest::Client::new().put(url).json(rules).send().await.unwrap().status().as_u16()
}

fn money(minor: u64) -> Money {
    Money::new(minor, Currency::INR).unwrap()
}

fn payment(order: u128, attempt: u32, method: &str) -> Payment {
    let (order, method, capture) = (OrderId(order), method.to_owned(), CaptureMode::AtOnce);
    Payment { order, attempt, amount: money(500), method, capture, requested_at: Timestamp(0), reference: None }
}

fn repayment(payment: &Payment, state: &PaymentState, number: u32, minor: u64) -> Repayment {
    let (order, attempt, amount) = (payment.order, payment.attempt, money(minor));
    let payment = state.reference().unwrap().to_owned();
    Repayment { order, number, attempt, amount, payment, reference: None }
}

fn named(payment: &Payment, state: &PaymentState) -> Payment {
    Payment { reference: state.reference().map(str::to_owned), ..payment.clone() }
}

fn is_captured(state: &PaymentState) -> bool {
    matches!(state, PaymentState::Captured { amount, .. } if *amount == money(500))
}

/// The effects on an order's payments, as words.
async fn effects(provider: &Provider, order: u128) -> Vec<String> {
    provider.effects(&OrderId(order).to_string()).await
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
    let open = async |path: &Path| {
        let provider = Provider::with_ledger(path).await;
        let adapter = adapter(&provider);
        (provider, adapter)
    };
    let (provider, gateway) = open(&ledger).await;
    let held = Payment { capture: CaptureMode::Later, ..payment(1, 1, "tok_success") };
    assert_eq!(gateway.find(held.clone()).await.unwrap(), None);
    assert!(gateway.capture(held.clone()).await.is_err(), "there is nothing to capture");
    let state = gateway.pay(held.clone()).await.unwrap();
    assert!(matches!(state, PaymentState::Authorised { amount, .. } if amount == money(500)));
    assert_eq!(gateway.pay(held.clone()).await.unwrap(), state);
    let known = named(&held, &state);
    for _ in 0..2 {
        assert!(is_captured(&gateway.capture(known.clone()).await.unwrap()));
    }
    assert!(is_captured(&gateway.void(known.clone()).await.unwrap()), "too late to void it");
    for (number, minor) in [(1, 200), (1, 200), (2, 300)] {
        let refunded = gateway.refund(repayment(&held, &state, number, minor)).await.unwrap();
        assert!(matches!(refunded, RefundState::Refunded { .. }), "{refunded:?}");
    }
    assert!(gateway.refund(repayment(&held, &state, 2, 301)).await.is_err(), "a number for one refund");
    let failed = RefundState::Failed { reason: "charge_already_refunded".into() };
    assert_eq!(gateway.refund(repayment(&held, &state, 3, 1)).await.unwrap(), failed);
    drop(provider);
    let (provider, gateway) = open(&ledger).await;
    assert!(is_captured(&gateway.find(known).await.unwrap().unwrap()));
    assert_eq!(effects(&provider, 1).await, ["held", "captured", "refunded", "refunded"]);
    let page = gateway.list_payments(Timestamp(0), Timestamp(u64::MAX), None).await.unwrap();
    assert_eq!((page.payments.len(), page.next), (1, None));
    assert_eq!((page.payments[0].of, page.payments[0].refunded_minor), (Some((OrderId(1), 1)), 500));
}

#[tokio::test]
async fn a_voided_payment_is_never_charged_even_if_it_was_unknown() {
    let (_provider, gateway) = fresh().await;
    for (order, is_known) in [(1, false), (2, true)] {
        let held = Payment { capture: CaptureMode::Later, ..payment(order, 1, "tok_success") };
        if is_known {
            gateway.pay(held.clone()).await.unwrap();
        }
        for _ in 0..2 {
            assert!(matches!(gateway.void(held.clone()).await.unwrap(), PaymentState::Voided { .. }));
        }
        let late = gateway.pay(held.clone()).await.unwrap();
        assert!(matches!(late, PaymentState::Voided { .. }), "a request that was late: {late:?}");
        assert!(matches!(gateway.capture(named(&held, &late)).await.unwrap(), PaymentState::Voided { .. }));
    }
}

#[tokio::test]
async fn payment_methods_have_their_outcomes() {
    let (provider, gateway) = fresh().await;
    let declined = |reason: &str| PaymentState::Declined { reason: reason.into() };
    for (attempt, (method, reason)) in (1..).zip([
        ("tok_insufficient_funds", "insufficient_funds"),
        ("pm_card_chargeDeclinedLostCard", "lost_card"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card"),
        ("pm_card_nobodys", "resource_missing"),
    ]) {
        assert_eq!(gateway.pay(payment(1, attempt, method)).await.unwrap(), declined(reason));
    }
    assert!(is_captured(&gateway.pay(payment(2, 1, "pm_card_visa")).await.unwrap()));
    assert!(gateway.pay(payment(3, 1, "tok_timeout_after_charge")).await.is_err());
    assert!(is_captured(&gateway.pay(payment(3, 1, "tok_timeout_after_charge")).await.unwrap()));
    assert!(gateway.pay(payment(4, 1, "tok_slow")).await.is_err(), "slower than the adapter waits");
    assert!(is_captured(&gateway.pay(payment(4, 1, "tok_slow")).await.unwrap()));
    let fails = payment(5, 1, "tok_refund_fails");
    let state = gateway.pay(fails.clone()).await.unwrap();
    let at_once = RefundState::Failed { reason: "expired_or_canceled_card".into() };
    assert_eq!(gateway.refund(repayment(&fails, &state, 1, 1)).await.unwrap(), at_once);
    let is_refunded = |state: &RefundState| matches!(state, RefundState::Refunded { .. });
    // As at Stripe: it looks as if it had succeeded.
    let later = payment(8, 1, "pm_card_refundFail");
    let state = gateway.pay(later.clone()).await.unwrap();
    let returns = repayment(&later, &state, 1, 500);
    let refunded = gateway.refund(returns.clone()).await.unwrap();
    let RefundState::Refunded { reference } = refunded else { panic!("{refunded:?}") };
    let returns = Repayment { reference: Some(reference), ..returns };
    let failed = until(async || gateway.refund(returns.clone()).await.ok().filter(|state| !is_refunded(state))).await;
    assert_eq!(failed, RefundState::Failed { reason: "expired_or_canceled_card".into() });
    assert_eq!(effects(&provider, 8).await, ["captured", "refunded", "refund_failed"]);
    let again = gateway.refund(repayment(&later, &state, 2, 500)).await.unwrap();
    assert!(is_refunded(&again), "its money can go back again: {again:?}");
    let waits = payment(6, 1, "pm_card_pendingRefund");
    let state = gateway.pay(waits.clone()).await.unwrap();
    let repayment = repayment(&waits, &state, 1, 500);
    let pending = gateway.refund(repayment.clone()).await.unwrap();
    let RefundState::Processing { reference } = pending else { panic!("{pending:?}") };
    let repayment = Repayment { reference: Some(reference), ..repayment };
    until(async || gateway.refund(repayment.clone()).await.ok().filter(is_refunded)).await;
    let works = payment(7, 1, "tok_processing");
    let working = gateway.pay(works.clone()).await.unwrap();
    assert!(matches!(working, PaymentState::Processing { .. }));
    let works = named(&works, &working);
    until(async || gateway.find(works.clone()).await.unwrap().filter(is_captured)).await;
    assert_eq!(effects(&provider, 7).await, ["processing", "captured"]);
}

#[tokio::test]
async fn a_customer_approves_or_declines_on_the_page() {
    let (provider, gateway) = fresh().await;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    for (order, decision) in [(1, "approve"), (2, "decline")] {
        let asked = payment(order, 1, "tok_3ds");
        let state = gateway.pay(asked.clone()).await.unwrap();
        let PaymentState::ActionRequired { url, .. } = &state else { panic!("no page: {state:?}") };
        let asked = named(&asked, &state);
        assert_eq!(gateway.capture(asked.clone()).await.unwrap(), state, "it waits for an action of its customer");
        let page = http.get(url).send().await.unwrap();
        assert_eq!((page.status().as_u16(), page.text().await.unwrap().contains("Approve")), (200, true));
        let post = |query: &str, said: &str| {
            let request = http.post(format!("{url}{query}")).body(format!("decision={said}"));
            request.header("content-type", "application/x-www-form-urlencoded").send()
        };
        assert_eq!(post("", "maybe").await.unwrap().status(), 422);
        let elsewhere = post("?return_url=https://example.org/", decision).await.unwrap();
        assert_eq!(elsewhere.status(), 422, "the page redirects nowhere else");
        assert!(matches!(gateway.find(asked.clone()).await.unwrap(), Some(PaymentState::ActionRequired { .. })));
        let done = post("?return_url=http://127.0.0.1:9/orders/1", decision).await.unwrap();
        let location = &done.headers()["location"];
        assert_eq!((done.status().as_u16(), location), (303, &"http://127.0.0.1:9/orders/1".parse().unwrap()));
        decide(&json!(url), "decline").await;
        let state = gateway.pay(asked).await.unwrap();
        assert_eq!(is_captured(&state), decision == "approve", "decided once: {state:?}");
        assert!(state.is_final());
    }
    for path in ["0/1", &format!("{}/1", OrderId(9)), "x/y"] {
        let status = http.get(format!("{}/authenticate/{path}", provider.url)).send().await.unwrap().status();
        assert!(status.is_client_error(), "{path}: {status}");
    }
}

/// Under each fault the outcome is unknown until the fault is over, and the operation is done once.
#[tokio::test]
async fn whatever_fails_each_operation_is_done_once_and_found_again() {
    let (provider, gateway) = fresh().await;
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
        let given_up = Payment { attempt: 2, ..held.clone() };
        for operation in [Operation::Create, Operation::Charge, Operation::Capture, Operation::Void, Operation::Refund]
        {
            let key_prefix = OrderId(order).to_string();
            let rule = Rule { key_prefix, operation: Some(operation), times: Some(1), fault, ..Rule::default() };
            assert_eq!(plan(&provider, &[rule]).await, 204);
            let go = async || match operation {
                Operation::Create => gateway.pay(held.clone()).await.map(drop),
                Operation::Charge => gateway.pay(given_up.clone()).await.map(drop),
                Operation::Capture => {
                    let state = gateway.pay(held.clone()).await?;
                    gateway.capture(named(&held, &state)).await.map(drop)
                }
                Operation::Void => gateway.void(given_up.clone()).await.map(drop),
                _ => {
                    let state = gateway.pay(held.clone()).await?;
                    gateway.refund(repayment(&held, &state, 1, 500)).await.map(drop)
                }
            };
            until(async || go().await.ok()).await;
        }
        let mut seen = effects(&provider, order).await;
        seen.sort_unstable();
        assert_eq!(seen, ["captured", "held", "held", "refunded", "voided"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_failure_that_is_stored_under_a_key_ends_the_attempt_or_is_gone_around() {
    let (provider, gateway) = fresh().await;
    let rule = |operation: Operation, fault: Fault| Rule {
        operation: Some(operation),
        times: Some(1),
        fault,
        ..Rule::default()
    };
    // The confirmation is not possible under its key any more: the payment is cancelled, and another attempt made.
    plan(&provider, &[rule(Operation::Charge, Fault::FailsStored)]).await;
    assert!(gateway.pay(payment(1, 1, "tok_success")).await.is_err());
    let given_up = PaymentState::Declined { reason: "processing_error".into() };
    assert_eq!(gateway.pay(payment(1, 1, "tok_success")).await.unwrap(), given_up);
    assert!(is_captured(&gateway.pay(payment(1, 2, "tok_success")).await.unwrap()));
    assert_eq!(effects(&provider, 1).await, ["voided", "captured"]);
    // The payment was created, but no answer contains its id, so it is searched for.
    plan(&provider, &[rule(Operation::Create, Fault::FailsAfter)]).await;
    let pay = || gateway.pay(payment(2, 1, "tok_success"));
    let state = until(async || pay().await.ok()).await;
    assert!(is_captured(&state));
    assert_eq!(effects(&provider, 2).await, ["captured"]);
    plan(&provider, &[rule(Operation::Create, Fault::FailsAfter)]).await;
    assert!(gateway.pay(payment(3, 1, "tok_success")).await.is_err());
    let voided = until(async || gateway.void(payment(3, 1, "tok_success")).await.ok()).await;
    assert!(matches!(voided, PaymentState::Voided { reference: Some(_) }), "{voided:?}");
    // It was not announced, and will not be under its key.
    plan(&provider, &[rule(Operation::Create, Fault::FailsStored)]).await;
    assert!(gateway.pay(payment(4, 1, "tok_success")).await.is_err());
    assert_eq!(gateway.pay(payment(4, 1, "tok_success")).await.unwrap(), given_up);
    assert!(is_captured(&gateway.pay(payment(4, 2, "tok_success")).await.unwrap()));
    plan(&provider, &[rule(Operation::Create, Fault::FailsStored)]).await;
    assert!(gateway.void(payment(5, 1, "tok_success")).await.is_err());
    let voided = gateway.void(payment(5, 1, "tok_success")).await.unwrap();
    assert_eq!(voided, PaymentState::Voided { reference: None });
}

#[tokio::test]
async fn a_refund_whose_failure_is_stored_is_made_when_its_key_is_forgotten() {
    let (provider, gateway) = fresh().await;
    let paid = payment(1, 1, "tok_success");
    let state = gateway.pay(paid.clone()).await.unwrap();
    let (operation, fault, times) = (Some(Operation::Refund), Fault::FailsStored, Some(1));
    plan(&provider, &[Rule { operation, fault, times, forget_ms: Some(1_000), ..Rule::default() }]).await;
    let refund = || gateway.refund(repayment(&paid, &state, 1, 500));
    for _ in 0..3 {
        refund().await.unwrap_err();
    }
    assert_eq!(effects(&provider, 1).await, ["captured"]);
    let refunded = until(async || refund().await.ok()).await;
    assert!(matches!(refunded, RefundState::Refunded { .. }), "{refunded:?}");
    assert_eq!(effects(&provider, 1).await, ["captured", "refunded"]);
}

#[tokio::test]
async fn the_script_falsifies_amounts_declines_and_has_a_limit() {
    let (provider, gateway) = fresh().await;
    let lies = Rule { times: Some(2), fault: Fault::WrongAmount, ..Rule::default() };
    plan(&provider, &[Rule { operation: Some(Operation::Charge), ..lies.clone() }]).await;
    let wrong = |state: &PaymentState| state.amount() == Some(money(501));
    let state = gateway.pay(payment(1, 1, "tok_success")).await.unwrap();
    assert!(wrong(&state));
    plan(&provider, &[Rule { operation: Some(Operation::LookUp), ..lies }]).await;
    let known = named(&payment(1, 1, "tok_success"), &state);
    assert!(wrong(&gateway.find(known.clone()).await.unwrap().unwrap()));
    assert!(wrong(&gateway.pay(payment(1, 1, "tok_success")).await.unwrap()));
    let state = gateway.pay(known).await.unwrap();
    assert!(is_captured(&state));
    plan(&provider, &[Rule { fault: Fault::Declined, method: Some("tok_success".into()), ..Rule::default() }]).await;
    let declined = PaymentState::Declined { reason: "by_script".into() };
    assert_eq!(gateway.pay(payment(2, 1, "tok_success")).await.unwrap(), declined);
    let failed = RefundState::Failed { reason: "by_script".into() };
    assert_eq!(gateway.refund(repayment(&payment(1, 1, ""), &state, 1, 1)).await.unwrap(), failed);
    assert_eq!(plan(&provider, &vec![Rule::default(); RULES_MAX + 1]).await, 422);
    let contradiction = Rule { fault: Fault::Garbage, webhook: Some(WebhookDelivery::default()), ..Rule::default() };
    assert_eq!(plan(&provider, &[contradiction]).await, 422);
}

#[tokio::test]
async fn refunds_are_looked_through_as_far_as_a_page_goes() {
    let (provider, gateway) = fresh().await;
    let paid = payment(1, 1, "tok_success");
    let state = gateway.pay(paid.clone()).await.unwrap();
    let refund = |number| gateway.refund(repayment(&paid, &state, number, 1));
    let first = refund(1).await.unwrap();
    for number in 2..=100 {
        refund(number).await.unwrap();
    }
    assert_eq!(refund(1).await.unwrap(), first, "the hundredth newest");
    // A refund that is not among a hundred may have been made before them.
    let (client, url) = (reqwest::Client::new(), format!("{}/v1/refunds", provider.url));
    let form = [("payment_intent", state.reference().unwrap()), ("amount", "1")];
    client.post(&url).bearer_auth("sk_test_1").form(&form).send().await.unwrap();
    refund(101).await.unwrap_err();
    let list = async |query: &str| {
        let url = format!("{url}?payment_intent={}{query}", state.reference().unwrap());
        let page: serde_json::Value =
            client.get(url).bearer_auth("sk_test_1").send().await.unwrap().json().await.unwrap();
        (page["data"].as_array().map(Vec::len), page["has_more"].clone())
    };
    assert_eq!(list("").await, (Some(10), json!(true)));
    assert_eq!(list("&limit=100").await, (Some(100), json!(true)));
    assert_eq!(list("&limit=101").await.0, None);
}

#[tokio::test]
async fn the_list_of_payments_is_read_page_by_page() {
    let (_provider, gateway) = fresh().await;
    let orders = 250;
    for order in 1..=orders {
        gateway.pay(payment(order, 1, "tok_success")).await.unwrap();
    }
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = gateway.list_payments(Timestamp(0), Timestamp(u64::MAX), after).await.unwrap();
        seen.extend(page.payments.into_iter().filter_map(|payment| payment.of));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    seen.sort_unstable();
    assert_eq!((seen, pages), ((1..=orders).map(|order| (OrderId(order), 1)).collect(), 3));
    let none = gateway.list_payments(Timestamp(0), Timestamp(1_000), None).await.unwrap();
    assert!(none.payments.is_empty());
}

/// The shop's end of the webhook, which accepts an event only after it was sent several times; and what arrived there,
/// in order.
struct WebhookReceiver {
    url: String,
    received: Arc<Mutex<Vec<(String, Bytes)>>>,
    _server: Server,
}

impl WebhookReceiver {
    async fn new(refuses: usize) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let listener = TcpListener::bind(anywhere()).await.unwrap();
        let url = format!("{}/hook", url_of(&listener));
        let receiver = Arc::clone(&received);
        let take = async move |headers: HeaderMap, body: Bytes| {
            let signature = headers["stripe-signature"].to_str().unwrap().to_owned();
            let mut received = receiver.lock();
            let before = received.iter().filter(|(_, earlier)| *earlier == body).count();
            received.push((signature, body));
            if before < refuses { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
        };
        Self { url, received, _server: Server::start(Router::new().route("/hook", post(take)), listener) }
    }

    fn webhook(&self) -> Webhook {
        Webhook::new(&self.url, SecretString::from("the present")).unwrap()
    }

    /// The first `count` notices, as the adapter reads them.
    async fn notices(&self, count: usize, gateway: &Stripe) -> Vec<Result<Notice, NoticeRefused>> {
        let received =
            until(async || Some(self.received.lock().clone()).filter(|received| received.len() >= count)).await;
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = Timestamp(u64::try_from(since.as_millis()).unwrap());
        received.into_iter().map(|(signature, body)| gateway.notice(&signature, &body, now)).collect()
    }
}

#[tokio::test]
async fn events_are_sent_until_they_are_accepted() {
    let receiver = WebhookReceiver::new(1).await;
    let provider = Provider::announcing(receiver.webhook()).await;
    let gateway = adapter(&provider);
    let held = Payment { capture: CaptureMode::Later, ..payment(1, 1, "tok_success") };
    let state = gateway.pay(held.clone()).await.unwrap();
    for _ in 0..2 {
        gateway.capture(named(&held, &state)).await.unwrap();
    }
    gateway.refund(repayment(&held, &state, 1, 500)).await.unwrap();
    gateway.pay(payment(2, 1, "tok_decline")).await.unwrap();
    gateway.pay(payment(3, 1, "tok_3ds")).await.unwrap();
    decide(&json!(format!("{}/authenticate/{}/1", provider.url, OrderId(3))), "approve").await;
    gateway.pay(payment(4, 1, "tok_processing")).await.unwrap();
    gateway.pay(payment(5, 1, "pm_card_createDispute")).await.unwrap();
    let notices: Vec<_> = receiver.notices(24, &gateway).await.into_iter().map(Result::unwrap).collect();
    let attempt = |order: u128| Some((OrderId(order), About::Attempt(1)));
    let seen: BTreeSet<String> =
        notices.iter().map(|notice| format!("{:?} {}", notice.of.map(|(order, _)| order.0), notice.what)).collect();
    let wanted = [
        "None charge.dispute.created",
        "Some(1) charge.refunded",
        "Some(1) payment_intent.amount_capturable_updated",
        "Some(1) payment_intent.succeeded",
        "Some(1) refund.created",
        "Some(2) payment_intent.canceled",
        "Some(2) payment_intent.payment_failed",
        "Some(3) payment_intent.requires_action",
        "Some(3) payment_intent.succeeded",
        "Some(4) payment_intent.processing",
        "Some(4) payment_intent.succeeded",
        "Some(5) payment_intent.succeeded",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
    for notice in &notices {
        assert_eq!(notices.iter().filter(|other| *other == notice).count(), 2, "sent again as it was: {notice:?}");
    }
    let refund = notices.iter().find(|notice| notice.what == "refund.created").unwrap();
    assert_eq!((refund.of, &refund.subject), (Some((OrderId(1), About::Refund(1))), &NoticeSubject::Refund));
    let captured = notices.iter().find(|notice| notice.of == attempt(1) && notice.what == "payment_intent.succeeded");
    assert_eq!(captured.unwrap().reference.as_deref(), state.reference());
    let dispute = notices.iter().find(|notice| matches!(notice.subject, NoticeSubject::Dispute { .. })).unwrap();
    assert_eq!(dispute.payment.as_deref(), Some(&*provider.payment(&OrderId(5).to_string()).await));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(receiver.received.lock().len(), 24, "an accepted event is not sent again");
}

#[tokio::test]
async fn events_come_as_often_and_as_badly_signed_as_the_script_says() {
    let receiver = WebhookReceiver::new(0).await;
    let provider = Provider::announcing(receiver.webhook()).await;
    let gateway = adapter(&provider);
    let rule = |order: u128, delivery: WebhookDelivery| Rule {
        key_prefix: OrderId(order).to_string(),
        webhook: Some(delivery),
        ..Rule::default()
    };
    let plain = WebhookDelivery::default();
    let rules = [
        rule(1, WebhookDelivery { times: 1_000, ..plain }),
        rule(2, WebhookDelivery { times: 0, ..plain }),
        rule(3, WebhookDelivery { bad_signature: true, ..plain }),
        rule(4, WebhookDelivery { stale: true, ..plain }),
        rule(5, WebhookDelivery { delay_ms: 400, ..plain }),
    ];
    assert_eq!(plan(&provider, &rules).await, 204);
    for order in (1..=6).rev() {
        gateway.pay(payment(order, 1, "tok_success")).await.unwrap();
    }
    let notices = receiver.notices(1_004, &gateway).await;
    assert_eq!(notices.len(), 1_004);
    let of = |order: u128| Some((OrderId(order), About::Attempt(1)));
    let good = |order: u128| notices.iter().flatten().filter(|notice| notice.of == of(order)).count();
    assert_eq!([1, 2, 3, 4, 5, 6].map(good), [1_000, 0, 0, 0, 1, 1]);
    let refused: Vec<_> = notices.iter().filter_map(|notice| notice.as_ref().err()).collect();
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|refused| matches!(refused, NoticeRefused::Signature(_))), "{refused:?}");
    assert_eq!(refused.iter().filter(|refused| refused.to_string().contains("too old")).count(), 1);
}
