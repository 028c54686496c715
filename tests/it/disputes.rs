//! Disputes and refunds that the shop did not ask for: announced by the provider for a payment, and put on record with
//! its order, whatever the provider answers meanwhile.

use secrecy::SecretString;
use serde_json::{Value, json};
use souk::{
    clock::Clock,
    config::{Config, Secret},
    domain::account::Role,
};
use souk_gateway_sim::{Fault, Operation, Rule, Webhook, WebhookDelivery};
use tokio::net::TcpListener;

use crate::{
    provider::{Provider, Server, anywhere, shop_at, url_of},
    support::{Client, TestApp, eventually},
};

const SECRET: &str = "whsec_of_the_provider";

/// A shop and a provider that announces to it what happens.
struct Scene {
    app: TestApp,
    provider: Provider,
    seller: Client,
    customer: Client,
    admin: Client,
    _served: Server,
}

impl Scene {
    async fn new() -> Self {
        let listener = TcpListener::bind(anywhere()).await.unwrap();
        let hook = format!("{}/webhooks/simulator", url_of(&listener));
        let provider = Provider::announcing(Webhook::new(&hook, SecretString::from(SECRET)).unwrap()).await;
        let change = |config: &mut Config| {
            config.payments.webhook_secrets = Some(Secret::new(SECRET.to_owned()));
            config.limits.payment_wait_ms_max = 1_000;
        };
        let (app, seller, customer) = shop_at(&provider.url, change, Clock::system()).await;
        let admin = app.user("admin", Role::Admin).await;
        let _served = Server::start(app.router.clone(), listener);
        Self { app, provider, seller, customer, admin, _served }
    }

    /// What is open about an order, in words.
    async fn issues(&self, order: &str) -> Vec<String> {
        let shown = self.admin.get(&format!("/admin/payments/attention/{order}")).await.expect(200);
        let open = shown["attention"].as_array().unwrap().iter().filter(|issue| issue["resolved"].is_null());
        open.map(|issue| format!("{}: {}", issue["problem"].as_str().unwrap(), issue["known"].as_str().unwrap()))
            .collect()
    }

    async fn until_issues(&self, order: &str, wanted: &[String]) {
        eventually(async || (self.issues(order).await == wanted).then_some(())).await;
    }

    async fn notices(&self) -> Vec<Value> {
        self.admin.get("/admin/payments/notices").await.expect(200).as_array().unwrap().clone()
    }

    /// A dispute about the payment of an order; its name.
    async fn dispute(&self, body: &Value) -> String {
        self.provider.operate("/disputes", body).await["id"].as_str().unwrap().to_owned()
    }

    async fn close(&self, dispute: &str, outcome: &str) {
        self.provider.operate(&format!("/disputes/{dispute}/close"), &json!({"outcome": outcome})).await;
    }

    async fn reconcile(&self) -> Value {
        self.admin.act("/admin/payments/reconciliation").await.expect(200)
    }
}

fn disputed(dispute: &str) -> String {
    format!("disputed: dispute {dispute}")
}

fn ended(dispute: &str, outcome: &str) -> String {
    format!("dispute_ended: dispute {dispute} ended: {outcome}")
}

/// Every look-up at the provider fails.
fn no_look_ups() -> Rule {
    Rule { operation: Some(Operation::LookUp), fault: Fault::FailsBefore, ..Rule::default() }
}

#[tokio::test]
async fn a_dispute_is_listed_once_with_its_order_and_so_is_its_end() {
    let scene = Scene::new().await;
    let often = WebhookDelivery { times: 5, ..WebhookDelivery::default() };
    let rule = Rule { operation: Some(Operation::Dispute), webhook: Some(often), ..Rule::default() };
    scene.provider.plan(&[rule]).await;
    for outcome in ["won", "lost"] {
        let order = scene.customer.buy("CABLE", 1).await;
        let dispute = scene.dispute(&json!({"order": order})).await;
        scene.until_issues(&order, &[disputed(&dispute)]).await;
        let settled = json!({"action": "settled", "note": "sent the papers"});
        scene.admin.post(&format!("/admin/payments/attention/{order}"), &settled).await.expect(200);
        scene.close(&dispute, outcome).await;
        scene.until_issues(&order, &[ended(&dispute, outcome)]).await;
        assert_eq!(scene.customer.shown(&order).await["status"], "confirmed");
    }
    // An inquiry that comes to nothing, and then a dispute about the same payment.
    let order = scene.customer.buy("CABLE", 1).await;
    let inquiry = scene.dispute(&json!({"order": order, "status": "warning_needs_response"})).await;
    scene.until_issues(&order, &[disputed(&inquiry)]).await;
    scene.close(&inquiry, "warning_closed").await;
    let closed = ended(&inquiry, "warning_closed");
    scene.until_issues(&order, std::slice::from_ref(&closed)).await;
    let dispute = scene.dispute(&json!({"order": order})).await;
    scene.until_issues(&order, &[closed, disputed(&dispute)]).await;
    assert_eq!(scene.notices().await, [] as [Value; 0]);
}

