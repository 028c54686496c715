//! The script of faults: a list of rules, of which the first that matches a request or an event applies.
//!
//! Depends on no other file of its crate.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// How many rules a script may have: each request is compared with all of them.
pub const RULES_MAX: usize = 1_000;
/// How often a rule may send an event: enough for a flood, and less than the queue of events holds.
pub const COPIES_MAX: u32 = 1_000;
/// How long a rule may delay an answer or an event, in milliseconds: an hour is longer than any test waits.
pub const DELAY_MS_MAX: u64 = 3_600_000;

/// The operation of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Create a payment.
    Create,
    /// Confirm a payment.
    Charge,
    /// Capture a payment that is held.
    Capture,
    /// Cancel a payment.
    Void,
    /// Refund a payment.
    Refund,
    /// Read a payment or its refunds; nothing changes.
    LookUp,
    /// A dispute, for which there are only events.
    Dispute,
}

/// A rule of the script. It applies to the requests that match it or, with `webhook`, to the events about what matches
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Rule {
    /// Only for keys with this prefix, such as an order's id; empty for all.
    pub key_prefix: String,
    /// Only for payments with this method.
    pub method: Option<String>,
    /// Only for this operation.
    pub operation: Option<Operation>,
    /// To how many requests or events it applies; by default to all.
    pub times: Option<u64>,
    /// To how many of a hundred of those it applies.
    pub percent: u8,
    /// By how much it delays the answer, in milliseconds.
    pub latency_ms: u64,
    pub fault: Fault,
    /// How long the answer is kept under the request's key, in milliseconds; a day unless given.
    pub forget_ms: Option<u64>,
    /// How events are delivered.
    pub webhook: Option<WebhookDelivery>,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            key_prefix: String::new(),
            method: None,
            operation: None,
            times: None,
            percent: 100,
            latency_ms: 0,
            fault: Fault::None,
            forget_ms: None,
            webhook: None,
        }
    }
}

/// A fault of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Fault {
    None,
    /// The connection breaks before the work.
    RequestLost,
    /// The connection breaks after the work, before the answer.
    AnswerLost,
    /// The work is done, and no answer follows.
    Silence,
    /// 500 before the work; nothing is stored under the key.
    FailsBefore,
    /// 500 after the work; the 500 is stored under the key.
    FailsAfter,
    /// 500 instead of the work; it is stored under the key, so the work is not done under it until it is forgotten.
    FailsStored,
    /// 429 before the work.
    TooMany,
    /// The work is done, and the answer is unreadable.
    Garbage,
    /// The work is done, and an amount in the answer is wrong.
    WrongAmount,
    /// A charge is declined, whatever its method, or a refund fails.
    Declined,
}

/// How an event is delivered; by default once, at once, and with a good signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookDelivery {
    /// How many copies are sent at the same time; 0 for none.
    pub times: u32,
    /// By how much it is delayed, in milliseconds.
    pub delay_ms: u64,
    /// Whether it is signed with another secret.
    pub bad_signature: bool,
    /// Whether its signature is an hour old.
    pub stale: bool,
}

impl Default for WebhookDelivery {
    fn default() -> Self {
        Self { times: 1, delay_ms: 0, bad_signature: false, stale: false }
    }
}

/// Why a script is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// It has too many rules.
    #[error("a script has at most {RULES_MAX} rules")]
    TooLong,
    /// A rule would have no effect, or too much.
    #[error("rule {0}: {1}")]
    Rule(usize, &'static str),
}

fn check(rule: &Rule) -> Result<(), &'static str> {
    if rule.latency_ms > DELAY_MS_MAX || rule.webhook.is_some_and(|webhook| webhook.delay_ms > DELAY_MS_MAX) {
        return Err("a delay may be an hour at most");
    }
    if rule.webhook.is_some_and(|webhook| webhook.times > COPIES_MAX) {
        return Err("an event may be sent 1,000 times at most");
    }
    if rule.webhook.is_some() && (rule.fault != Fault::None || rule.latency_ms > 0 || rule.forget_ms.is_some()) {
        return Err("a rule with `webhook` is about events, so it has no `fault`, no `latency_ms` and no `forget_ms`");
    }
    let can_decline = rule.operation.is_none_or(|of| matches!(of, Operation::Charge | Operation::Refund));
    if rule.fault == Fault::Declined && !can_decline {
        return Err("only a charge or a refund can be declined");
    }
    Ok(())
}

/// The rules, and how often each may still apply.
#[derive(Debug, Default)]
pub struct Script(Mutex<Vec<Rule>>);

impl Script {
    /// A script with these rules.
    ///
    /// # Errors
    /// [`ScriptError`].
    pub fn new(rules: Vec<Rule>) -> Result<Self, ScriptError> {
        let script = Self::default();
        script.replace(rules)?;
        Ok(script)
    }

