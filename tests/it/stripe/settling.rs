//! After the payment: voids, captures, refunds, the list of payments, notices; and the configuration of the adapter.

use serde_json::{Value, json};
use souk::{
    domain::{
        entity::Timestamp,
        ids::OrderId,
        money::{Currency, Money},
        order::{About, PaymentState, RefundState},
    },
    internals::{
        signature,
        stripe::{API_URL, Stripe, StripeConfig},
    },
    payments::{Gateway, NoticeRefused, NoticeSubject, Payment, Repayment},
};

use super::{
    PI, Stub, StubAnswer, captured, card, config, error, failed as failed_intent, intent, known, ok, page, repayment,
    stripe_at, voided, with,
};

#[tokio::test]
async fn a_void_also_works_for_an_unknown_payment_and_reports_when_it_is_too_late() {
    let nothing = || page(json!([]), false);
    let cases = [
        (known(), vec![ok(intent("requires_capture")), ok(intent("canceled"))], voided()),
        (known(), vec![ok(intent("succeeded"))], captured()),
        (known(), vec![ok(intent("canceled"))], voided()),
        (
            card(),
            vec![
                page(json!([intent("requires_confirmation")]), false),
                ok(intent("requires_confirmation")),
                ok(intent("canceled")),
            ],
            voided(),
        ),
        (card(), vec![nothing(), ok(intent("requires_confirmation")), ok(intent("canceled"))], voided()),
        (
            card(),
            vec![nothing(), StubAnswer::Replay(intent("requires_confirmation")), ok(intent("succeeded"))],
            captured(),
        ),
        (
            card(),
            vec![nothing(), error(400, "invalid_request_error", "amount_too_small", Some("amount"))],
            PaymentState::Voided { reference: None },
        ),
    ];
    for (payment, script, state) in cases {
        let stub = Stub::new(script).await;
        assert_eq!(stub.stripe().void(payment).await.unwrap(), state);
        assert!(!stub.asked().iter().any(|line| line.ends_with("/confirm")));
    }
    for script in [
        vec![nothing(), error(401, "invalid_request_error", "x", None)],
        vec![nothing(), error(409, "idempotency_error", "x", None)],
        // The key may be of another account than the payment was made with.
        vec![nothing(), error(400, "invalid_request_error", "resource_missing", Some("payment_method"))],
        vec![nothing(), error(404, "invalid_request_error", "resource_missing", None)],
        vec![nothing(), error(404, "invalid_request_error", "url_invalid", None)],
        vec![nothing(), ok(intent("requires_confirmation")), error(400, "invalid_request_error", "x", None)],
        vec![nothing(), ok(intent("requires_confirmation")), ok(intent("requires_confirmation"))],
        vec![nothing(), StubAnswer::Other(502, "text/html", "<html>".into())],
    ] {
        let stub = Stub::new(script).await;
        stub.stripe().void(card()).await.unwrap_err();
        stub.asked();
    }
}

#[tokio::test]
async fn a_held_payment_is_captured_once() {
    let capture = format!("POST {PI}/pi_1/capture");
    let look = format!("GET {PI}/pi_1");
    let stub = Stub::new([ok(intent("requires_capture")), ok(intent("succeeded"))]).await;
    assert_eq!(stub.stripe().capture(known()).await.unwrap(), captured());
    assert_eq!(stub.asked(), [look.clone(), capture.clone()]);
    assert_eq!(stub.play.lock().seen[1].headers["idempotency-key"], format!("{}:capture:2", OrderId(7)));
    let stub = Stub::new([ok(intent("succeeded"))]).await;
    assert_eq!(stub.stripe().capture(known()).await.unwrap(), captured());
    let unexpected = || error(400, "invalid_request_error", "payment_intent_unexpected_state", None);
    let stub = Stub::new([ok(intent("requires_capture")), unexpected(), ok(intent("succeeded"))]).await;
    assert_eq!(stub.stripe().capture(known()).await.unwrap(), captured());
    assert_eq!(stub.asked(), [look.clone(), capture, look]);
    let stub = Stub::new([ok(intent("requires_capture")), unexpected(), ok(intent("canceled"))]).await;
    assert_eq!(stub.stripe().capture(known()).await.unwrap(), voided(), "a payment is not held for ever");
    let stub = Stub::new([ok(intent("requires_capture")), error(500, "api_error", "x", None)]).await;
    stub.stripe().capture(known()).await.unwrap_err();
    // A failure that is stored under the key would come again for a day.
    for (again, state) in [
        (vec![ok(intent("succeeded"))], captured()),
        (vec![unexpected(), ok(intent("succeeded"))], captured()),
        (vec![unexpected(), ok(intent("canceled"))], voided()),
    ] {
        let stub = Stub::new([vec![ok(intent("requires_capture")), StubAnswer::Failed], again].concat()).await;
        assert_eq!(stub.stripe().capture(known()).await.unwrap(), state);
        stub.asked();
        assert!(!stub.play.lock().seen[2].headers.contains_key("idempotency-key"));
    }
}