#[tokio::test]
async fn what_is_announced_while_nothing_can_be_looked_up_is_kept_and_finds_its_order_later() {
    let scene = Scene::new().await;
    let (lost, open) = (scene.customer.buy("CABLE", 1).await, scene.customer.buy("CABLE", 1).await);
    let refunded = scene.customer.buy("CABLE", 1).await;
    scene.provider.plan(&[no_look_ups()]).await;
    let first = scene.dispute(&json!({"order": lost})).await;
    let second = scene.dispute(&json!({"order": open})).await;
    scene.close(&first, "lost").await;
    let amount = json!({"amount": 4_000, "currency": "INR"});
    scene.provider.operate("/refunds", &json!({"order": refunded, "amount": amount})).await;
    // The refund is announced as `refund.created`, and as `charge.refunded`, which names the order.
    eventually(async || (scene.notices().await.len() == 4).then_some(())).await;
    // Nothing can be looked up, which hides nothing else: the refund is a difference, too.
    let seen = scene.reconcile().await;
    assert_eq!(
        (&seen["problem"], &seen["orders"], &seen["differences"]),
        (&Value::Null, &json!(3), &json!(5)),
        "{seen}"
    );
    assert_eq!(scene.notices().await.len(), 4);
    let (app, provider) = (&scene.app, &scene.provider);
    provider.plan(&[]).await;
    assert_eq!(scene.reconcile().await["problem"], Value::Null);
    scene.until_issues(&lost, &[ended(&first, "lost")]).await;
    scene.until_issues(&open, &[disputed(&second)]).await;
    let shown = app.until_so(&scene.customer, &refunded, |order| order["refunded"]["amount"] == 4_000).await;
    assert_eq!(shown["refunds"][0]["cause"], "elsewhere");
    assert_eq!(scene.notices().await, [] as [Value; 0]);
}

#[tokio::test]
async fn a_dispute_may_come_before_the_capture_is_known_and_about_nobodys_payment() {
    let scene = Scene::new().await;
    // Captured and disputed at once, while the answers are lost.
    let order = scene.customer.order("CABLE", 1).await;
    let lost = Rule { operation: Some(Operation::Charge), fault: Fault::AnswerLost, ..Rule::default() };
    let silent = WebhookDelivery { times: 0, ..WebhookDelivery::default() };
    let no_news = Rule { operation: Some(Operation::Charge), webhook: Some(silent), ..Rule::default() };
    scene.provider.plan(&[lost, no_look_ups(), no_news]).await;
    scene.customer.pay(&order, "pm_card_createDispute").await.expect(202);
    eventually(async || (scene.notices().await.len() == 1).then_some(())).await;
    scene.provider.plan(&[]).await;
    assert_eq!(scene.reconcile().await["problem"], Value::Null);
    assert_eq!(scene.issues(&order).await.len(), 1);
    scene.app.until(&scene.customer, &order, "confirmed").await;
    let issues = scene.issues(&order).await;
    assert!(issues.len() == 1 && issues[0].starts_with("disputed: dispute dp_"), "{issues:?}");
    // Somebody else is paid through the same account.
    let form = [("amount", "500"), ("currency", "inr"), ("payment_method", "pm_card_createDispute")];
    let client = reqwest::Client::new();
    let intents = format!("{}/v1/payment_intents", scene.provider.url);
    let made = client.post(&intents).bearer_auth("sk_test_1").form(&form).send().await.unwrap();
    let id = made.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    let confirm = client.post(format!("{intents}/{id}/confirm")).bearer_auth("sk_test_1");
    assert_eq!(confirm.form(&[] as &[(&str, &str)]).send().await.unwrap().status(), 200);
    eventually(async || (scene.notices().await.len() == 1).then_some(())).await;
    assert_eq!(scene.notices().await[0]["what"], "charge.dispute.created");
    scene.reconcile().await;
    assert_eq!(scene.notices().await.len(), 1, "it stays for an operator");
}

