//! Webhooks of the provider: refused unless they are signed, durable before they are acknowledged, and no more than a
//! reason to ask the provider.

use axum::body::Body;
use futures::{StreamExt, stream};
use secrecy::SecretString;
use serde_json::{Value, json};
use souk::{
    clock::Clock,
    config::{Config, Secret},
    domain::{account::Role, entity::Timestamp},
    internals::signature::sign,
};
use souk_gateway_sim::{Operation, Rule, Webhook, WebhookDelivery};
use tokio::net::TcpListener;

use crate::{
    provider::{Provider, Server, anywhere, decide, shop_at, url_of},
    support::{Answer, Client, TestApp, eventually},
};

/// The metric of payments that the provider has answered.
const PAID_OK: &str = r#"souk_provider_requests_total{call="pay",outcome="ok"}"#;
const HOOK: &str = "/webhooks/simulator";
/// Two secrets are valid while one replaces the other.
const SECRETS: [&str; 2] = ["the next", "the present"];

pub(crate) fn secrets(config: &mut Config) {
    config.payments.webhook_secrets = Some(Secret::new(SECRETS.join(",")));
    config.limits.payment_wait_ms_max = 1_000;
}

async fn shop(provider: &Provider) -> (TestApp, Client, Client) {
    shop_at(&provider.url, secrets, Clock::system()).await
}

/// An event about an order's first attempt, of this type: `payment_intent.` stands before it.
pub(crate) fn notice(what: &str, order: &str) -> Value {
    let object = json!({
        "object": "payment_intent", "id": format!("pi_{order}"), "metadata": {"order": order, "attempt": "1"}
    });
    event(&format!("evt_{order}_{what}"), &format!("payment_intent.{what}"), &object)
}

fn event(id: &str, what: &str, object: &Value) -> Value {
    let created = Clock::system().now().0 / 1_000;
    json!({"id": id, "object": "event", "created": created, "type": what, "data": {"object": object}})
}

fn signed(secret: &str, body: &str, shift_seconds: i64) -> String {
    let at = Clock::system().now().0.saturating_add_signed(shift_seconds * 1_000);
    sign(&SecretString::from(secret.to_owned()), body.as_bytes(), Timestamp(at))
}

/// Sends a body with this signature, or without one.
async fn post(client: &Client, path: &str, signature: Option<&str>, body: &str) -> Answer {
    let headers: Vec<_> = signature.iter().map(|signature| ("stripe-signature", *signature)).collect();
    client.raw(client.request("POST", path, &headers, Body::from(body.to_owned()))).await
}

/// Sends a notice as the provider does.
pub(crate) async fn tell(app: &TestApp, notice: &Value) -> Answer {
    let body = notice.to_string();
    post(&app.anonymous(), HOOK, Some(&signed(SECRETS[1], &body, 0)), &body).await
}

/// An order whose payment waits for its customer, and where they go.
async fn waiting(customer: &Client) -> (String, Value) {
    let order = customer.order("CABLE", 1).await;
    let page = customer.pay(&order, "tok_3ds").await.expect(202)["payment"]["action_url"].clone();
    (order, page)
}

