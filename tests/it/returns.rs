//! Returns: the customer requests one, and the seller receives and refunds the goods, or rejects it.

use serde_json::json;
use souk::{clock::Clock, domain::account::Role};

use crate::{
    provider::{Provider, shop_at},
    support::{Client, units},
};

async fn ask_return(client: &Client, order: &str, quantity: u32) -> crate::support::Answer {
    let body = json!({"items": units(&[("CABLE", quantity)]), "reason": "too short"});
    client.post(&format!("/orders/{order}/returns"), &body).await
}

#[tokio::test]
async fn returned_goods_are_refunded_and_restocked_once() {
    let provider = Provider::new().await;
    let (_app, seller, customer) = shop_at(&provider.url, |_| {}, Clock::system()).await;
    let order = customer.buy("CABLE", 3).await;
    seller.deliver(&order).await;
    let path = format!("/orders/{order}/returns");
    let body = |quantity: u32| json!({"items": units(&[("CABLE", quantity)]), "reason": "too short"});
    let asked = customer.post_with_key(&path, "r1", &body(2)).await.expect(201);
    assert_eq!(customer.post_with_key(&path, "r1", &body(2)).await.expect(201), asked, "one key, one return");
    customer.post_with_key(&path, "r1", &body(1)).await.problem(422, "idempotency-key-reused");
    let requested = &asked["returns"][0];
    assert_eq!((&requested["status"], &requested["items"]), (&json!("requested"), &units(&[("CABLE", 2)])));
    assert_eq!((provider.net(&order).await, seller.stock("CABLE").await), (30_000, (7, 7)), "nothing is back yet");
    let path = format!("/orders/{order}/returns/1/receive");
    for _ in 0..2 {
        let received = seller.post(&path, &json!({"restock": true})).await.expect(200);
        assert_eq!(
            (&received["returns"][0]["status"], &received["returns"][0]["refund"]),
            (&json!("received"), &json!(1))
        );
        assert_eq!(received["refunds"].as_array().unwrap().len(), 1);
        let refund = &received["refunds"][0];
        assert_eq!((&refund["status"], &refund["cause"]), (&json!("refunded"), &json!("return")));
        assert_eq!((&refund["amount"]["amount"], &refund["reason"]), (&json!(20_000), &json!("too short")));
        assert_eq!((provider.net(&order).await, seller.stock("CABLE").await), (10_000, (9, 9)));
    }
    let reject = format!("/orders/{order}/returns/1/reject");
    seller.post(&reject, &json!({"note": "worn"})).await.problem(409, "return-decided");
    let shown = customer.shown(&order).await;
    let notes: Vec<_> =
        shown["history"].as_array().unwrap().iter().filter_map(|entry| entry["note"].as_str()).collect();
    let told = ["return 1 requested", "return 1 received", "refund 1 of INR 200.00 requested", "refund 1: refunded"];
    assert_eq!(notes[notes.len() - 4..], told);
}

#[tokio::test]
async fn a_rejected_return_can_be_requested_again() {
    let provider = Provider::new().await;
    let (_app, seller, customer) = shop_at(&provider.url, |_| {}, Clock::system()).await;
    let order = customer.buy("CABLE", 2).await;
    seller.deliver(&order).await;
    ask_return(&customer, &order, 2).await.expect(201);
    assert_eq!(ask_return(&customer, &order, 1).await.problem(409, "more-than-left")["left"], 0);
    let reject = format!("/orders/{order}/returns/1/reject");
    let refused = seller.post(&reject, &json!({"note": " "})).await.problem(422, "invalid-body");
    assert_eq!(refused["errors"][0]["pointer"], "#/note");
    let rejected = seller.post(&reject, &json!({"note": "worn"})).await.expect(200);
    assert_eq!(
        (&rejected["returns"][0]["status"], &rejected["returns"][0]["note"]),
        (&json!("rejected"), &json!("worn"))
    );
    seller.post(&reject, &json!({"note": "worn"})).await.problem(409, "return-decided");
    let receive = |number: u32| format!("/orders/{order}/returns/{number}/receive");
    seller.post(&receive(1), &json!({"restock": true})).await.problem(409, "return-decided");
    ask_return(&customer, &order, 2).await.expect(201);
    // Meanwhile the seller has refunded one unit without a return.
    seller.refund(&order, &json!({"items": units(&[("CABLE", 1)]), "reason": "sorry"})).await.expect(201);
    seller.post(&receive(2), &json!({"restock": true})).await.problem(409, "more-than-left");
    assert_eq!((provider.net(&order).await, seller.stock("CABLE").await), (10_000, (8, 8)));
}

#[tokio::test]
async fn returns_are_requested_by_the_customer_and_received_by_the_seller() {
    let provider = Provider::new().await;
    let (app, seller, customer) = shop_at(&provider.url, |_| {}, Clock::system()).await;
    let (other, ravi) = (app.user("other", Role::Seller).await, app.customer("ravi").await);
    let order = customer.buy("CABLE", 2).await;
    let unsent = ask_return(&customer, &order, 1).await.problem(409, "wrong-order-status");
    assert_eq!(unsent["order_status"], "confirmed");
    seller.deliver(&order).await;
    for stranger in [&seller, &other, &ravi] {
        ask_return(stranger, &order, 1).await.problem(404, "not-found");
    }
    assert_eq!(ask_return(&customer, &order, 3).await.problem(409, "more-than-left")["left"], 2);
    ask_return(&customer, &order, 0).await.problem(422, "invalid-body");
    let path = format!("/orders/{order}/returns");
    customer.post(&path, &json!({"items": [], "reason": "x"})).await.problem(409, "nothing-to-refund");
    let elsewhere = json!({"items": units(&[("PHONE", 1)]), "reason": "x"});
    customer.post(&path, &elsewhere).await.problem(404, "not-found");
    ask_return(&customer, &order, 1).await.expect(201);
    for (decision, body) in [("receive", json!({"restock": true})), ("reject", json!({"note": "worn"}))] {
        let path = |number: &str| format!("/orders/{order}/returns/{number}/{decision}");
        customer.post(&path("1"), &body).await.problem(403, "forbidden");
        for stranger in [&other, &ravi] {
            stranger.post(&path("1"), &body).await.problem(404, "not-found");
        }
        for number in ["2", "0", "x", "-1", "4294967296"] {
            seller.post(&path(number), &body).await.problem(404, "not-found");
        }
    }
    assert_eq!(provider.effects(&order).await, ["captured"]);
    seller.post(&format!("{path}/1/receive"), &json!({"restock": false})).await.expect(200);
    assert_eq!((provider.net(&order).await, seller.stock("CABLE").await), (10_000, (8, 8)));
}
