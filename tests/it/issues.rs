//! Issues of orders: only operators see and resolve them, and it is recorded who did.

use serde_json::{Value, json};
use souk::{clock::Clock, domain::account::Role};
use souk_gateway_sim::{Fault, Operation, Rule};

use crate::{
    provider::{Provider, shop_at},
    support::{Answer, Client, TestApp, units},
};

pub(crate) const LIST: &str = "/admin/payments/attention";

/// A shop with this provider, its seller, a customer and an admin.
pub(crate) async fn shop(provider: &Provider) -> (TestApp, Client, Client, Client) {
    let change = |config: &mut souk::config::Config| config.limits.payment_wait_ms_max = 1_000;
    let (app, seller, customer) = shop_at(&provider.url, change, Clock::system()).await;
    let admin = app.user("admin", Role::Admin).await;
    (app, seller, customer, admin)
}

/// The listed orders with their open issues.
async fn listed(admin: &Client) -> Vec<(String, Vec<String>)> {
    let listed = admin.get(LIST).await.expect(200);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let open = |item: &Value| {
        let problems = item["attention"].as_array().unwrap().iter().filter(|known| known["resolved"].is_null());
        (text(&item["order"]["order_id"]), problems.map(|known| text(&known["problem"])).collect())
    };
    listed["items"].as_array().unwrap().iter().map(open).collect()
}

async fn resolve(admin: &Client, order: &str, body: &Value) -> Answer {
    admin.post(&format!("{LIST}/{order}"), body).await
}

/// Waits until the order is listed with this issue.
async fn until_listed(admin: &Client, order: &str, problem: &str) {
    let wanted = vec![(order.to_owned(), vec![problem.to_owned()])];
    crate::support::eventually(async || (listed(admin).await == wanted).then_some(())).await;
}

#[tokio::test]
async fn a_failed_refund_is_listed_until_settled_and_restocks_once() {
    let provider = Provider::new().await;
    let (_app, seller, customer, admin) = shop(&provider).await;
    let order = customer.order("CABLE", 2).await;
    customer.pay(&order, "tok_refund_fails").await.expect(200);
    seller.deliver(&order).await;
    assert_eq!(listed(&admin).await, []);
    let body = json!({"items": units(&[("CABLE", 1)]), "restock": true, "reason": "broken"});
    let failed = seller.refund(&order, &body).await.expect(201);
    assert_eq!((&failed["refunds"][0]["status"], &failed["refunded"]["amount"]), (&json!("failed"), &json!(0)));
    assert_eq!(listed(&admin).await, [(order.clone(), vec!["refund_failed".to_owned()])]);
    assert_eq!(seller.stock("CABLE").await, (9, 9), "goods do not wait for money");

    let again = resolve(&admin, &order, &json!({"action": "retry", "note": "once more"})).await.expect(200);
    assert_eq!((&again["refunds"][1]["status"], &again["refunds"][2]), (&json!("failed"), &Value::Null));
    assert_eq!(listed(&admin).await, [(order.clone(), vec!["refund_failed".to_owned()])]);
    let by_hand = json!({"action": "settled", "outcome": "given_back", "note": "by bank transfer"});
    let settled = resolve(&admin, &order, &by_hand).await.expect(200);
    let statuses: Vec<_> = settled["refunds"].as_array().unwrap().iter().map(|refund| &refund["status"]).collect();
    assert_eq!(statuses, ["failed", "settled_by_hand"]);
    assert_eq!((&settled["refunded"]["amount"], listed(&admin).await), (&json!(10_000), vec![]));
    assert_eq!((provider.net(&order).await, seller.stock("CABLE").await), (20_000, (9, 9)));

    let shown = admin.get(&format!("{LIST}/{order}")).await.expect(200);
    for (index, note) in [(0, "retry: once more"), (1, "settled: by bank transfer")] {
        let resolved = &shown["attention"][index]["resolved"];
        assert_eq!((&resolved["by"], &resolved["note"]), (&json!(admin.user_id), &json!(note)));
        assert!(resolved["at"].is_string());
    }
    let history = customer.shown(&order).await["history"].to_string();
    for note in ["refund 1: failed", "refund 2: failed", "refund 2: settled_by_hand"] {
        assert!(history.contains(note), "{history}");
    }
    seller
        .refund(&order, &json!({"items": units(&[("CABLE", 2)]), "reason": "x"}))
        .await
        .problem(409, "more-than-left");
}

