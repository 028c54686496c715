//! The reconciler compares the provider's payments with the orders, both ways: what it finds, and what it reports to
//! operators.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use souk::{
    clock::Clock,
    config::Config,
    domain::{
        account::Role,
        entity::Timestamp,
        ids::OrderId,
        money::{Currency, Money},
        order::{CaptureMode, PaymentState, RefundState},
    },
    internals::fake_provider::FakeProvider,
    payments::{Answer, Gateway, Notice, NoticeRefused, Payment, PaymentsPage, ProviderPayment, Repayment, Unknown},
};

use tokio::sync::RwLock;

use crate::support::{Client, TestApp, eventually};

/// A provider that can forget its payments, capture and answer with a decline, be unreachable, or keep whoever wants
/// its list waiting.
struct Provider {
    inner: FakeProvider,
    has_forgotten: AtomicBool,
    is_away: AtomicBool,
    says_no: AtomicBool,
    /// How often its list was asked for.
    lists: AtomicU32,
    /// While it is held for writing, the list is not answered.
    gate: RwLock<()>,
}

impl Provider {
    fn new() -> Arc<Self> {
        let [has_forgotten, is_away, says_no] = [(); 3].map(|()| AtomicBool::default());
        let (inner, lists, gate) = (FakeProvider::in_memory(), AtomicU32::new(0), RwLock::new(()));
        Arc::new(Self { inner, has_forgotten, is_away, says_no, lists, gate })
    }

    fn answer<'a, T: Send + 'a>(&self, answer: Answer<'a, T>) -> Answer<'a, T> {
        if self.is_away.load(Relaxed) {
            return Box::pin(async { Err(Unknown::new("nobody is there")) });
        }
        answer
    }
}

impl Gateway for Provider {
    fn name(&self) -> &'static str {
        "forgetful"
    }

    fn pay(&self, payment: Payment) -> Answer<'_, PaymentState> {
        if self.says_no.load(Relaxed) {
            return Box::pin(async {
                self.inner.pay(payment).await?;
                Ok(PaymentState::Declined { reason: "card_declined".into() })
            });
        }
        self.answer(self.inner.pay(payment))
    }

    fn find(&self, payment: Payment) -> Answer<'_, Option<PaymentState>> {
        if self.has_forgotten.load(Relaxed) {
            return Box::pin(async { Ok(None) });
        }
        self.answer(self.inner.find(payment))
    }

    fn look_up(&self, reference: String) -> Answer<'_, Option<ProviderPayment>> {
        self.answer(self.inner.look_up(reference))
    }

    fn capture(&self, payment: Payment) -> Answer<'_, PaymentState> {
        self.answer(self.inner.capture(payment))
    }

    fn void(&self, payment: Payment) -> Answer<'_, PaymentState> {
        self.answer(self.inner.void(payment))
    }

    fn refund(&self, repayment: Repayment) -> Answer<'_, RefundState> {
        self.answer(self.inner.refund(repayment))
    }

    fn list_payments(&self, since: Timestamp, until: Timestamp, after: Option<String>) -> Answer<'_, PaymentsPage> {
        if self.has_forgotten.load(Relaxed) {
            return Box::pin(async { Ok(PaymentsPage { payments: Vec::new(), unreadable: Vec::new(), next: None }) });
        }
        self.lists.fetch_add(1, Relaxed);
        let answer = self.answer(self.inner.list_payments(since, until, after));
        Box::pin(async move {
            let _open = self.gate.read().await;
            answer.await
        })
    }

    fn signature_header(&self) -> &'static str {
        "forgetful-signature"
    }

    fn notice(&self, _: &str, _: &[u8], _: Timestamp) -> Result<Notice, NoticeRefused> {
        Err(NoticeRefused::NotSetUp)
    }
}

fn now() -> Timestamp {
    Timestamp(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap())
}

async fn reconcile(admin: &Client) -> Value {
    admin.act("/admin/payments/reconciliation").await.expect(200)
}