#[tokio::test]
async fn a_refund_that_comes_back_later_is_on_the_list_and_its_money_counts_again() {
    let scene = Scene::new().await;
    let order = scene.customer.order("CABLE", 1).await;
    scene.customer.pay(&order, "pm_card_refundFail").await.expect(200);
    scene.seller.deliver(&order).await;
    let body = json!({"reason": "broken"});
    scene.seller.refund(&order, &body).await.expect(201);
    let refunded = |wanted: &'static str| move |order: &Value| order["refunds"][0]["status"] == wanted;
    scene.app.until_so(&scene.customer, &order, refunded("refunded")).await;
    let shown = scene.app.until_so(&scene.customer, &order, refunded("failed")).await;
    assert_eq!((&shown["refunded"]["amount"], &shown["status"]), (&json!(0), &json!("delivered")));
    let issues = scene.issues(&order).await;
    assert!(issues.len() == 1 && issues[0].starts_with("refund_failed"), "{issues:?}");
    assert_eq!(scene.provider.net(&order).await, 10_000);
    assert_eq!(scene.reconcile().await["differences"], 0);
}

#[tokio::test]
async fn refunds_at_the_providers_own_site_count_beside_those_of_the_shop() {
    let scene = Scene::new().await;
    let (provider, seller, customer) = (&scene.provider, &scene.seller, &scene.customer);
    let inr = |amount: u64| json!({"amount": amount, "currency": "INR"});
    let order = customer.buy("CABLE", 3).await;
    seller.deliver(&order).await;
    for (amount, sum) in [(1_000, 1_000), (500, 1_500)] {
        provider.operate("/refunds", &json!({"order": order, "amount": inr(amount)})).await;
        scene.app.until_so(customer, &order, |order| order["refunded"]["amount"] == sum).await;
    }
    // One elsewhere while one of the shop is under way.
    let slow = Rule { operation: Some(Operation::Refund), times: Some(1), latency_ms: 1_500, ..Rule::default() };
    provider.plan(&[slow]).await;
    let piece = json!({"items": [{"product_id": "CABLE", "quantity": 1}], "reason": "late"});
    let (asked, _) = tokio::join!(seller.refund(&order, &piece), async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        provider.operate("/refunds", &json!({"order": order, "amount": inr(2_000)})).await
    });
    asked.expect(201);
    let settled = |order: &Value| {
        let refunds = order["refunds"].as_array().unwrap();
        refunds.len() == 4 && refunds.iter().all(|refund| refund["status"] == "refunded")
    };
    let shown = scene.app.until_so(customer, &order, settled).await;
    assert_eq!(
        provider.net(&order).await,
        30_000 - i64::try_from(shown["refunded"]["amount"].as_u64().unwrap()).unwrap()
    );
    // The rest goes back through the shop, to the cent.
    seller.refund(&order, &json!({"reason": "all of it"})).await.expect(201);
    let shown = scene.app.until_so(customer, &order, |order| order["refunded"] == order["total"]).await;
    assert_eq!((provider.net(&order).await, &shown["status"]), (0, &json!("delivered")));
}

#[tokio::test]
async fn a_refund_at_the_providers_own_site_that_fails_later_is_owed_again() {
    let scene = Scene::new().await;
    let (provider, customer) = (&scene.provider, &scene.customer);
    for by_notice in [true, false] {
        let order = customer.order("CABLE", 1).await;
        customer.pay(&order, "pm_card_refundFail").await.expect(200);
        let counted = |wanted: u64, status: &'static str| {
            move |order: &Value| order["refunded"]["amount"] == wanted && order["refunds"][0]["status"] == status
        };
        provider.operate("/refunds", &json!({"order": order})).await;
        scene.app.until_so(customer, &order, counted(10_000, "refunded")).await;
        scene.seller.act(&format!("/orders/{order}/pack")).await.problem(409, "refunded-elsewhere");
        if !by_notice {
            // The notice of the failure finds no order; the reconciler finds the difference.
            provider.plan(&[no_look_ups()]).await;
            eventually(async || (provider.net(&order).await == 10_000).then_some(())).await;
            provider.plan(&[]).await;
            scene.reconcile().await;
        }
        let shown = scene.app.until_so(customer, &order, counted(0, "failed")).await;
        assert_eq!(shown["refunds"][0]["cause"], "elsewhere");
        scene.until_issues(&order, &["refund_failed: refund 1: failed_at_the_provider".to_owned()]).await;
        let path = format!("/admin/payments/attention/{order}");
        if by_notice {
            // The shop tries it; it fails again, and is on the list again.
            scene.admin.post(&path, &json!({"action": "retry", "note": "again"})).await.expect(200);
            let again = |order: &Value| order["refunds"][1]["status"] == "failed";
            let shown = scene.app.until_so(customer, &order, again).await;
            assert_eq!(shown["refunds"][1]["amount"]["amount"], 10_000);
            eventually(async || (scene.issues(&order).await.len() == 1).then_some(())).await;
        }
        let by_hand = json!({"action": "settled", "outcome": "given_back", "note": "by bank transfer"});
        scene.admin.post(&path, &by_hand).await.expect(200);
        assert_eq!(scene.issues(&order).await, [] as [String; 0]);
        let shown = customer.shown(&order).await;
        assert_eq!(shown["refunded"], shown["total"]);
    }
}