#[tokio::test]
async fn without_a_secret_and_at_another_providers_address_nothing_is_taken() {
    let provider = Provider::new().await;
    let (app, _, customer) = shop_at(&provider.url, |_| {}, Clock::system()).await;
    let body = notice("succeeded", &customer.order("CABLE", 1).await).to_string();
    for secret in ["", SECRETS[0]] {
        post(&app.anonymous(), HOOK, Some(&signed(secret, &body, 0)), &body).await.problem(404, "not-found");
    }
    let (app, ..) = shop(&provider).await;
    let header = signed(SECRETS[0], &body, 0);
    for path in ["/webhooks/stripe", "/webhooks/simulated", "/webhooks/Simulator", "/webhooks/x"] {
        post(&app.anonymous(), path, Some(&header), &body).await.problem(404, "not-found");
    }
    let built_in = TestApp::with(secrets, Clock::system()).await;
    post(&built_in.anonymous(), "/webhooks/simulated", Some(&header), &body).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_notice_is_taken_only_with_a_signature_that_holds_and_a_body_that_can_be_read() {
    let provider = Provider::new().await;
    let change = |config: &mut Config| {
        secrets(config);
        config.limits.body_bytes_max = 2_048;
    };
    let (app, _, customer) = shop_at(&provider.url, change, Clock::system()).await;
    let (order, page) = waiting(&customer).await;
    decide(&page, "approve").await;
    let (sequence, anybody) = (app.sequence(&customer, &order).await, app.anonymous());
    let body = notice("succeeded", &order).to_string();
    let other = notice("payment_failed", &order).to_string();
    for header in [
        None,
        Some(String::new()),
        Some("nonsense".into()),
        Some(signed("retired", &body, 0)),
        Some(signed(SECRETS[0], &other, 0)),
        Some(signed(SECRETS[0], &body, -400)),
        Some(signed(SECRETS[0], &body, 400)),
    ] {
        post(&anybody, HOOK, header.as_deref(), &body).await.problem(400, "invalid-notice");
    }
    let mut nowhere = notice("succeeded", &order);
    nowhere["data"] = Value::Null;
    for body in ["", "{", "null", "[]", "{\"id\":\"evt_1\"}", &nowhere.to_string()] {
        post(&anybody, HOOK, Some(&signed(SECRETS[0], body, 0)), body).await.problem(400, "invalid-notice");
    }
    let long = " ".repeat(3_000);
    post(&anybody, HOOK, Some(&signed(SECRETS[0], &long, 0)), &long).await.problem(413, "body-too-large");
    assert_eq!(app.sequence(&customer, &order).await, sequence, "nothing was recorded");
    assert_eq!(customer.metric(PAID_OK).await, 1, "the provider was not asked");
    for secret in SECRETS {
        post(&anybody, HOOK, Some(&signed(secret, &body, 0)), &body).await.expect(204);
    }
    app.until(&customer, &order, "confirmed").await;
}

#[tokio::test]
async fn what_names_no_order_of_ours_is_kept_until_somebody_has_seen_to_it() {
    let provider = Provider::new().await;
    let (app, seller, customer) = shop(&provider).await;
    let admin = app.user("admin", Role::Admin).await;
    let (known, unknown) = (customer.order("CABLE", 1).await, "0".repeat(31) + "7");
    for _ in 0..3 {
        tell(&app, &notice("succeeded", &unknown)).await.expect(204);
    }
    tell(&app, &notice("succeeded", &known)).await.expect(204);
    let payout = event("evt_payout", "payout.paid", &json!({"object": "payout", "id": "po_1"}));
    tell(&app, &payout).await.expect(204);
    let list = "/admin/payments/notices";
    let kept = admin.get(list).await.expect(200);
    let orders: Vec<_> = kept.as_array().unwrap().iter().map(|kept| kept["order_id"].as_str().unwrap()).collect();
    assert_eq!((orders.len(), orders.contains(&&*unknown), orders.contains(&&*known)), (2, true, true), "{kept}");
    let of_unknown = kept.as_array().unwrap().iter().find(|kept| kept["order_id"] == unknown).unwrap();
    assert_eq!(
        (&of_unknown["what"], &of_unknown["reference"]),
        (&json!("payment_intent.succeeded"), &json!(format!("pi_{unknown}")))
    );
    let dismiss = format!("{list}/{}/dismiss", of_unknown["notice_id"].as_str().unwrap());
    let note = json!({"note": "it was a test of theirs"});
    for other in [&seller, &customer] {
        other.get(list).await.problem(403, "forbidden");
        other.post(&dismiss, &note).await.problem(403, "forbidden");
    }
    admin.post(&dismiss, &json!({"note": " "})).await.problem(422, "invalid-body");
    let app = app.restart().await;
    let admin = app.again(&admin);
    admin.post(&dismiss, &note).await.expect(204);
    admin.post(&dismiss, &note).await.problem(404, "not-found");
    tell(&app, &notice("succeeded", &unknown)).await.expect(204);
    for name in ["x", "1-", "-1", "1-x", "99999999999-0"] {
        admin.post(&format!("{list}/{name}/dismiss"), &note).await.problem(404, "not-found");
    }
    assert_eq!(admin.get(list).await.expect(200).as_array().unwrap().len(), 1);
    assert_eq!(provider.effects(&unknown).await, [] as [&str; 0]);
}

#[tokio::test]
async fn one_notice_a_thousand_times_has_the_effects_of_one() {
    let provider = Provider::new().await;
    let (app, seller, customer) = shop(&provider).await;
    let (order, page) = waiting(&customer).await;
    decide(&page, "approve").await;
    let (before, asked) = (app.sequence(&customer, &order).await, customer.metric(PAID_OK).await);
    let captured = notice("succeeded", &order);
    let told = stream::iter(0..1_000).map(|_| tell(&app, &captured)).buffer_unordered(50);
    told.for_each(|answer| async move { drop(answer.expect(204)) }).await;
    app.until(&customer, &order, "confirmed").await;
    let (after, asked_after) = (app.sequence(&customer, &order).await, customer.metric(PAID_OK).await);
    let history = customer.shown(&order).await["history"].clone();
    assert!(after - before <= 3, "heard, captured and confirmed, not {} events: {history}", after - before);
    // Those that come while it is asked about may have it looked at once more.
    assert!(asked_after - asked <= 4, "asked {} times", asked_after - asked);
    let statuses: Vec<_> = history.as_array().unwrap().iter().map(|entry| entry["status"].as_str().unwrap()).collect();
    assert_eq!(statuses[statuses.len() - 3..], ["payment_pending", "paid", "confirmed"]);
    assert_eq!((provider.effects(&order).await.len(), provider.net(&order).await), (2, 10_000));
    assert_eq!(seller.stock("CABLE").await, (9, 9));

    seller.deliver(&order).await;
    let (done, shown) = (app.sequence(&customer, &order).await, customer.shown(&order).await);
    for what in ["succeeded", "payment_failed", "canceled", "nonsense"] {
        tell(&app, &notice(what, &order)).await.expect(204);
    }
    assert_eq!((customer.shown(&order).await, provider.net(&order).await), (shown, 10_000));
    assert!(app.sequence(&customer, &order).await - done <= 1, "it may be remembered once");
}

#[tokio::test]
async fn while_a_payment_waits_a_repeated_notice_costs_one_question() {
    let provider = Provider::new().await;
    let (app, _, customer) = shop(&provider).await;
    let (order, page) = waiting(&customer).await;
    let (before, asked) = (app.sequence(&customer, &order).await, customer.metric(PAID_OK).await);
    for _ in 0..100 {
        tell(&app, &notice("requires_action", &order)).await.expect(204);
    }
    let (after, asked_after) = (app.sequence(&customer, &order).await, customer.metric(PAID_OK).await);
    assert!(after - before <= 2, "heard, and nothing new: {} events", after - before);
    assert!(asked_after - asked <= 2, "asked {} times", asked_after - asked);
    // It is remembered over a restart, and other news are heard.
    let app = app.restart().await;
    let customer = app.again(&customer);
    tell(&app, &notice("requires_action", &order)).await.expect(204);
    assert_eq!(app.sequence(&customer, &order).await, after);
    decide(&page, "approve").await;
    tell(&app, &notice("succeeded", &order)).await.expect(204);
    app.until(&customer, &order, "confirmed").await;
}

#[tokio::test]
async fn a_notice_that_comes_before_the_answer_or_with_no_news_does_no_harm() {
    let provider = Provider::new().await;
    let (app, _, customer) = shop(&provider).await;
    let order = customer.order("CABLE", 1).await;
    let paying = customer.pay(&order, "tok_slow");
    let announced = async {
        eventually(async || (provider.net(&order).await == 10_000).then_some(())).await;
        tell(&app, &notice("succeeded", &order)).await.expect(204);
    };
    let (answer, ()) = tokio::join!(paying, announced);
    answer.expect(202);
    app.until(&customer, &order, "confirmed").await;
    assert_eq!(provider.effects(&order).await, ["captured"]);

    let (order, page) = waiting(&customer).await;
    for what in ["succeeded", "payment_failed", "canceled"] {
        tell(&app, &notice(what, &order)).await.expect(204);
        assert_eq!(customer.shown(&order).await["status"], "payment_pending", "the provider says otherwise");
    }
    decide(&page, "decline").await;
    tell(&app, &notice("payment_failed", &order)).await.expect(204);
    app.until(&customer, &order, "awaiting_payment").await;
    assert_eq!(
        (provider.effects(&order).await, provider.net(&order).await),
        (vec!["waits".into(), "declined".into(), "voided".into()], 0)
    );
}

#[tokio::test]
async fn the_simulator_announces_what_the_shop_did_not_wait_for() {
    let listener = TcpListener::bind(anywhere()).await.unwrap();
    let hook = format!("{}{HOOK}", url_of(&listener));
    let provider = Provider::announcing(Webhook::new(&hook, SecretString::from(SECRETS[1])).unwrap()).await;
    let (app, seller, customer) = shop(&provider).await;
    let _served = Server::start(app.router.clone(), listener);
    let flood = WebhookDelivery { times: 20, ..WebhookDelivery::default() };
    let forged = WebhookDelivery { times: 20, bad_signature: true, ..WebhookDelivery::default() };
    provider
        .plan(&[
            Rule { method: Some("tok_processing".into()), webhook: Some(flood), ..Rule::default() },
            Rule { operation: Some(Operation::Refund), webhook: Some(forged), ..Rule::default() },
        ])
        .await;
    let (waits, page) = waiting(&customer).await;
    let order = customer.order("CABLE", 1).await;
    assert_eq!(customer.pay(&order, "tok_processing").await.expect(202)["payment"]["status"], "pending");
    decide(&page, "approve").await;
    for order in [&waits, &order] {
        app.until(&customer, order, "confirmed").await;
        assert_eq!(provider.net(order).await, 10_000);
    }
    customer.act(&format!("/orders/{waits}/cancel")).await.expect(200);
    assert_eq!((provider.net(&waits).await, seller.stock("CABLE").await), (0, (9, 9)));
}