#[tokio::test]
async fn an_account_is_known_by_its_id_and_the_mode_of_the_key() {
    let account = |id: &str| ok(json!({"object": "account", "id": id}));
    for (key, mode) in [("sk_test_x", "test"), ("rk_test_x", "test"), ("sk_live_x", "live"), ("rk_live_x", "live")] {
        let stub = Stub::new([account("acct_1")]).await;
        let stripe = Stripe::new(StripeConfig { key: key.into(), ..config(&stub.url) }).unwrap();
        assert_eq!(stripe.account().await.unwrap(), Some(format!("acct_1:{mode}")));
        assert_eq!(stub.asked(), ["GET /v1/account"]);
    }
    // What does not exist for the right account does not exist.
    let missing = error(400, "invalid_request_error", "resource_missing", Some("payment_method"));
    let stub = Stub::new([account("acct_1"), page(json!([]), false), missing]).await;
    let stripe = stub.stripe();
    stripe.account().await.unwrap();
    assert_eq!(stripe.void(card()).await.unwrap(), PaymentState::Voided { reference: None });
    for (status, why) in [(403, "a restricted key may not be allowed to read it"), (404, "there are no accounts")] {
        let stub = Stub::new([error(status, "invalid_request_error", "x", None)]).await;
        assert_eq!(stub.stripe().account().await.unwrap(), None, "{why}");
    }
    for strange in
        [account(""), account("a b"), ok(intent("succeeded")), error(401, "invalid_request_error", "x", None)]
    {
        let stub = Stub::new([strange]).await;
        stub.stripe().account().await.unwrap_err();
    }
}

#[tokio::test]
async fn a_payment_that_the_right_account_does_not_have_is_not_known() {
    let missing = || error(404, "invalid_request_error", "resource_missing", Some("intent"));
    let account = ok(json!({"object": "account", "id": "acct_1"}));
    let stub = Stub::new([account, missing()]).await;
    let stripe = stub.stripe();
    stripe.account().await.unwrap();
    assert_eq!(stripe.find(known()).await.unwrap(), None);
    assert_eq!(stub.asked(), ["GET /v1/account".to_owned(), format!("GET {PI}/pi_1")]);
    // A key of another account would see no payment of the shop.
    let stub = Stub::new([missing()]).await;
    stub.stripe().find(known()).await.unwrap_err();
}

#[tokio::test]
async fn a_payment_is_read_without_what_it_is_not_asked_for() {
    let mut bare = intent("succeeded");
    let needed = ["object", "id", "status", "currency", "amount_received", "metadata"];
    bare.as_object_mut().unwrap().retain(|name, _| needed.contains(&name.as_str()));
    let stub = Stub::new([ok(bare)]).await;
    assert_eq!(stub.stripe().pay(known()).await.unwrap(), captured());
}

fn refund(status: &str) -> Value {
    json!({"object": "refund", "id": "re_1", "status": status, "amount": 300, "currency": "usd", "payment_intent": "pi_1",
        "failure_reason": null, "metadata": {"order": OrderId(7).to_string(), "refund": "1"}})
}