    pub(crate) fn replace(&self, rules: Vec<Rule>) -> Result<(), ScriptError> {
        if rules.len() > RULES_MAX {
            return Err(ScriptError::TooLong);
        }
        for (number, rule) in (1..).zip(&rules) {
            check(rule).map_err(|problem| ScriptError::Rule(number, problem))?;
        }
        *self.0.lock() = rules;
        Ok(())
    }

    pub(crate) fn rules(&self) -> Vec<Rule> {
        self.0.lock().clone()
    }

    /// The rule for a request.
    pub(crate) fn of_request(&self, key: &str, operation: Operation, method: &str) -> Rule {
        self.next(key, operation, method, false).unwrap_or_default()
    }

    /// The fault for an event.
    pub(crate) fn of_event(&self, key: &str, operation: Operation, method: &str) -> WebhookDelivery {
        self.next(key, operation, method, true).and_then(|rule| rule.webhook).unwrap_or_default()
    }

    fn next(&self, key: &str, operation: Operation, method: &str, is_event: bool) -> Option<Rule> {
        let fits = |rule: &&mut Rule| {
            rule.webhook.is_some() == is_event
                && key.starts_with(&rule.key_prefix)
                && rule.operation.is_none_or(|wanted| wanted == operation)
                && rule.method.as_ref().is_none_or(|wanted| wanted == method)
                && rule.times != Some(0)
                && (rule.percent >= 100 || fastrand::u8(..100) < rule.percent)
        };
        let mut rules = self.0.lock();
        let rule = rules.iter_mut().find(fits)?;
        rule.times = rule.times.map(|times| times - 1);
        Some(rule.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_rule_applies_as_often_as_it_says() {
        let rules = vec![
            Rule { key_prefix: "a:".into(), times: Some(2), fault: Fault::AnswerLost, ..Rule::default() },
            Rule { method: Some("tok_slow".into()), latency_ms: 5, ..Rule::default() },
            Rule { percent: 0, fault: Fault::Garbage, ..Rule::default() },
            Rule { operation: Some(Operation::Refund), fault: Fault::TooMany, ..Rule::default() },
        ];
        let script = Script::new(rules).unwrap();
        let charged = |key: &str, method: &str| script.of_request(key, Operation::Charge, method);
        let faults: Vec<_> = ["a:1", "b:1", "a:2", "a:3"].map(|key| charged(key, "tok_success").fault).into();
        assert_eq!(faults, [Fault::AnswerLost, Fault::None, Fault::AnswerLost, Fault::None]);
        assert_eq!(charged("b:1", "tok_slow").latency_ms, 5);
        assert_eq!(script.of_request("b:1", Operation::Refund, "tok_success").fault, Fault::TooMany);
        assert_eq!(script.rules()[0].times, Some(0));
    }

    #[test]
    fn a_rule_is_about_requests_or_about_events() {
        let twice = WebhookDelivery { times: 2, ..WebhookDelivery::default() };
        let rules = vec![
            Rule { times: Some(1), webhook: Some(twice), ..Rule::default() },
            Rule { times: Some(1), fault: Fault::Garbage, ..Rule::default() },
        ];
        let script = Script::new(rules).unwrap();
        assert_eq!(script.of_request("a", Operation::Charge, "").fault, Fault::Garbage);
        assert_eq!(script.of_event("a", Operation::Charge, ""), twice);
        assert_eq!(script.of_event("a", Operation::Charge, ""), WebhookDelivery::default());
    }

    #[test]
    fn an_invalid_script_is_refused_and_the_old_one_stays() {
        let script = Script::new(vec![Rule::default(); RULES_MAX]).unwrap();
        assert_eq!(script.replace(vec![Rule::default(); RULES_MAX + 1]), Err(ScriptError::TooLong));
        let webhook = Some(WebhookDelivery::default());
        let bad = [
            Rule { webhook, fault: Fault::Garbage, ..Rule::default() },
            Rule { webhook, latency_ms: 1, ..Rule::default() },
            Rule { webhook, forget_ms: Some(1), ..Rule::default() },
            Rule { latency_ms: DELAY_MS_MAX + 1, ..Rule::default() },
            Rule {
                webhook: Some(WebhookDelivery { times: COPIES_MAX + 1, ..WebhookDelivery::default() }),
                ..Rule::default()
            },
            Rule { operation: Some(Operation::Void), fault: Fault::Declined, ..Rule::default() },
        ];
        for rule in bad {
            let refused = script.replace(vec![Rule::default(), rule]);
            assert!(matches!(refused, Err(ScriptError::Rule(2, _))), "{refused:?}");
        }
        assert_eq!(script.rules().len(), RULES_MAX);
    }
}