async fn problems(admin: &Client) -> Vec<(String, String)> {
    let listed = admin.get("/admin/payments/attention").await.expect(200);
    let of = |item: &Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&item["order"]["order_id"]), text(&item["attention"][0]["problem"]))
    };
    listed["items"].as_array().unwrap().iter().map(of).collect()
}

#[tokio::test]
async fn payments_that_agree_with_the_orders_show_no_difference() {
    let app = TestApp::paid_by(Provider::new(), Clock::system()).await;
    let made = std::fs::read_dir(app.directory.path().join("data")).unwrap().map(|entry| entry.unwrap().file_name());
    let no_ledger = made.into_iter().all(|name| !name.to_string_lossy().contains("provider"));
    assert!(no_ledger, "the built-in fake provider made its ledger beside the caller's own provider");
    app.seller().await;
    let (customer, admin) = (app.customer("asha").await, app.user("admin", Role::Admin).await);
    customer.buy("CABLE", 1).await;
    let cancelled = customer.buy("CABLE", 1).await;
    customer.act(&format!("/orders/{cancelled}/cancel")).await.expect(200);
    let seen = reconcile(&admin).await;
    assert_eq!((&seen["payments"], &seen["orders"], &seen["differences"]), (&json!(2), &json!(2), &json!(0)), "{seen}");
    let last = admin.get("/admin/payments/reconciliation").await.expect(200);
    assert_eq!((&last["recent"], &last["full"]), (&seen, &Value::Null));
    customer.act("/admin/payments/reconciliation").await.problem(403, "forbidden");
}

#[tokio::test]
async fn money_without_an_order_and_refunds_that_the_shop_did_not_ask_for_are_found() {
    let provider = Provider::new();
    let app = TestApp::paid_by(provider.clone(), Clock::system()).await;
    app.seller().await;
    let (customer, admin) = (app.customer("asha").await, app.user("admin", Role::Admin).await);
    let amount = Money::new(700, Currency::INR).unwrap();
    let (method, capture) = ("tok_success".to_owned(), CaptureMode::AtOnce);
    let (order, requested_at) = (OrderId(0xabc), Timestamp(0));
    let stray = Payment { order, attempt: 1, amount, method, capture, requested_at, reference: None };
    provider.inner.charge(&stray, None).unwrap();
    let order = customer.buy("CABLE", 1).await;
    let id: OrderId = order.parse().unwrap();
    let payment = "sim".to_owned();
    let at_the_counter = Repayment { order: id, number: 99, attempt: 1, amount, payment, reference: None };
    provider.inner.refund_payment(&at_the_counter, None).unwrap();
    assert_eq!(reconcile(&admin).await["differences"], 2);
    assert_eq!(reconcile(&admin).await["differences"], 1, "the order has taken the refund on");
    assert_eq!(problems(&admin).await, [(order.clone(), "refunded_elsewhere".to_owned())]);
    assert_eq!(customer.get(&format!("/orders/{order}")).await.expect(200)["refunded"]["amount"], 700);
    let notices = admin.get("/admin/payments/notices").await.expect(200);
    assert_eq!(notices.as_array().unwrap().len(), 1, "once, however often it is found: {notices}");
    assert_eq!(notices[0]["order_id"], OrderId(0xabc).to_string());
    let resolved = json!({"action": "settled", "note": "refunded at the provider's desk"});
    admin.post(&format!("/admin/payments/attention/{order}"), &resolved).await.expect(200);
    assert!(problems(&admin).await.is_empty());
    let history = admin.get(&format!("/admin/payments/attention/{order}")).await.expect(200);
    let settled = &history["attention"][0]["resolved"];
    assert_eq!(settled["note"], "settled: refunded at the provider's desk");
    assert_eq!(settled["by"], admin.user_id);
    // The provider still has the payment and the refund, but what an operator has resolved is not reported again.
    let dismiss = format!("/admin/payments/notices/{}/dismiss", notices[0]["notice_id"].as_str().unwrap());
    admin.post(&dismiss, &json!({"note": "given back"})).await.expect(204);
    assert_eq!(reconcile(&admin).await["differences"], 1);
    assert!(problems(&admin).await.is_empty());
    assert_eq!(admin.get("/admin/payments/notices").await.expect(200), json!([]));
}