#[tokio::test]
async fn a_payment_is_refunded_once() {
    let reference = || "re_1".to_owned();
    let refunded = RefundState::Refunded { reference: reference() };
    let failed = |reason: &str| RefundState::Failed { reason: reason.into() };
    let stub = Stub::new([page(json!([]), false), ok(refund("succeeded"))]).await;
    assert_eq!(stub.stripe().refund(repayment()).await.unwrap(), refunded);
    assert_eq!(stub.asked(), ["GET /v1/refunds", "POST /v1/refunds"]);
    {
        let play = stub.play.lock();
        let (order, asked) = (OrderId(7), &play.seen[1]);
        assert_eq!(asked.headers["idempotency-key"], format!("{order}:refund:1"));
        assert_eq!(
            asked.body,
            format!("payment_intent=pi_1&amount=300&metadata%5Border%5D={order}&metadata%5Brefund%5D=1")
        );
    }
    for (status, state) in [
        ("succeeded", refunded),
        ("pending", RefundState::Processing { reference: reference() }),
        ("requires_action", RefundState::Processing { reference: reference() }),
        ("failed", failed("failed")),
        ("canceled", failed("canceled")),
    ] {
        // It was created before, and its key may be forgotten: it is found, and not created again.
        let other = with(refund("failed"), "metadata", json!({"order": OrderId(7).to_string(), "refund": "2"}));
        let stub = Stub::new([page(json!([other, refund(status)]), false)]).await;
        assert_eq!(stub.stripe().refund(repayment()).await.unwrap(), state);
        let named = Repayment { reference: Some(reference()), ..repayment() };
        let stub = Stub::new([ok(refund(status))]).await;
        assert_eq!(stub.stripe().refund(named).await.unwrap(), state);
        assert_eq!(stub.asked(), ["GET /v1/refunds/re_1"]);
    }
    let lost_card = with(refund("failed"), "failure_reason", json!("lost_or_stolen_card"));
    let stub = Stub::new([page(json!([lost_card]), false)]).await;
    assert_eq!(stub.stripe().refund(repayment()).await.unwrap(), failed("lost_or_stolen_card"));
    for (code, param, reason) in [
        (json!("charge_already_refunded"), json!(null), "charge_already_refunded"),
        (json!(null), json!("amount"), "invalid_amount"),
    ] {
        let refusal = json!({"error": {"type": "invalid_request_error", "code": code, "param": param}});
        let stub = Stub::new([page(json!([]), false), StubAnswer::Json(400, refusal)]).await;
        assert_eq!(stub.stripe().refund(repayment()).await.unwrap(), failed(reason));
    }
    for strange in [
        vec![page(json!([]), true)],
        vec![page(json!([]), false), error(404, "invalid_request_error", "resource_missing", Some("payment_intent"))],
        vec![page(json!([]), false), error(500, "api_error", "x", None)],
        vec![page(json!([]), false), ok(with(refund("succeeded"), "amount", json!(299)))],
        vec![page(json!([]), false), ok(with(refund("succeeded"), "amount", json!(-300)))],
        vec![page(json!([]), false), ok(with(refund("succeeded"), "currency", json!("eur")))],
        vec![page(json!([]), false), ok(with(refund("succeeded"), "payment_intent", json!("pi_2")))],
        vec![page(json!([]), false), ok(with(refund("succeeded"), "status", json!(null)))],
        vec![page(json!([]), false), ok(with(refund("succeeded"), "object", json!("charge")))],
    ] {
        let stub = Stub::new(strange).await;
        stub.stripe().refund(repayment()).await.unwrap_err();
        stub.asked();
    }
}

#[tokio::test]
async fn the_list_of_payments_is_read_page_by_page() {
    let charged =
        with(intent("succeeded"), "latest_charge", json!({"id": "ch_1", "captured": true, "amount_refunded": 300}));
    // The end of a hold is a refund by older versions of the interface, which an account may have set.
    let held = json!({"id": "ch_2", "captured": false, "amount_refunded": 1_299, "refunded": true});
    let released = with(with(intent("canceled"), "latest_charge", held), "id", json!("pi_8"));
    let strangers = [
        with(with(intent("succeeded"), "metadata", json!({})), "currency", json!("eur")),
        // Not of this shop, and in a currency that the shop cannot represent.
        with(with(intent("succeeded"), "metadata", json!({})), "currency", json!("ugx")),
    ];
    let last = with(failed_intent("requires_payment_method"), "id", json!("pi_9"));
    let stub =
        Stub::new([page(json!([charged, strangers[0], strangers[1], released, last]), true), page(json!([]), false)])
            .await;
    let stripe = stub.stripe();
    let listed = stripe.list_payments(Timestamp(1_700_000_000_999), Timestamp(1_700_000_100_001), None).await.unwrap();
    let lines: Vec<_> = listed.payments.iter().map(|line| (line.of, line.state.clone(), line.refunded_minor)).collect();
    let eur = Money::new(1_299, "EUR".parse().unwrap()).unwrap();
    assert_eq!(
        lines,
        [
            (Some((OrderId(7), 2)), captured(), 300),
            (None, PaymentState::Captured { reference: "pi_1".into(), amount: eur }, 0),
            (Some((OrderId(7), 2)), PaymentState::Voided { reference: Some("pi_8".into()) }, 0),
            (Some((OrderId(7), 2)), PaymentState::Processing { reference: "pi_9".into() }, 0),
        ]
    );
    assert_eq!(listed.next.as_deref(), Some("pi_9"));
    let end = stripe.list_payments(Timestamp(0), Timestamp(1), listed.next).await.unwrap();
    assert_eq!((end.payments.len(), end.next), (0, None));
    let line = "?created%5Bgte%5D=1700000000&created%5Blt%5D=1700000101&expand%5B%5D=data.latest_charge&limit=100";
    assert_eq!(stub.play.lock().seen[0].line, format!("GET {PI}{line}"));
    assert!(stub.play.lock().seen[1].line.ends_with("&starting_after=pi_9"));

    let ours = with(intent("succeeded"), "currency", json!("ugx"));
    let unexpanded = with(intent("succeeded"), "latest_charge", json!("ch_1"));
    // Of what is not understood the others of its page know nothing.
    let stub = Stub::new([page(json!([ours, charged, unexpanded]), false)]).await;
    let listed = stub.stripe().list_payments(Timestamp(0), Timestamp(1), None).await.unwrap();
    assert_eq!((listed.payments.len(), listed.unreadable.len(), listed.next), (1, 2, None));
    for strange in [page(json!([]), true), page(json!([json!({})]), false)] {
        let stub = Stub::new([strange]).await;
        stub.stripe().list_payments(Timestamp(0), Timestamp(1), None).await.unwrap_err();
    }
}

