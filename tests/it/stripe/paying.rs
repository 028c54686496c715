//! Paying, and finding the state of a payment: in two steps, under keys, and without taking an unknown outcome for a
//! final one.

use std::time::Duration;

use serde_json::json;
use souk::{
    domain::{ids::OrderId, money::Money, order::PaymentState},
    internals::stripe::{Stripe, StripeConfig},
    payments::{Gateway, Payment},
};

use super::{
    PI, SECRET, Stub, StubAnswer, captured, card, config, declined, error, failed, intent, known, ok, page, refused,
    usd, voided, with,
};

#[tokio::test]
async fn a_payment_is_created_and_then_confirmed_each_under_its_own_key() {
    let stub = Stub::new([ok(intent("requires_confirmation")), ok(intent("succeeded"))]).await;
    let back = Some("https://shop.example/back?a=1&b=2".to_owned());
    let stripe = Stripe::new(StripeConfig { return_url: back, ..config(&stub.url) }).unwrap();
    assert_eq!(stripe.pay(card()).await.unwrap(), captured());
    assert_eq!(stub.asked(), [format!("POST {PI}"), format!("POST {PI}/pi_1/confirm")]);
    let play = stub.play.lock();
    let order = OrderId(7);
    for (request, key) in play.seen.iter().zip([format!("{order}:create:2"), format!("{order}:charge:2")]) {
        assert_eq!(request.headers["idempotency-key"], key);
        assert_eq!(request.headers["authorization"], format!("Bearer {SECRET}"));
        assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
        assert!(request.headers["stripe-version"].to_str().unwrap().starts_with("20"));
    }
    let form =
        "amount=1299&currency=usd&capture_method=automatic&payment_method_types%5B%5D=card&payment_method=pm_card_visa";
    let metadata = format!("&metadata%5Border%5D={order}&metadata%5Battempt%5D=2");
    assert_eq!(play.seen[0].body, format!("{form}{metadata}"));
    assert_eq!(play.seen[1].body, "return_url=https%3A%2F%2Fshop.example%2Fback%3Fa%3D1%26b%3D2");
}

#[tokio::test]
async fn a_declined_payment_is_cancelled_before_it_counts_as_declined() {
    for (confirmed, reason) in [
        (declined(), "insufficient_funds"),
        (ok(failed("requires_payment_method")), "do_not_honor"),
        // The next action needs a secret that no customer of the shop has.
        (ok(intent("requires_action")), "authentication_required"),
        (
            ok(with(
                intent("requires_action"),
                "next_action",
                json!({"redirect_to_url": {"url": "javascript:alert(1)"}}),
            )),
            "authentication_required",
        ),
    ] {
        let stub = Stub::new([ok(intent("requires_confirmation")), confirmed.clone(), ok(intent("canceled"))]).await;
        assert_eq!(stub.stripe().pay(card()).await.unwrap(), refused(reason));
        assert_eq!(stub.asked()[1..], [format!("POST {PI}/pi_1/confirm"), format!("POST {PI}/pi_1/cancel")]);
        // A payment may still be charged unless its cancellation is certain.
        for cancelled in [
            error(500, "api_error", "x", None),
            error(400, "invalid_request_error", "payment_intent_unexpected_state", None),
            ok(intent("succeeded")),
            StubAnswer::Other(200, "text/html", "<html>".into()),
        ] {
            let stub = Stub::new([ok(intent("requires_confirmation")), confirmed.clone(), cancelled]).await;
            stub.stripe().pay(card()).await.unwrap_err();
            assert_eq!(stub.asked().len(), 3);
        }
    }
}

#[tokio::test]
async fn a_token_that_stripe_does_not_know_is_a_decline_as_nothing_was_announced() {
    let stub = Stub::new([error(400, "invalid_request_error", "resource_missing", Some("payment_method"))]).await;
    assert_eq!(stub.stripe().pay(card()).await.unwrap(), refused("resource_missing"));
    assert_eq!(stub.asked(), [format!("POST {PI}")]);
}