#[tokio::test]
async fn money_that_the_provider_took_although_it_said_no_goes_back() {
    let provider = Provider::new();
    let app = TestApp::paid_by(provider.clone(), Clock::system()).await;
    let seller = app.seller().await;
    let (customer, admin) = (app.customer("asha").await, app.user("admin", Role::Admin).await);
    let order = customer.order("CABLE", 1).await;
    provider.says_no.store(true, Relaxed);
    customer.pay(&order, "tok_success").await.problem(422, "payment-declined");
    provider.says_no.store(false, Relaxed);
    assert_eq!(customer.pay(&order, "tok_success").await.expect(200)["payment"]["attempt"], 2);
    assert_eq!(reconcile(&admin).await["differences"], 1);
    let shown = app.until_so(&customer, &order, |order| order["refunds"][0]["status"] == "refunded").await;
    assert_eq!((&shown["status"], &shown["refunds"][0]["cause"]), (&json!("confirmed"), &json!("stray")));
    assert_eq!((&shown["refunds"][0]["amount"], seller.stock("CABLE").await), (&shown["total"], (9, 9)));
    let seen = reconcile(&admin).await;
    assert_eq!((&seen["differences"], problems(&admin).await), (&json!(0), vec![]), "{seen}");
}

#[tokio::test]
async fn a_capture_that_the_provider_knows_nothing_of_is_found() {
    let (provider, clock) = (Provider::new(), Clock::manual(now()));
    let app = TestApp::paid_by(provider.clone(), clock.clone()).await;
    app.seller().await;
    let order = app.customer("asha").await.buy("CABLE", 1).await;
    provider.has_forgotten.store(true, Relaxed);
    clock.advance_ms(20 * 60_000);
    let admin = app.user("admin", Role::Admin).await;
    assert_eq!(reconcile(&admin).await["differences"], 1);
    assert_eq!(problems(&admin).await, [(order, "differs".to_owned())]);
}

#[tokio::test]
async fn a_pass_that_outlasts_its_request_continues_and_no_other_runs_beside_it() {
    const PATH: &str = "/admin/payments/reconciliation";
    let provider = Provider::new();
    let brief = |config: &mut Config| config.limits.payment_wait_ms_max = 200;
    let app = TestApp::paid_by_with(provider.clone(), Clock::system(), brief).await;
    let admin = app.user("admin", Role::Admin).await;
    let closed = provider.gate.write().await;
    let state = admin.act(PATH).await.expect(202);
    assert!(state["under_way_since"].is_string() && state["recent"].is_null(), "{state}");
    for _ in 0..2 {
        admin.act(PATH).await.expect(202);
    }
    assert_eq!(provider.lists.load(Relaxed), 1, "one at a time");
    drop(closed);
    // Those who waited share one more.
    let is_over = async || {
        let state = admin.get(PATH).await.expect(200);
        let is_over = provider.lists.load(Relaxed) == 2 && state["under_way_since"].is_null();
        is_over.then_some(state)
    };
    let state = eventually(is_over).await;
    assert_eq!(state["recent"]["differences"], 0, "its result is kept: {state}");
    admin.act(PATH).await;
    eventually(async || (provider.lists.load(Relaxed) == 3).then_some(())).await;
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_asked_in_the_next_pass() {
    let provider = Provider::new();
    let app = TestApp::paid_by(provider.clone(), Clock::system()).await;
    app.seller().await;
    let (customer, admin) = (app.customer("asha").await, app.user("admin", Role::Admin).await);
    customer.buy("CABLE", 1).await;
    provider.is_away.store(true, Relaxed);
    assert_eq!(reconcile(&admin).await["problem"], "nobody is there");
    provider.is_away.store(false, Relaxed);
    let seen = reconcile(&admin).await;
    assert_eq!((&seen["problem"], &seen["payments"]), (&Value::Null, &json!(1)));
}
