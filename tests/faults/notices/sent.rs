//! Notices that are sent from here, in the place of the provider or of an attacker: repeated, forged, about unknown
//! orders, and signed with secrets that are being replaced.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use secrecy::SecretString;
use serde_json::{Value, json};
use souk::{domain::entity::Timestamp, internals::signature::sign};
use souk_gateway_sim::{Effect, Line};

use super::{Campaign, FLOOD, Totals};
use crate::gateway::{SECRET, list, read};

/// How many notices are sent at the same time.
const AT_ONCE: usize = 32;
/// How many notices about unknown orders are sent before the shop is killed, at most: the list of a day must not become
/// full.
const UNKNOWN_MAX: u64 = 200;
const DAY: Duration = Duration::from_secs(86_400);
/// The secret that replaces [`SECRET`].
const NEW_SECRET: &str = "whsec_that_comes_after";

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn at(moment: Duration) -> Timestamp {
    Timestamp(moment.as_secs() * 1_000)
}

/// Sends notices to the shop's webhook.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) http: reqwest::Client,
    pub(super) url: String,
}

impl Sender {
    /// The status of the answer; `None` where there was none.
    async fn send(&self, signature: Option<&str>, body: &[u8]) -> Option<u16> {
        let mut request = self.http.post(&self.url).header("content-type", "application/json").body(body.to_vec());
        if let Some(signature) = signature {
            request = request.header("stripe-signature", signature);
        }
        Some(request.send().await.ok()?.status().as_u16())
    }

    async fn send_signed(&self, secret: &str, body: &[u8]) -> Option<u16> {
        self.send(Some(&sign(&SecretString::from(secret), body, at(now()))), body).await
    }
}

/// The body of a notice about an order's first attempt.
fn notice(id: &str, created: Duration, order: &str) -> Vec<u8> {
    let object = json!({
        "object": "payment_intent", "id": format!("pi_{id}"), "metadata": {"order": order, "attempt": "1"}
    });
    event(id, "payment_intent.succeeded", created, &object)
}

/// The body of a notice that a payment is disputed, which names the payment only.
fn dispute(id: &str, payment: &str) -> Vec<u8> {
    let object = json!({"object": "dispute", "id": format!("dp_{id}"), "payment_intent": payment});
    event(id, "charge.dispute.created", now(), &object)
}

fn event(id: &str, what: &str, created: Duration, object: &Value) -> Vec<u8> {
    let created = created.as_secs();
    let event = json!({"id": id, "object": "event", "type": what, "created": created, "data": {"object": object}});
    serde_json::to_vec(&event).unwrap()
}

impl Campaign {
    /// Sends notices about known orders many times, also with dates of weeks ago; and notices of disputes, each of
    /// which must raise one issue.
    pub(super) async fn repeat_notices(&mut self, orders: &[String], random: &mut fastrand::Rng, totals: &mut Totals) {
        let mut bodies = Vec::new();
        for (nth, order) in orders.iter().enumerate() {
            let created = now() - DAY * random.u32(..25);
            let body = notice(&format!("again_{order}"), created, order);
            bodies.extend(std::iter::repeat_n(body, if nth == 0 { FLOOD as usize } else { 5 }));
        }
        let ledger = self.deployment.ledger().await;
        let disputed: Vec<&String> = orders.iter().step_by(8).collect();
        for order in &disputed {
            let is_capture = |line: &&Line| line.effect == Effect::Captured && line.key.starts_with(order.as_str());
            let Some(line) = ledger.iter().find(is_capture) else {
                totals.violations.push(format!("{order} is in no line of the ledger"));
                continue;
            };
            let body = dispute(&format!("dispute_{order}"), &line.payment);
            bodies.extend(std::iter::repeat_n(body, 20));
        }
        random.shuffle(&mut bodies);
        let sender = &self.sender;
        let sending = stream::iter(bodies).map(|body| async move { sender.send_signed(SECRET, &body).await });
        let statuses: Vec<Option<u16>> = sending.buffer_unordered(AT_ONCE).collect().await;
        let refused: BTreeSet<_> = statuses.iter().filter(|status| **status != Some(204)).collect();
        if !refused.is_empty() {
            totals.violations.push(format!("notices of known orders are answered with {refused:?}"));
        }
        totals.acknowledged += statuses.len() as u64;
        let listed = list(&self.admin, "/admin/payments/attention?limit=100").await;
        for order in disputed {
            let of_order = listed.iter().filter(|item| item["order"]["order_id"] == **order);
            let problems = of_order.flat_map(|item| item["attention"].as_array().cloned().unwrap_or_default());
            let disputes = problems.filter(|problem| problem["problem"] == "disputed").count();
            if disputes != 1 {
                totals.violations.push(format!("{order} was disputed once, and is listed with {disputes} disputes"));
            }
        }
    }