#[test]
fn a_notice_is_accepted_under_either_valid_secret_and_no_other() {
    let stripe = stripe_at(API_URL);
    let now = Timestamp(1_700_000_000_000);
    let body = json!({"id": "evt_1", "object": "event", "created": 1_700_000_000, "type": "payment_intent.succeeded", "data": {"object": intent("succeeded")}});
    let body = body.to_string().into_bytes();
    assert_eq!(stripe.signature_header(), "stripe-signature");
    for secret in ["whsec_new", "whsec_old"] {
        let notice = stripe.notice(&signature::sign(&secret.into(), &body, now), &body, now).unwrap();
        assert_eq!((notice.of, notice.subject), (Some((OrderId(7), About::Attempt(2))), NoticeSubject::Payment));
    }
    let other = signature::sign(&"whsec_other".into(), &body, now);
    assert!(matches!(stripe.notice(&other, &body, now), Err(NoticeRefused::Signature(_))));
    let signed = signature::sign(&"whsec_new".into(), b"{}", now);
    assert!(matches!(stripe.notice(&signed, b"{}", now), Err(NoticeRefused::Unreadable(_))));
    let without = Stripe::new(StripeConfig { webhook_secrets: Vec::new(), ..config(API_URL) }).unwrap();
    assert_eq!(without.notice(&other, &body, now), Err(NoticeRefused::NotSetUp));
}

#[tokio::test]
async fn an_amount_that_stripe_does_not_accept_is_not_sent() {
    let stub = Stub::new([]).await;
    for (minor, code) in [(5_124, "KWD"), (101, "MGA"), (5, "UGX"), (1_000, "IQD")] {
        let amount = Money::new(minor, code.parse::<Currency>().unwrap()).unwrap();
        let answer = stub.stripe().pay(Payment { amount, ..card() }).await.unwrap();
        assert_eq!(answer, PaymentState::Declined { reason: "amount_not_supported".into() });
    }
    assert!(stub.asked().is_empty());
}

#[test]
fn the_key_goes_only_where_nobody_can_read_it_and_is_never_shown() {
    for url in [API_URL, "https://stripe.example/proxy/", "http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"]
    {
        Stripe::new(config(url)).map(drop).unwrap_or_else(|error| panic!("{url}: {error}"));
    }
    for url in [
        "http://api.stripe.com",
        "http://10.0.0.1",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "ftp://127.0.0.1",
        "nonsense",
    ] {
        let error = Stripe::new(config(url)).map(drop).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("verysecret"), "{error}");
    }
    for key in ["", "sk_test verysecret", "sk_test\nverysecret", "sk_\u{e9}verysecret"] {
        let error = Stripe::new(StripeConfig { key: key.into(), ..config(API_URL) }).map(drop).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("verysecret"), "{error}");
    }
    let shown = format!("{:?}", config(API_URL));
    assert!(!shown.contains("verysecret") && !shown.contains("whsec"), "{shown}");
}