#[tokio::test]
async fn a_retry_of_what_was_refunded_elsewhere_asks_the_provider() {
    let scene = Scene::new().await;
    let (provider, customer) = (&scene.provider, &scene.customer);
    let order = customer.order("CABLE", 1).await;
    customer.pay(&order, "pm_card_refundFail").await.expect(200);
    provider.operate("/refunds", &json!({"order": order})).await;
    scene.app.until_so(customer, &order, |order| order["refunded"]["amount"] == 10_000).await;
    // The notice of the failure finds no order.
    provider.plan(&[no_look_ups()]).await;
    eventually(async || (provider.net(&order).await == 10_000).then_some(())).await;
    provider.plan(&[]).await;
    let retry = json!({"action": "retry", "note": "is it back?"});
    scene.admin.post(&format!("/admin/payments/attention/{order}"), &retry).await.expect(200);
    scene.app.until_so(customer, &order, |order| order["refunds"][0]["status"] == "failed").await;
    scene.until_issues(&order, &["refund_failed: refund 1: failed_at_the_provider".to_owned()]).await;
}

#[tokio::test]
async fn a_cancelled_order_refunds_what_was_left_where_some_had_gone_back_elsewhere() {
    let scene = Scene::new().await;
    let (provider, customer) = (&scene.provider, &scene.customer);
    for (elsewhere, left) in [(4_000, 6_000), (10_000, 0)] {
        let order = customer.buy("CABLE", 1).await;
        // The shop does not learn of it before it asks for everything.
        provider.plan(&[no_look_ups()]).await;
        let amount = json!({"amount": elsewhere, "currency": "INR"});
        provider.operate("/refunds", &json!({"order": order, "amount": amount})).await;
        customer.act(&format!("/orders/{order}/cancel")).await;
        provider.plan(&[]).await;
        let done = |order: &Value| {
            let mut refunds = order["refunds"].as_array().unwrap().iter();
            let is_over = refunds.all(|refund| refund["status"] != "pending");
            is_over && order["refunded"] == order["total"] && order["status"] == "cancelled"
        };
        let shown = scene.app.until_so(customer, &order, done).await;
        let live = shown["refunds"].as_array().unwrap().iter().filter(|refund| refund["status"] == "refunded");
        let amounts: Vec<_> = live.map(|refund| refund["amount"]["amount"].as_u64().unwrap()).collect();
        assert_eq!(amounts, [elsewhere, left].into_iter().filter(|amount| *amount > 0).collect::<Vec<_>>());
        assert_eq!(provider.net(&order).await, 0);
        eventually(async || scene.issues(&order).await.iter().all(|it| it.starts_with("refunded_e")).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn an_order_whose_dispute_is_lost_is_not_sent_before_an_operator_decides() {
    let scene = Scene::new().await;
    let parcel = json!({"carrier": "DHL", "tracking_number": "1"});
    for outcome in ["lost", "won"] {
        let order = scene.customer.buy("CABLE", 1).await;
        let dispute = scene.dispute(&json!({"order": order})).await;
        scene.until_issues(&order, &[disputed(&dispute)]).await;
        if outcome == "won" {
            // A parcel that arrives is what wins a dispute.
            scene.seller.act(&format!("/orders/{order}/pack")).await.expect(200);
        }
        scene.close(&dispute, outcome).await;
        scene.until_issues(&order, &[ended(&dispute, outcome)]).await;
        if outcome == "lost" {
            scene.seller.act(&format!("/orders/{order}/pack")).await.problem(409, "dispute-lost");
            scene.seller.post(&format!("/orders/{order}/ship"), &parcel).await.problem(409, "dispute-lost");
            let settled = json!({"action": "settled", "note": "paid by bank transfer meanwhile"});
            scene.admin.post(&format!("/admin/payments/attention/{order}"), &settled).await.expect(200);
        }
        scene.seller.post(&format!("/orders/{order}/ship"), &parcel).await.expect(200);
    }
}