#[tokio::test]
async fn a_retry_makes_a_refund_that_failed_once() {
    let provider = Provider::new().await;
    let (_app, seller, customer, admin) = shop(&provider).await;
    let order = customer.buy("CABLE", 1).await;
    seller.deliver(&order).await;
    let fails = Rule { operation: Some(Operation::Refund), times: Some(1), fault: Fault::Declined, ..Rule::default() };
    provider.plan(&[fails]).await;
    seller.refund(&order, &json!({"reason": "broken"})).await.expect(201);
    assert_eq!(listed(&admin).await, [(order.clone(), vec!["refund_failed".to_owned()])]);
    let done = resolve(&admin, &order, &json!({"action": "retry", "note": "once more"})).await.expect(200);
    assert_eq!((&done["refunds"][1]["status"], &done["refunded"]), (&json!("refunded"), &done["total"]));
    assert_eq!((listed(&admin).await, provider.net(&order).await), (vec![], 0));
    // There is nothing left to retry.
    let again = resolve(&admin, &order, &json!({"action": "retry", "note": "once more"})).await;
    again.problem(409, "nothing-to-resolve");
    assert_eq!(provider.effects(&order).await, ["captured", "refund_failed", "refunded"]);
}

#[tokio::test]
async fn another_amount_than_asked_for_is_refunded_by_an_operator() {
    let provider = Provider::greedy().await;
    let (app, seller, customer, admin) = shop(&provider).await;
    let order = customer.order("CABLE", 1).await;
    customer.pay(&order, "tok_success").await.expect(202);
    until_listed(&admin, &order, "amount_mismatch").await;
    let known = admin.get(&format!("{LIST}/{order}")).await.expect(200)["attention"][0]["known"].clone();
    assert!(known.as_str().unwrap().contains("INR 100.01"), "{known}");
    assert_eq!(
        (&customer.shown(&order).await["status"], provider.net(&order).await),
        (&json!("payment_pending"), 10_001)
    );
    resolve(&admin, &order, &json!({"action": "refund", "note": "they took too much"})).await.expect(200);
    let shown = app.until_so(&customer, &order, |order| order["refunds"][0]["status"] == "refunded").await;
    assert_eq!((&shown["status"], &shown["refunds"][0]["cause"]), (&json!("awaiting_payment"), &json!("stray")));
    assert_eq!((provider.net(&order).await, listed(&admin).await), (0, vec![]));
    assert_eq!(seller.stock("CABLE").await, (10, 9), "it can still be paid");
    let shown = admin.get(&format!("{LIST}/{order}")).await.expect(200);
    let resolved = &shown["attention"][0]["resolved"];
    assert_eq!((&resolved["by"], &resolved["note"]), (&json!(admin.user_id), &json!("refund: they took too much")));
    assert_eq!(customer.act(&format!("/orders/{order}/cancel")).await.expect(200)["status"], "cancelled");
    assert_eq!((provider.net(&order).await, seller.stock("CABLE").await), (0, (10, 10)));
}

#[tokio::test]
async fn a_wrong_answer_about_a_payment_resolves_itself_or_is_resolved_by_an_operator() {
    let provider = Provider::new().await;
    let (app, _, customer, admin) = shop(&provider).await;
    let wrong = Rule { fault: Fault::WrongAmount, ..Rule::default() };
    provider.plan(std::slice::from_ref(&wrong)).await;
    let order = customer.order("CABLE", 1).await;
    customer.pay(&order, "tok_success").await.expect(202);
    until_listed(&admin, &order, "amount_mismatch").await;
    provider.plan(&[]).await;
    app.until(&customer, &order, "confirmed").await;
    crate::support::eventually(async || listed(&admin).await.is_empty().then_some(())).await;
    let resolved = admin.get(&format!("{LIST}/{order}")).await.expect(200)["attention"][0]["resolved"].clone();
    assert_eq!((&resolved["by"], resolved["note"].is_string()), (&Value::Null, true), "nobody did");

    provider.plan(&[wrong]).await;
    for (outcome, status) in [("captured", "confirmed"), ("not_charged", "awaiting_payment")] {
        let order = customer.order("CABLE", 1).await;
        customer.pay(&order, "tok_success").await.expect(202);
        until_listed(&admin, &order, "amount_mismatch").await;
        let mut body = json!({"action": "settled", "outcome": outcome, "note": "asked them"});
        if outcome == "captured" {
            let refused = resolve(&admin, &order, &body).await.problem(422, "invalid-body");
            assert_eq!(refused["errors"][0]["pointer"], "#/reference");
            body["reference"] = json!(provider.payment(&order).await);
        }
        resolve(&admin, &order, &body).await.expect(200);
        app.until(&customer, &order, status).await;
        assert_eq!(listed(&admin).await, []);
    }
}

