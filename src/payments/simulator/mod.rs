//! The adapter that speaks to the simulator: `souk gateway-sim` is a provider of its own, behind HTTP. Its protocol:
//!
//! | request | answer |
//! |---|---|
//! | `POST /charges` with `Idempotency-Key`, [`ChargeBody`] | [`PaymentAnswer`] |
//! | `POST /charges/find`, [`PaymentBody`] | [`FoundAnswer`] of a [`PaymentAnswer`] |
//! | `POST /charges/look_up`, [`PaymentBody`] | [`FoundAnswer`] of a [`BookedAnswer`] |
//! | `POST /charges/capture` with `Idempotency-Key`, [`PaymentBody`] | [`PaymentAnswer`] |
//! | `POST /charges/void` with `Idempotency-Key`, [`VoidBody`] | [`PaymentAnswer`] |
//! | `POST /refunds` with `Idempotency-Key`, [`RefundBody`] | [`RefundAnswer`] |
//! | `POST /refunds/find`, [`RefundNameBody`] | [`FoundAnswer`] of a [`RefundAnswer`] |
//! | `POST /books`, [`BooksBody`] | [`BooksAnswer`] |
//!
//! All with 200. 409 where the key is known with another body or is none of this request; whatever is not 200 is unknown here.
//! Notices come as a [`NoticeBody`], signed in [`SIGNATURE_HEADER`]. May depend on `domain` and its neighbours.

mod protocol;

use futures::FutureExt;
use reqwest::StatusCode;
use secrecy::SecretString;
use serde::{Serialize, de::DeserializeOwned};

pub use self::protocol::{
    BookedAnswer, BooksAnswer, BooksBody, ChargeBody, FoundAnswer, KEY_HEADER, NoticeBody, PaymentAnswer, PaymentBody,
    RefundAnswer, RefundBody, RefundNameBody, SIGNATURE_HEADER, TEXT_BYTES_MAX, VoidBody,
};
use super::{
    Answer, Booked, Gateway, Notice, NoticeRefused, NoticeSubject, Operation, OperationKey, Payment, PaymentsPage,
    Repayment, Unknown,
    client::{Client, ClientError},
    signature,
};
use crate::domain::{
    entity::Timestamp,
    ids::OrderId,
    order::{About, PaymentState, RefundState},
};

/// A simulator somewhere.
pub struct Simulator {
    client: Client,
    secrets: Vec<SecretString>,
}

/// Where a simulator is, and how its notices are believed.
#[derive(Debug, Clone)]
pub struct SimulatorConfig {
    /// Where it listens.
    pub url: String,
    /// How long its answers may take, in milliseconds.
    pub answer_ms_max: u64,
    /// What its notices may be signed with: one secret, or two while one takes the other's place. Without any, none is believed.
    pub secrets: Vec<SecretString>,
}

impl Simulator {
    /// The simulator at this address, whose answers may take so many milliseconds, and whose notices are not believed.
    ///
    /// # Errors
    /// It is no address.
    pub fn at(url: &str, answer_ms_max: u64) -> Result<Self, ClientError> {
        Self::new(SimulatorConfig { url: url.to_owned(), answer_ms_max, secrets: Vec::new() })
    }

    /// This simulator.
    ///
    /// # Errors
    /// Its address is none.
    pub fn new(config: SimulatorConfig) -> Result<Self, ClientError> {
        Ok(Self { client: Client::new(&config.url, config.answer_ms_max)?, secrets: config.secrets })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &[&str],
        key: Option<OperationKey>,
        body: &impl Serialize,
    ) -> Result<T, Unknown> {
        let mut request = self.client.post(path).json(body);
        if let Some(key) = key {
            request = request.header(KEY_HEADER, key.to_string());
        }
        let reply = self.client.send(request).await?;
        if reply.status != StatusCode::OK {
            return Err(Unknown::new(format!("the simulator answered {}", reply.status)));
        }
        serde_json::from_slice(&reply.body).map_err(|error| Unknown::new(format!("an unreadable answer: {error}")))
    }
}

/// A customer is sent to this address, so it must be one that a browser only opens.
fn readable(answer: PaymentAnswer) -> Result<PaymentState, Unknown> {
    match answer {
        PaymentAnswer::ActionRequired { url, .. } if !url.starts_with("http://") && !url.starts_with("https://") => {
            Err(Unknown::new("an unreadable answer: the page for the customer is at no http:// or https:// address"))
        }
        answer => Ok(answer.into()),
    }
}

