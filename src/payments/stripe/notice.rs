//! Stripe's webhook events. An event is only a hint, so nothing is taken from it but what it is about.
//!
//! May depend on `domain` and its neighbours.

use serde::Deserialize;
use serde_json::Value;

use super::objects::{Metadata, about, is_word};
use crate::{
    domain::entity::Timestamp,
    payments::{Notice, NoticeRefused, NoticeSubject},
};

#[derive(Deserialize)]
struct Event {
    object: String,
    id: String,
    created: u64,
    #[serde(rename = "type")]
    what: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Value,
}

/// Reads an event. The caller has checked its signature.
pub(super) fn read(body: &[u8]) -> Result<Notice, NoticeRefused> {
    let unreadable = |problem: &str| NoticeRefused::Unreadable(problem.into());
    // The parser limits the depth. Its error text is not passed on, because it may quote the body.
    let event: Event = serde_json::from_slice(body).map_err(|_| unreadable("it is not an event"))?;
    if event.object != "event" || !is_word(&event.id) || !is_word(&event.what) {
        return Err(unreadable("it is not an event with an id and a type"));
    }
    let at = event.created.checked_mul(1_000).ok_or_else(|| unreadable("its time is out of range"))?;
    let object = &event.data.object;
    let kind = object.get("object").and_then(Value::as_str).ok_or_else(|| unreadable("it has no object"))?;
    let metadata = object.get("metadata").and_then(|metadata| Metadata::deserialize(metadata).ok());
    // Other objects may have metadata with the same names that somebody else put there.
    let of = match kind {
        "payment_intent" | "refund" | "charge" => metadata.as_ref().and_then(about),
        _ => None,
    };
    let name = |field: &str| object.get(field).and_then(named).filter(|name| is_word(name)).map(str::to_owned);
    let reference = match kind {
        "charge" => name("payment_intent"),
        _ => name("id"),
    };
    let word = |field: &str| object.get(field).and_then(Value::as_str).filter(|word| is_word(word));
    let payment = if kind == "payment_intent" { name("id") } else { name("payment_intent") };
    let dispute = || reference.clone().unwrap_or_default();
    let subject = match event.what.as_str() {
        "charge.dispute.closed" => {
            let outcome = word("status").unwrap_or("closed").to_owned();
            NoticeSubject::DisputeEnded { reference: dispute(), outcome }
        }
        what if what.starts_with("charge.dispute.") => NoticeSubject::Dispute { reference: dispute() },
        "charge.refunded" | "charge.refund.updated" => NoticeSubject::Refund,
        what if what.starts_with("refund.") => NoticeSubject::Refund,
        _ => NoticeSubject::Payment,
    };
    Ok(Notice { id: event.id, at: Timestamp(at), of, reference, payment, what: event.what, subject })
}

/// An object is either its id or the whole object.
fn named(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("id")?.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{ids::OrderId, order::About};

    fn event(what: &str, object: &Value) -> Vec<u8> {
        let event = json!({"id": "evt_1", "object": "event", "created": 1_700_000_000, "type": what, "livemode": false,
            "data": {"object": object, "previous_attributes": {}}});
        event.to_string().into_bytes()
    }

    fn order() -> String {
        OrderId(7).to_string()
    }

    #[test]
    fn an_event_says_what_it_is_about() {
        let ours = json!({"order": order(), "attempt": "2"});
        let refund = json!({"order": order(), "refund": "3"});
        let attempt = Some((OrderId(7), About::Attempt(2)));
        let cases = [
            (
                "payment_intent.succeeded",
                json!({"object": "payment_intent", "id": "pi_1", "metadata": ours}),
                attempt,
                "pi_1",
            ),
            (
                "charge.captured",
                json!({"object": "charge", "id": "ch_1", "payment_intent": "pi_1", "metadata": ours}),
                attempt,
                "pi_1",
            ),
            (
                "charge.refunded",
                json!({"object": "charge", "id": "ch_1", "payment_intent": {"id": "pi_1"}, "metadata": {}}),
                None,
                "pi_1",
            ),
            (
                "charge.refund.updated",
                json!({"object": "refund", "id": "re_1", "payment_intent": "pi_1", "metadata": refund}),
                Some((OrderId(7), About::Refund(3))),
                "re_1",
            ),
            (
                "refund.failed",
                json!({"object": "refund", "id": "re_1", "metadata": refund}),
                Some((OrderId(7), About::Refund(3))),
                "re_1",
            ),
            (
                "charge.dispute.created",
                json!({"object": "dispute", "id": "dp_1", "payment_intent": "pi_1", "metadata": ours}),
                None,
                "dp_1",
            ),
            ("customer.created", json!({"object": "customer", "id": "cus_1", "metadata": ours}), None, "cus_1"),
        ];
        for (what, object, of, reference) in cases {
            let notice = read(&event(what, &object)).unwrap();
            assert_eq!((notice.of, notice.reference.as_deref()), (of, Some(reference)), "{what}");
            assert_eq!(
                (notice.what.as_str(), notice.id.as_str(), notice.at),
                (what, "evt_1", Timestamp(1_700_000_000_000))
            );
            let is_dispute = notice.subject == NoticeSubject::Dispute { reference: "dp_1".into() };
            assert_eq!(is_dispute, what == "charge.dispute.created");
        }
    }

    #[test]
    fn an_event_about_another_object_names_no_order() {
        for metadata in [
            json!(null),
            json!([]),
            json!({"order": 7, "attempt": 2}),
            json!({"order": order()}),
            json!({"order": order(), "attempt": "-1"}),
            json!({"order": order(), "attempt": "4294967296"}),
            json!({"order": "7", "attempt": "1"}),
        ] {
            let object = json!({"object": "payment_intent", "id": "pi_1", "metadata": metadata});
            assert_eq!(read(&event("payment_intent.created", &object)).unwrap().of, None, "{object}");
        }
        let nameless = json!({"object": "payment_intent", "id": "../pi"});
        assert_eq!(read(&event("payment_intent.created", &nameless)).unwrap().reference, None);
    }

    #[test]
    fn a_malformed_body_is_refused() {
        let whole = event("charge.captured", &json!({"object": "charge"}));
        let text = String::from_utf8(whole.clone()).unwrap();
        let mut bodies: Vec<Vec<u8>> = (0..whole.len()).map(|cut| whole[..cut].to_vec()).collect();
        bodies.extend([
            b"null".to_vec(),
            b"[]".to_vec(),
            vec![0xff; 64],
            [b"[".repeat(1_000_000), b"]".repeat(1_000_000)].concat(),
            text.replace("\"object\":{", &format!("\"object\":{}", "{\"object\":".repeat(10_000))).into_bytes(),
            text.replace("1700000000", "-1").into_bytes(),
            text.replace("1700000000", "1e400").into_bytes(),
            text.replace("1700000000", &u64::MAX.to_string()).into_bytes(),
            text.replace("evt_1", "evt 1\\n").into_bytes(),
            text.replace("evt_1", &"e".repeat(256)).into_bytes(),
            text.replace("\"event\"", "\"thing\"").into_bytes(),
            text.replace("\"charge\"", "7").into_bytes(),
        ]);
        for body in bodies {
            let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
            assert!(matches!(read(&body), Err(NoticeRefused::Unreadable(_))), "{shown}");
        }
    }
}
