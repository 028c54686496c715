//! What goes wrong: rules, of which the first that fits a request, or an event, has its way.
//!
//! Depends on nothing of its crate.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// How many rules a script may have: each request looks through all of them.
pub const RULES_MAX: usize = 1_000;
/// How often one event may be sent, by a rule: enough for a flood, and within the queue of events.
pub const COPIES_MAX: u32 = 1_000;
/// How long a rule may hold an answer or an event back, in milliseconds: an hour is longer than any test waits.
pub const DELAY_MS_MAX: u64 = 3_600_000;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A payment is announced.
    Create,
    /// It is confirmed.
    Charge,
    /// What is held is captured.
    Capture,
    /// A payment is cancelled.
    Void,
    /// Money goes back.
    Refund,
    /// A payment or its refunds are read; nothing changes.
    LookUp,
    /// A dispute, of which there are only events.
    Dispute,
}

/// A rule of the script: about the requests that fit it or, with `webhook`, about the events of what fits it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Only of keys that begin like this, such as an order's id; empty for all.
    pub key_prefix: String,
    /// Only of payments with this method.
    pub method: Option<String>,
    /// Only of this operation.
    pub operation: Option<Operation>,
    /// For how many requests, or events, it holds; without it for all.
    pub times: Option<u64>,
    /// Of those, how many of a hundred.
    pub percent: u8,
    /// How much longer the answer takes, in milliseconds.
    pub latency_ms: u64,
    /// What goes wrong.
    pub fault: Fault,
    /// What goes wrong with events.
    pub webhook: Option<Mischief>,
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
            webhook: None,
        }
    }
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection breaks before anything is done.
    RequestLost,
    /// It is done, and the connection breaks before the answer.
    AnswerLost,
    /// It is done, and nothing is ever answered.
    Silence,
    /// 500, and nothing is done or stored under the key.
    FailsBefore,
    /// It is done, and the answer is 500, which is stored under the key.
    FailsAfter,
    /// 500, which is stored under the key; nothing is done, and never will be under that key.
    FailsStored,
    /// 429, and nothing is done.
    TooMany,
    /// It is done, and the answer cannot be read.
    Garbage,
    /// It is done, and the answer speaks of another amount, where it speaks of one.
    WrongAmount,
    /// A charge is declined, whatever the method, or a refund fails.
    Declined,
}

/// What goes wrong with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mischief {
    /// How often it is sent, at once; 0 for never.
    pub times: u32,
    /// How long it is held back, in milliseconds.
    pub delay_ms: u64,
    /// Whether it is signed with another secret.
    pub bad_signature: bool,
    /// Whether it is signed as of an hour ago.
    pub stale: bool,
}

impl Default for Mischief {
    fn default() -> Self {
        Self { times: 1, delay_ms: 0, bad_signature: false, stale: false }
    }
}

/// A script that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// Too many rules.
    #[error("a script has at most {RULES_MAX} rules")]
    TooLong,
    /// A rule that would do nothing, or too much.
    #[error("rule {0}: {1}")]
    Rule(usize, &'static str),
}

fn check(rule: &Rule) -> Result<(), &'static str> {
    if rule.latency_ms > DELAY_MS_MAX || rule.webhook.is_some_and(|webhook| webhook.delay_ms > DELAY_MS_MAX) {
        return Err("it may hold back for an hour at most");
    }
    if rule.webhook.is_some_and(|webhook| webhook.times > COPIES_MAX) {
        return Err("an event may be sent 1,000 times at most");
    }
    if rule.webhook.is_some() && (rule.fault != Fault::None || rule.latency_ms > 0) {
        return Err("with `webhook` it is about events, so it takes no `fault` and no `latency_ms`");
    }
    let can_decline = rule.operation.is_none_or(|of| matches!(of, Operation::Charge | Operation::Refund));
    if rule.fault == Fault::Declined && !can_decline {
        return Err("only a charge or a refund is declined");
    }
    Ok(())
}

/// The rules, and how often each may still be used.
#[derive(Debug, Default)]
pub struct Script(Mutex<Vec<Rule>>);

impl Script {
    /// A script of these rules.
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

    /// What a request is in for.
    pub(crate) fn of_request(&self, key: &str, operation: Operation, method: &str) -> Rule {
        self.next(key, operation, method, false).unwrap_or_default()
    }

    /// What an event is in for.
    pub(crate) fn of_event(&self, key: &str, operation: Operation, method: &str) -> Mischief {
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
    fn the_first_rule_that_fits_has_its_way_as_often_as_it_says() {
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
        let twice = Mischief { times: 2, ..Mischief::default() };
        let rules = vec![
            Rule { times: Some(1), webhook: Some(twice), ..Rule::default() },
            Rule { times: Some(1), fault: Fault::Garbage, ..Rule::default() },
        ];
        let script = Script::new(rules).unwrap();
        assert_eq!(script.of_request("a", Operation::Charge, "").fault, Fault::Garbage);
        assert_eq!(script.of_event("a", Operation::Charge, ""), twice);
        assert_eq!(script.of_event("a", Operation::Charge, ""), Mischief::default());
    }

    #[test]
    fn a_script_that_is_too_long_or_contradicts_itself_is_none_and_the_old_one_stays() {
        let script = Script::new(vec![Rule::default(); RULES_MAX]).unwrap();
        assert_eq!(script.replace(vec![Rule::default(); RULES_MAX + 1]), Err(ScriptError::TooLong));
        let webhook = Some(Mischief::default());
        let bad = [
            Rule { webhook, fault: Fault::Garbage, ..Rule::default() },
            Rule { webhook, latency_ms: 1, ..Rule::default() },
            Rule { latency_ms: DELAY_MS_MAX + 1, ..Rule::default() },
            Rule { webhook: Some(Mischief { times: COPIES_MAX + 1, ..Mischief::default() }), ..Rule::default() },
            Rule { operation: Some(Operation::Void), fault: Fault::Declined, ..Rule::default() },
        ];
        for rule in bad {
            let refused = script.replace(vec![Rule::default(), rule]);
            assert!(matches!(refused, Err(ScriptError::Rule(2, _))), "{refused:?}");
        }
        assert_eq!(script.rules().len(), RULES_MAX);
    }
}