    /// Sends notices without a signature, with a wrong one, or with one that is too old or in the future. All must be
    /// refused.
    pub(super) async fn forge_notices(&mut self, orders: &[String], random: &mut fastrand::Rng, totals: &mut Totals) {
        let hour = Duration::from_secs(3_600);
        for order in orders {
            let id = format!("forged_{:016x}", random.u64(..));
            let body = notice(&id, now(), order);
            let (good, guessed) = (SecretString::from(SECRET), SecretString::from("whsec_guessed"));
            let other = notice(&format!("other_{id}"), now(), order);
            let signatures = [
                None,
                Some(String::new()),
                Some(sign(&guessed, &body, at(now()))),
                Some(sign(&good, &other, at(now()))),
                Some(sign(&good, &body, at(now() - hour))),
                Some(sign(&good, &body, at(now() + hour))),
                Some(sign(&SecretString::from(NEW_SECRET), &body, at(now()))),
            ];
            for signature in signatures {
                let status = self.sender.send(signature.as_deref(), &body).await;
                totals.reject(status, signature.as_deref().unwrap_or("no signature"));
            }
        }
    }

    /// Sends notices about unknown orders, of today and of the past, each three times, until the shop is killed. After
    /// the restart each acknowledged notice must be listed once.
    pub(super) async fn send_unknown(&mut self, random: &mut fastrand::Rng, totals: &mut Totals) {
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let (is_killed, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut senders = Vec::new();
        for _ in 0..4 {
            let (acknowledged, is_killed, sent) =
                (Arc::clone(&acknowledged), Arc::clone(&is_killed), Arc::clone(&sent));
            let (sender, mut random) = (self.sender.clone(), random.fork());
            senders.push(tokio::spawn(async move {
                while !is_killed.load(Ordering::Relaxed) && sent.fetch_add(1, Ordering::Relaxed) < UNKNOWN_MAX {
                    let id = format!("{:016x}", random.u64(..));
                    // Some are older than the days for which notices are kept.
                    let days = if random.u8(..8) == 0 { 400 } else { 28 };
                    let created = now() - DAY * random.u32(..days);
                    let body = notice(&id, created, &format!("{:032x}", random.u128(..)));
                    for _ in 0..3 {
                        match sender.send_signed(SECRET, &body).await {
                            Some(204) => drop(acknowledged.lock().insert(format!("pi_{id}"))),
                            Some(status) => {
                                return Some(format!("an unknown order's notice is answered with {status}"));
                            }
                            None => return None,
                        }
                    }
                }
                None
            }));
        }
        // The shop is killed as soon as possible after an acknowledgement.
        let least = random.usize(1..60);
        while acknowledged.lock().len() < least && !senders.iter().all(tokio::task::JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
        self.deployment.stop_shop();
        is_killed.store(true, Ordering::Relaxed);
        for sender in senders {
            totals.violations.extend(sender.await.unwrap());
        }
        self.deployment.start_shop();
        totals.acknowledged += acknowledged.lock().len() as u64;
        self.kept.append(&mut acknowledged.lock());
        self.check_kept(totals).await;
    }

    /// Compares the listed notices with the acknowledged ones. Returns how many of these are listed.
    pub(super) async fn check_kept(&self, totals: &mut Totals) -> usize {
        let listed = read(&self.admin, "/admin/payments/notices").await;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for notice in listed.as_array().into_iter().flatten() {
            *counts.entry(notice["reference"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let missing: Vec<_> = self.kept.iter().filter(|reference| !counts.contains_key(*reference)).collect();
        let listed = self.kept.len() - missing.len();
        let missing = missing.into_iter().map(|reference| format!("{reference} was acknowledged and is not listed"));
        totals.violations.extend(missing);
        let twice = counts.iter().filter(|(_, count)| **count > 1);
        totals.violations.extend(twice.map(|(reference, count)| format!("{reference} is listed {count} times")));
        listed
    }

    /// Replaces the secret: first both secrets are accepted, then only the new one, then only the old one again.
    pub(super) async fn rotate_secrets(&mut self, totals: &mut Totals) {
        let both = format!("{SECRET},{NEW_SECRET}");
        for (secrets, good, bad) in [
            (both.as_str(), &[SECRET, NEW_SECRET][..], &["whsec_guessed"][..]),
            (NEW_SECRET, &[NEW_SECRET], &[SECRET]),
            (SECRET, &[SECRET], &[NEW_SECRET]),
        ] {
            self.deployment.set("SOUK_PAYMENTS__WEBHOOK_SECRETS", secrets);
            self.deployment.stop_shop();
            self.deployment.start_shop();
            for secret in good {
                let body = notice(&format!("rotated_{}", fastrand::u64(..)), now(), &format!("{:032x}", 7));
                let status = self.sender.send_signed(secret, &body).await;
                if status == Some(204) {
                    totals.acknowledged += 1;
                } else {
                    totals.violations.push(format!("a notice with an accepted secret is answered with {status:?}"));
                }
            }
            for secret in bad {
                let body = notice("retired", now(), &format!("{:032x}", 7));
                totals.reject(self.sender.send_signed(secret, &body).await, "another secret");
            }
        }
    }
}