#[tokio::test]
async fn resolutions_are_for_admins_and_refused_as_a_whole() {
    let provider = Provider::new().await;
    let (app, seller, customer, admin) = shop(&provider).await;
    let order = customer.order("CABLE", 1).await;
    customer.pay(&order, "tok_refund_fails").await.expect(200);
    seller.deliver(&order).await;
    seller.refund(&order, &json!({"reason": "broken"})).await.expect(201);
    let path = format!("{LIST}/{order}");
    let retry = json!({"action": "retry", "note": "once more"});
    for other in [&seller, &customer] {
        other.get(LIST).await.problem(403, "forbidden");
        other.get(&path).await.problem(403, "forbidden");
        other.post(&path, &retry).await.problem(403, "forbidden");
    }
    app.anonymous().get(LIST).await.problem(401, "unauthorized");
    let nobodys = format!("{LIST}/{}", "0".repeat(32));
    admin.get(&nobodys).await.problem(404, "not-found");
    admin.post(&nobodys, &retry).await.problem(404, "not-found");
    for (body, pointer) in [
        (json!({"action": "retry", "note": "n".repeat(501)}), "#/note"),
        (json!({"action": "retry", "note": " "}), "#/note"),
        (json!({"action": "retry", "note": "one\nanother"}), "#/note"),
        (json!({"action": "retry", "note": "x", "outcome": "captured"}), "#/outcome"),
        (json!({"action": "refund", "note": "x", "reference": "y"}), "#/outcome"),
        (json!({"action": "settled", "note": "x", "outcome": "lost"}), "#/outcome"),
        (json!({"action": "forget", "note": "x"}), "#/action"),
    ] {
        let refused = resolve(&admin, &order, &body).await.problem(422, "invalid-body");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{body}");
    }
    assert_eq!(provider.effects(&order).await, ["captured", "refund_failed"]);
    assert_eq!(customer.shown(&order).await["refunds"].as_array().unwrap().len(), 1, "nothing was tried again");
    assert_eq!(listed(&admin).await, [(order.clone(), vec!["refund_failed".to_owned()])]);
    let longest = json!({"action": "settled", "outcome": "given_back", "note": "n".repeat(500)});
    resolve(&admin, &order, &longest).await.expect(200);
}

#[tokio::test]
async fn an_abandoned_unknown_payment_is_recorded_and_raised_again() {
    let provider = Provider::new().await;
    let clock = Clock::manual(souk::domain::entity::Timestamp(1_700_000_000_000));
    let change = |config: &mut souk::config::Config| config.limits.payment_wait_ms_max = 500;
    let (app, _, customer) = shop_at(&provider.url, change, clock.clone()).await;
    provider.plan(&[Rule { fault: Fault::FailsBefore, ..Rule::default() }]).await;
    let order = customer.order("CABLE", 1).await;
    customer.pay(&order, "tok_success").await.expect(202);
    let open = async || {
        // The checkout retries after pauses, so the test's clock has to pass them.
        clock.advance_ms(60_000);
        // Tokens expire meanwhile.
        let shown = app.user("admin", Role::Admin).await.get(&format!("{LIST}/{order}")).await.expect(200);
        let problems = shown["attention"].as_array().unwrap().iter();
        let open = problems.filter(|known| known["resolved"].is_null()).map(|known| known["number"].clone());
        open.collect::<Vec<_>>()
    };
    crate::support::eventually(async || (open().await == [json!(1)]).then_some(())).await;
    let admin = app.user("admin", Role::Admin).await;
    let body = json!({"action": "refund", "note": "the customer does not want it any more"});
    let shown = resolve(&admin, &order, &body).await.expect(200);
    assert_eq!(shown["status"], "cancelling", "what may still be charged is not over");
    let resolved = admin.get(&format!("{LIST}/{order}")).await.expect(200)["attention"][0]["resolved"].clone();
    assert_eq!(
        (&resolved["by"], &resolved["note"]),
        (&json!(admin.user_id), &json!("refund: the customer does not want it any more"))
    );
    crate::support::eventually(async || (open().await == [json!(2)]).then_some(())).await;
    provider.plan(&[]).await;
    crate::support::eventually(async || open().await.is_empty().then_some(())).await;
    let admin = app.user("admin", Role::Admin).await;
    let shown = admin.get(&format!("{LIST}/{order}")).await.expect(200);
    assert_eq!(shown["order"]["status"], "cancelled");
    assert_eq!((listed(&admin).await, provider.net(&order).await), (vec![], 0));
}

#[tokio::test]
async fn the_list_of_issues_has_pages() {
    let provider = Provider::new().await;
    let (_app, seller, customer, admin) = shop(&provider).await;
    let mut orders = Vec::new();
    for _ in 0..3 {
        let order = customer.order("CABLE", 1).await;
        customer.pay(&order, "tok_refund_fails").await.expect(200);
        seller.deliver(&order).await;
        seller.refund(&order, &json!({"restock": true, "reason": "broken"})).await.expect(201);
        orders.push(order);
    }
    let (mut seen, mut path) = (Vec::new(), format!("{LIST}?limit=1"));
    loop {
        let page = admin.get(&path).await.expect(200);
        let item = &page["items"].as_array().unwrap()[0];
        seen.push(item["order"]["order_id"].as_str().unwrap().to_owned());
        let Some(next) = page["next_cursor"].as_str() else { break };
        path = format!("{LIST}?limit=1&after={next}");
    }
    seen.sort();
    orders.sort();
    assert_eq!(seen, orders);
}