#[tokio::test]
async fn what_stripe_refuses_for_good_is_a_decline_with_its_code() {
    for code in ["amount_too_small", "amount_too_large", "parameter_invalid_integer"] {
        let stub = Stub::new([error(400, "invalid_request_error", code, Some("amount"))]).await;
        assert_eq!(stub.stripe().pay(card()).await.unwrap(), refused(code));
        assert_eq!(stub.asked(), [format!("POST {PI}")]);
        // The confirmation is refused and the payment has not changed: it is cancelled, and declined then.
        let stub = Stub::new([
            ok(intent("requires_confirmation")),
            error(400, "invalid_request_error", code, None),
            ok(intent("requires_confirmation")),
            ok(intent("canceled")),
        ])
        .await;
        assert_eq!(stub.stripe().pay(card()).await.unwrap(), refused(code));
        assert_eq!(stub.asked()[3], format!("POST {PI}/pi_1/cancel"));
    }
    // It is refused because a request whose answer was lost has confirmed it.
    let again = error(400, "invalid_request_error", "payment_intent_unexpected_state", None);
    let stub = Stub::new([ok(intent("requires_confirmation")), again, ok(intent("succeeded"))]).await;
    assert_eq!(stub.stripe().pay(card()).await.unwrap(), captured());
}