fn booked(answer: BookedAnswer) -> Result<Booked, Unknown> {
    let order = answer.order.and_then(|order| order.parse().ok());
    let (state, reference) = (readable(answer.payment)?, answer.reference);
    Ok(Booked { of: order.zip(answer.attempt), reference, state, refunded_minor: answer.refunded_minor })
}

impl Gateway for Simulator {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn pay(&self, payment: Payment) -> Answer<'_, PaymentState> {
        async move {
            let key = payment.key(Operation::Charge);
            let Payment { order, attempt, amount, method, capture, .. } = payment;
            let body = ChargeBody { order, attempt, amount, method, capture };
            readable(self.ask(&["charges"], Some(key), &body).await?)
        }
        .boxed()
    }

    fn find(&self, payment: Payment) -> Answer<'_, Option<PaymentState>> {
        async move {
            let body = PaymentBody { order: payment.order, attempt: payment.attempt };
            let answer: FoundAnswer<PaymentAnswer> = self.ask(&["charges", "find"], None, &body).await?;
            answer.found.map(readable).transpose()
        }
        .boxed()
    }

    fn look_up(&self, reference: String) -> Answer<'_, Option<Booked>> {
        async move {
            let named = reference.strip_prefix("sim_").and_then(|key| {
                let mut parts = key.split(":charge:");
                Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
            });
            let Some((order, attempt)) = named else { return Ok(None) };
            let body = PaymentBody { order, attempt };
            let answer: FoundAnswer<BookedAnswer> = self.ask(&["charges", "look_up"], None, &body).await?;
            answer.found.map(booked).transpose()
        }
        .boxed()
    }

    fn capture(&self, payment: Payment) -> Answer<'_, PaymentState> {
        async move {
            let key = payment.key(Operation::Capture);
            let body = PaymentBody { order: payment.order, attempt: payment.attempt };
            readable(self.ask(&["charges", "capture"], Some(key), &body).await?)
        }
        .boxed()
    }

    fn void(&self, payment: Payment) -> Answer<'_, PaymentState> {
        async move {
            let key = payment.key(Operation::Void);
            let body = VoidBody { order: payment.order, attempt: payment.attempt, amount: payment.amount };
            readable(self.ask(&["charges", "void"], Some(key), &body).await?)
        }
        .boxed()
    }

    fn refund(&self, repayment: Repayment) -> Answer<'_, RefundState> {
        async move {
            let key = repayment.key();
            let Repayment { order, number, attempt, amount, .. } = repayment;
            let body = RefundBody { order, number, attempt, amount };
            let answer: RefundAnswer = self.ask(&["refunds"], Some(key), &body).await?;
            Ok(answer.into())
        }
        .boxed()
    }

    fn list_payments(&self, since: Timestamp, until: Timestamp, after: Option<String>) -> Answer<'_, PaymentsPage> {
        async move {
            let body = BooksBody { since_ms: since.0, until_ms: until.0, after };
            let answer: BooksAnswer = self.ask(&["books"], None, &body).await?;
            let payments: Result<Vec<Booked>, Unknown> = answer.payments.into_iter().map(booked).collect();
            Ok(PaymentsPage { payments: payments?, next: answer.next })
        }
        .boxed()
    }

    fn signature_header(&self) -> &'static str {
        SIGNATURE_HEADER
    }

    fn notice(&self, signature: &str, body: &[u8], now: Timestamp) -> Result<Notice, NoticeRefused> {
        signature::verify(signature, &self.secrets, body, now)?;
        let body: NoticeBody =
            serde_json::from_slice(body).map_err(|error| NoticeRefused::Unreadable(error.to_string()))?;
        let unreadable = |what: &str| NoticeRefused::Unreadable(what.to_owned());
        let is_text = |text: &str| (1..=TEXT_BYTES_MAX).contains(&text.len());
        if !is_text(&body.id) || !is_text(&body.what) || !body.reference.as_deref().is_none_or(is_text) {
            return Err(unreadable("a name is empty or too long"));
        }
        let about = match (body.attempt, body.refund) {
            (Some(attempt), None) => Some(About::Attempt(attempt)),
            (None, Some(refund)) => Some(About::Refund(refund)),
            (None, None) => None,
            (Some(_), Some(_)) => return Err(unreadable("it is about an attempt and a refund")),
        };
        let of = match (body.order, about) {
            (Some(order), Some(about)) => {
                let order: OrderId = order.parse().map_err(|_| unreadable("the order is none"))?;
                Some((order, about))
            }
            (None, None) => None,
            _ => return Err(unreadable("it names an order or what of it, but not both")),
        };
        let at = body.created.checked_mul(1_000).map(Timestamp).ok_or_else(|| unreadable("the time is none"))?;
        let subject = match body.what.as_str() {
            "disputed" => NoticeSubject::Dispute,
            "dispute_ended" => NoticeSubject::DisputeEnded { outcome: "closed".into() },
            "refunded" | "refund_failed" => NoticeSubject::Refund,
            _ => NoticeSubject::Payment,
        };
        let payment = body.reference.clone().filter(|_| body.attempt.is_some());
        Ok(Notice { id: body.id, at, of, reference: body.reference, payment, what: body.what, subject })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn told(text: &str) -> Result<Notice, NoticeRefused> {
        let live = ["new", "old"].map(SecretString::from).to_vec();
        let url = "http://127.0.0.1:1".to_owned();
        let simulator = Simulator::new(SimulatorConfig { url, answer_ms_max: 1, secrets: live.clone() }).unwrap();
        simulator.notice(&signature::sign(&live[1], text.as_bytes(), NOW), text.as_bytes(), NOW)
    }

    #[test]
    fn a_notice_is_what_its_body_says() {
        let order = OrderId(7);
        let text = format!(r#"{{"id":"evt_1","created":5,"what":"disputed","order":"{order}","attempt":2,"more":1}}"#);
        let (id, what, of) = ("evt_1".into(), "disputed".into(), Some((order, About::Attempt(2))));
        let notice = Notice {
            id,
            at: Timestamp(5_000),
            of,
            reference: None,
            payment: None,
            what,
            subject: NoticeSubject::Dispute,
        };
        assert_eq!(told(&text), Ok(notice));
        let text = format!(
            r#"{{"id":"evt_2","created":5,"what":"refunded","order":"{order}","refund":3,"reference":"sim_x"}}"#
        );
        let notice = told(&text).unwrap();
        assert_eq!((notice.of, notice.subject), (Some((order, About::Refund(3))), NoticeSubject::Refund));
        let elsewhere = told(r#"{"id":"evt_3","created":5,"what":"payout"}"#).unwrap();
        assert_eq!(elsewhere.of, None);
    }

    #[test]
    fn a_body_that_lies_cannot_be_read() {
        let order = OrderId(7);
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let bodies = [
            String::new(),
            "[]".into(),
            "\u{0}".into(),
            "[".repeat(100_000),
            r#"{"id":"e","created":-1,"what":"captured"}"#.into(),
            r#"{"id":"","created":1,"what":"captured"}"#.into(),
            r#"{"id":"e","created":1,"what":""}"#.into(),
            format!(r#"{{"id":"{long}","created":1,"what":"captured"}}"#),
            format!(r#"{{"id":"e","created":1,"what":"captured","reference":"{long}"}}"#),
            format!(r#"{{"id":"e","created":{},"what":"captured"}}"#, u64::MAX),
            r#"{"id":"e","created":1,"what":"captured","order":"7","attempt":1}"#.into(),
            format!(r#"{{"id":"e","created":1,"what":"captured","order":"{order}"}}"#),
            r#"{"id":"e","created":1,"what":"captured","attempt":1}"#.into(),
            format!(r#"{{"id":"e","created":1,"what":"captured","order":"{order}","attempt":1,"refund":1}}"#),
            format!(r#"{{"id":"e","created":1,"what":"captured","order":"{order}","attempt":4294967296}}"#),
        ];
        for body in bodies {
            assert!(matches!(told(&body), Err(NoticeRefused::Unreadable(_))), "{}", &body[..body.len().min(200)]);
        }
    }

    #[test]
    fn without_a_secret_no_notice_is_believed() {
        let simulator = Simulator::at("http://127.0.0.1:1", 1).unwrap();
        assert_eq!(simulator.notice("t=1,v1=00", b"{}", NOW), Err(NoticeRefused::NotSetUp));
    }

    #[test]
    fn a_customer_is_only_sent_to_an_address_of_the_web() {
        let action = |url: &str| PaymentAnswer::ActionRequired { reference: "sim_x".into(), url: url.into() };
        assert!(readable(action("https://bank.example/3ds")).is_ok());
        for url in ["javascript:alert(1)", "data:text/html,x", "//bank.example", ""] {
            assert!(readable(action(url)).is_err(), "{url}");
        }
    }
}
