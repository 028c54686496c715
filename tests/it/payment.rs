//! Paying orders, with the fake provider's tokens.

use serde_json::{Value, json};
use souk::clock::Clock;

use crate::support::{Client, NOW, TestApp};

async fn attempts(client: &Client, order: &str) -> Vec<Value> {
    client.get(&format!("/orders/{order}/payments")).await.expect(200).as_array().unwrap().clone()
}

#[tokio::test]
async fn a_paid_order_is_confirmed_and_its_stock_sold() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let order = customer.order("CABLE", 2).await;
    let answer = customer.pay(&order, "tok_success").await;
    let paid = answer.expect(200);
    assert_eq!((&paid["status"], &paid["order_id"]), (&json!("success"), &json!(order)));
    assert_eq!((&paid["order_status"], &paid["payment"]["attempt"]), (&json!("confirmed"), &json!(1)));
    assert_eq!(answer.header("location"), format!("/orders/{order}"));
    let stock = seller.inventory("CABLE").await;
    assert_eq!((&stock["sold"], &stock["reserved_quantity"], &stock["on_hand"]), (&json!(2), &json!(0), &json!(8)));
    assert_eq!(attempts(&customer, &order).await, [paid["payment"].clone()]);
}

#[tokio::test]
async fn a_declined_payment_is_a_problem_and_can_be_tried_again() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let order = customer.order("CABLE", 1).await;
    for (attempt, token, reason) in
        [(1, "tok_decline", "card_declined"), (2, "tok_insufficient_funds", "insufficient_funds")]
    {
        let refused = customer.pay(&order, token).await.problem(422, "payment-declined");
        assert_eq!((&refused["payment_status"], &refused["attempt"]), (&json!("fail"), &json!(attempt)));
        assert_eq!((&refused["declined_reason"], &refused["order_id"]), (&json!(reason), &json!(order)));
    }
    let waiting = customer.get(&format!("/orders/{order}")).await.expect(200);
    assert_eq!(waiting["status"], "awaiting_payment");
    assert_eq!(seller.inventory("CABLE").await["reserved_quantity"], 1);
    assert_eq!(customer.pay(&order, "tok_success").await.expect(200)["payment"]["attempt"], 3);
}

#[tokio::test]
async fn the_number_of_payment_attempts_is_limited() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    let order = customer.order("CABLE", 1).await;
    for _ in 0..5 {
        customer.pay(&order, "tok_decline").await.problem(422, "payment-declined");
    }
    customer.pay(&order, "tok_success").await.problem(409, "too-many-attempts");
    assert_eq!(attempts(&customer, &order).await.len(), 5);
}

#[tokio::test]
async fn a_payment_with_a_lost_answer_is_captured_once() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    let order = customer.order("CABLE", 1).await;
    customer.pay(&order, "tok_decline").await.problem(422, "payment-declined");
    let answer = customer.pay(&order, "tok_timeout_after_charge").await;
    assert!([200, 202].contains(&answer.status.as_u16()), "{answer:?}");
    app.until(&customer, &order, "confirmed").await;
    assert_eq!(attempts(&customer, &order).await[1]["status"], "success");
    let ledger = std::fs::read_to_string(app.directory.path().join("data/simulated-provider.jsonl")).unwrap();
    let lines: Vec<Value> = ledger.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    // The first line names the shop.
    assert_eq!(lines.len(), 3, "{ledger}");
    let lines = &lines[1..];
    assert_eq!(lines.iter().filter(|line| line["declined"].is_null()).count(), 1, "charged once: {ledger}");
}

#[tokio::test]
async fn a_slow_payment_is_pending_and_then_success() {
    let app = TestApp::with(|config| config.limits.payment_wait_ms_max = 500, Clock::system()).await;
    app.seller().await;
    let customer = app.customer("asha").await;
    let order = customer.order("CABLE", 1).await;
    let pay = json!({"order_id": order, "payment_method": "tok_slow"});
    let pending = customer.post_with_key("/payment", "\"slow\"", &pay).await;
    let body = pending.expect(202);
    assert_eq!((&body["status"], &body["order_status"]), (&json!("pending"), &json!("payment_pending")));
    assert_eq!(pending.header("location"), format!("/orders/{order}"));
    assert_eq!(pending.header("retry-after"), "1");
    let other = customer.pay(&order, "tok_success").await;
    assert_eq!(other.problem(409, "payment-in-progress")["attempt"], 1);
    assert_eq!(other.header("retry-after"), "1");

    app.until(&customer, &order, "confirmed").await;
    let again = customer.post_with_key("/payment", "\"slow\"", &pay).await;
    assert_eq!(again.expect(200)["status"], "success");
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(attempts(&customer, &order).await.len(), 1);
}

#[tokio::test]
async fn a_repeated_payment_gets_the_same_answer_and_charges_nothing() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    let order = customer.order("CABLE", 1).await;
    let pay = json!({"order_id": order, "payment_method": "tok_success"});
    let first = customer.post_with_key("/payment", "\"p\"", &pay).await;
    let again = customer.post_with_key("/payment", "\"p\"", &pay).await;
    assert_eq!(first.expect(200)["payment"], again.expect(200)["payment"]);
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    let keyless = customer.post("/payment", &pay).await;
    assert_eq!(
        (&keyless.expect(200)["payment"], keyless.header("idempotent-replayed")),
        (&first.json()["payment"], "true")
    );
    let other = json!({"order_id": order, "payment_method": "tok_decline"});
    customer.post_with_key("/payment", "\"p\"", &other).await.problem(422, "idempotency-key-reused");
    customer.post_with_key("/payment", "\"q\"", &pay).await.problem(409, "already-paid");
    assert_eq!(attempts(&customer, &order).await.len(), 1);
}

#[tokio::test]
async fn a_declined_attempt_is_remembered_under_its_key() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    let order = customer.order("CABLE", 1).await;
    let pay = json!({"order_id": order, "payment_method": "tok_decline"});
    customer.post_with_key("/payment", "\"d\"", &pay).await.problem(422, "payment-declined");
    let again = customer.post_with_key("/payment", "\"d\"", &pay).await;
    assert_eq!(again.problem(422, "payment-declined")["attempt"], 1);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(attempts(&customer, &order).await.len(), 1);
}

#[tokio::test]
async fn only_the_customer_pays_and_only_in_time() {
    let clock = Clock::manual(NOW);
    let app = TestApp::with(|config| config.payment_deadline_ms = 60_000, clock.clone()).await;
    let seller = app.seller().await;
    let (asha, ravi) = (app.customer("asha").await, app.customer("ravi").await);
    let order = asha.order("CABLE", 1).await;
    ravi.pay(&order, "tok_success").await.problem(404, "not-found");
    seller.pay(&order, "tok_success").await.problem(404, "not-found");
    asha.pay("nothing", "tok_success").await.problem(404, "not-found");
    asha.pay(&"0".repeat(32), "tok_success").await.problem(404, "not-found");
    clock.advance_ms(60_000);
    let late = asha.pay(&order, "tok_success").await;
    let code = late.json()["code"].clone();
    assert!(late.status == 409 && (code == "hold-expired" || code == "wrong-order-status"), "{late:?}");
    assert_eq!(attempts(&asha, &order).await, [] as [Value; 0]);
}