#[tokio::test]
async fn an_amount_that_stripe_does_not_count_is_declined_given_up_and_refused_without_a_request() {
    let stub = Stub::new([]).await;
    for (minor, currency) in [(1_005, "KWD"), (50_000, "UGX"), (1_000, "IQD")] {
        let amount = Money::new(minor, currency.parse().unwrap()).unwrap();
        let payment = Payment { amount, ..card() };
        assert_eq!(stub.stripe().pay(payment.clone()).await.unwrap(), refused("amount_not_supported"));
        assert_eq!(stub.stripe().find(payment.clone()).await.unwrap(), Some(refused("amount_not_supported")));
        assert_eq!(stub.stripe().void(payment).await.unwrap(), PaymentState::Voided { reference: None });
    }
    assert!(stub.asked().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_not_definite_is_unknown_and_shows_no_secret() {
    let json_of = |status, text: &str| StubAnswer::Other(status, "application/json", text.into());
    let strange = [
        error(500, "api_error", "x", None),
        error(503, "api_error", "x", None),
        error(429, "invalid_request_error", "rate_limit", None),
        error(409, "idempotency_error", "idempotency_key_in_use", None),
        error(400, "idempotency_error", "x", None),
        error(401, "invalid_request_error", "x", None),
        error(403, "invalid_request_error", "x", Some("payment_method")),
        error(404, "invalid_request_error", "resource_missing", None),
        error(400, "card_error_of_another_kind", "x", Some("payment_method")),
        error(418, "card_error", "card_declined", None),
        error(402, "api_error", "card_declined", None),
        StubAnswer::Json(201, intent("succeeded")),
        StubAnswer::Json(500, intent("succeeded")),
        StubAnswer::Elsewhere,
        StubAnswer::Other(200, "text/html", "<html>maintenance</html>".into()),
        StubAnswer::Other(200, "text/plain", intent("succeeded").to_string()),
        StubAnswer::Other(402, "text/html", "<html>Payment Required</html>".into()),
        json_of(200, ""),
        json_of(200, "[]"),
        json_of(402, "null"),
        json_of(200, &intent("succeeded").to_string()[..200]),
        json_of(200, &"[".repeat(100_000)),
        json_of(200, &format!("{}{}", " ".repeat(5_000_000), intent("succeeded"))),
        ok(with(intent("succeeded"), "currency", json!("eur"))),
        ok(with(intent("succeeded"), "currency", json!("USD"))),
        ok(with(intent("succeeded"), "amount_received", json!(-1_299))),
        ok(with(intent("succeeded"), "amount_received", json!(12.99))),
        ok(with(intent("succeeded"), "amount_received", json!(null))),
        ok(with(intent("succeeded"), "amount_received", json!(u64::MAX))),
        ok(with(intent("requires_capture"), "amount_capturable", json!(null))),
        ok(with(intent("succeeded"), "object", json!("charge"))),
        ok(with(intent("succeeded"), "id", json!("../../pi"))),
        ok(with(intent("succeeded"), "id", json!(""))),
        ok(intent("paid")),
        ok(intent("succeeded\n")),
        ok(json!({"object": "payment_intent", "id": "pi_1"})),
    ];
    for (which, says) in strange.into_iter().enumerate() {
        let first = Stub::new([says.clone()]).await;
        let stripe = first.stripe();
        let unknown = stripe.pay(card()).await.expect_err(&format!("answer {which} to the creation"));
        assert!(!format!("{unknown:?} {unknown}").contains("verysecret"), "{unknown}");
        assert_eq!(first.asked().len(), 1, "answer {which}: no request follows an unknown answer or a redirect");
        let second = Stub::new([ok(intent("requires_confirmation")), says.clone()]).await;
        let unknown = second.stripe().pay(card()).await.expect_err(&format!("answer {which} to the confirmation"));
        assert!(!format!("{unknown:?} {unknown}").contains("verysecret"), "{unknown}");
        assert_eq!(second.asked().len(), 2, "answer {which}");
    }
    let other = with(intent("succeeded"), "id", json!("pi_2"));
    let stub = Stub::new([ok(intent("requires_confirmation")), ok(other)]).await;
    stub.stripe().pay(card()).await.expect_err("another payment's answer");
}

#[tokio::test]
async fn a_stored_failure_hides_no_payment_and_what_was_not_made_is_known_at_once() {
    let (nothing, listed) = (|| page(json!([]), false), || page(json!([intent("requires_confirmation")]), true));
    let (announced, canceled) = (|| ok(intent("requires_confirmation")), || ok(intent("canceled")));
    // The search does not show it yet, the list does.
    let stub = Stub::new([StubAnswer::Failed, nothing(), listed(), announced(), ok(intent("succeeded"))]).await;
    assert_eq!(stub.stripe().pay(card()).await.unwrap(), captured());
    assert_eq!(stub.asked()[1..3], [format!("GET {PI}/search"), format!("GET {PI}")]);
    let stub = Stub::new([nothing(), StubAnswer::Failed, nothing(), listed(), announced(), canceled()]).await;
    assert_eq!(stub.stripe().void(card()).await.unwrap(), voided());
    stub.asked();
    // Neither does.
    let stub = Stub::new([StubAnswer::Failed, nothing(), nothing()]).await;
    assert_eq!(stub.stripe().pay(card()).await.unwrap(), refused("processing_error"));
    stub.asked();
    let stub = Stub::new([nothing(), StubAnswer::Failed, nothing(), nothing()]).await;
    assert_eq!(stub.stripe().void(card()).await.unwrap(), PaymentState::Voided { reference: None });
    stub.asked();
    // The list is too long to tell, or does not answer.
    let stranger = || page(json!([with(intent("succeeded"), "metadata", json!({}))]), true);
    for list in [vec![stranger(); 10], vec![error(500, "api_error", "x", None)], vec![page(json!([]), true); 10]] {
        let stub = Stub::new([vec![StubAnswer::Failed, nothing()], list].concat()).await;
        stub.stripe().pay(card()).await.unwrap_err();
        stub.asked();
    }
    // A failure that is not stored may be over in a moment.
    let stub = Stub::new([error(500, "api_error", "x", None)]).await;
    stub.stripe().pay(card()).await.unwrap_err();
    assert_eq!(stub.asked().len(), 1);
}

#[tokio::test]
async fn silence_is_unknown_within_the_time() {
    let stub = Stub::new([ok(intent("requires_confirmation")), StubAnswer::Nothing]).await;
    let stripe = Stripe::new(StripeConfig { answer_ms_max: 300, ..config(&stub.url) }).unwrap();
    let unknown = tokio::time::timeout(Duration::from_secs(5), stripe.pay(card())).await.unwrap().unwrap_err();
    assert!(!unknown.to_string().contains(SECRET));
    drop(stub);
    stripe.pay(card()).await.expect_err("nobody is there");
}

#[tokio::test]
async fn a_repeat_reads_the_current_state_of_the_payment() {
    let action = json!({"type": "redirect_to_url", "redirect_to_url": {"url": "https://hooks.stripe.com/3ds"}});
    let waits = PaymentState::ActionRequired { reference: "pi_1".into(), url: "https://hooks.stripe.com/3ds".into() };
    for (now, state) in [
        (intent("succeeded"), captured()),
        (intent("processing"), PaymentState::Processing { reference: "pi_1".into() }),
        (intent("requires_capture"), PaymentState::Authorised { reference: "pi_1".into(), amount: usd(1_299) }),
        (with(intent("requires_action"), "next_action", action), waits),
        (intent("canceled"), voided()),
        (failed("canceled"), refused("do_not_honor")),
    ] {
        let replayed = Stub::new([StubAnswer::Replay(intent("requires_confirmation")), ok(now.clone())]).await;
        assert_eq!(replayed.stripe().pay(card()).await.unwrap(), state);
        assert_eq!(replayed.asked(), [format!("POST {PI}"), format!("GET {PI}/pi_1")]);
        let named = Stub::new([ok(now)]).await;
        assert_eq!(named.stripe().pay(known()).await.unwrap(), state);
        assert_eq!(named.asked(), [format!("GET {PI}/pi_1")]);
    }
    // The confirmation never arrived: it is sent now, under its key.
    let lost = Stub::new([
        StubAnswer::Replay(intent("requires_confirmation")),
        ok(intent("requires_confirmation")),
        ok(intent("succeeded")),
    ])
    .await;
    assert_eq!(lost.stripe().pay(card()).await.unwrap(), captured());
    assert_eq!(lost.asked()[2], format!("POST {PI}/pi_1/confirm"));
    let nonsense = Payment { reference: Some("../charges".into()), ..card() };
    let silent = Stub::new([]).await;
    silent.stripe().pay(nonsense).await.unwrap_err();
    assert!(silent.asked().is_empty());
}

#[tokio::test]
async fn finding_looks_by_name_then_by_search_then_through_the_newest_and_begins_nothing() {
    let search = format!("GET {PI}/search");
    let stub = Stub::new([page(json!([intent("processing")]), false), ok(intent("succeeded"))]).await;
    assert_eq!(stub.stripe().find(card()).await.unwrap(), Some(captured()));
    assert_eq!(stub.asked(), [search.clone(), format!("GET {PI}/pi_1")]);
    let asked = stub.play.lock().seen[0].line.clone();
    assert!(
        asked.ends_with(&format!(
            "metadata%5B%27order%27%5D%3A%27{}%27+AND+metadata%5B%27attempt%27%5D%3A%272%27",
            OrderId(7)
        )),
        "{asked}"
    );

    let stranger = with(intent("succeeded"), "metadata", json!({}));
    let stub = Stub::new([page(json!([stranger]), false)]).await;
    assert_eq!(stub.stripe().find(card()).await.unwrap(), None, "the result of a search is compared with the payment");

    let unsearchable = || error(400, "invalid_request_error", "x", None);
    let stub = Stub::new([
        unsearchable(),
        page(json!([stranger]), true),
        page(json!([intent("succeeded")]), true),
        ok(intent("succeeded")),
    ])
    .await;
    assert_eq!(stub.stripe().find(card()).await.unwrap(), Some(captured()));
    assert_eq!(stub.asked().len(), 4);
    assert!(stub.play.lock().seen[2].line.ends_with("limit=100&starting_after=pi_1"));
    let stub = Stub::new([unsearchable(), page(json!([stranger]), false)]).await;
    assert_eq!(stub.stripe().find(card()).await.unwrap(), None);
    let stub = Stub::new([vec![unsearchable()], vec![page(json!([stranger]), true); 10]].concat()).await;
    stub.stripe().find(card()).await.expect_err("it may be among those that were not read");

    // As far back as the payment was asked for; clocks differ.
    let old = |seconds: u64| page(json!([with(stranger.clone(), "created", json!(1_700_000_000 - seconds))]), true);
    let stub = Stub::new([unsearchable(), old(600), old(601)]).await;
    assert_eq!(stub.stripe().find(card()).await.unwrap(), None);
    assert_eq!(stub.asked().len(), 3);
    // Only where there is no search: an outage is not made worse by ten more requests.
    for unknown in [error(500, "api_error", "x", None), error(429, "invalid_request_error", "rate_limit", None)] {
        let stub = Stub::new([unknown]).await;
        stub.stripe().find(card()).await.unwrap_err();
        assert_eq!(stub.asked(), [search.as_str()]);
    }

    let stub = Stub::new([ok(intent("requires_confirmation"))]).await;
    stub.stripe().find(known()).await.expect_err("created but not confirmed: neither final nor under way");
    assert_eq!(stub.asked(), [format!("GET {PI}/pi_1")]);
    let twice = json!([intent("succeeded"), with(intent("succeeded"), "id", json!("pi_2"))]);
    let stub = Stub::new([page(twice, false)]).await;
    stub.stripe().find(card()).await.expect_err("two for one attempt");
}
