//! What goes wrong at the simulator: rules, of which the first that fits a request has its way.
//!
//! Depends on nothing of the crate.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// A rule of the script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Only requests whose key begins like this, such as an order's id; empty for all.
    pub key_prefix: String,
    /// Only charges of this token.
    pub method: Option<String>,
    /// For how many requests it holds; without it for all.
    pub times: Option<u64>,
    /// Of those, how many of a hundred.
    pub percent: u8,
    /// How long the answer takes longer, in milliseconds.
    pub latency_ms: u64,
    /// What goes wrong.
    pub fault: Fault,
}

impl Default for Rule {
    fn default() -> Self {
        Self { key_prefix: String::new(), method: None, times: None, percent: 100, latency_ms: 0, fault: Fault::None }
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
    /// 500, and nothing is done.
    FailsBefore,
    /// It is done, and the answer is 500.
    FailsAfter,
    /// 429, and nothing is done.
    TooMany,
    /// It is done, and the answer cannot be read.
    Garbage,
    /// It is done, and the answer speaks of another amount.
    WrongAmount,
    /// It is declined, whatever the token.
    Declined,
}

/// The rules, and how often each has been used.
#[derive(Debug, Default)]
pub(super) struct Script(Mutex<Vec<Rule>>);

impl Script {
    pub(super) fn replace(&self, rules: Vec<Rule>) {
        *self.0.lock() = rules;
    }

    pub(super) fn rules(&self) -> Vec<Rule> {
        self.0.lock().clone()
    }

    /// What this request is in for.
    pub(super) fn next(&self, key: &str, method: &str) -> Rule {
        let fits = |rule: &&mut Rule| {
            key.starts_with(&rule.key_prefix)
                && rule.method.as_ref().is_none_or(|wanted| wanted == method)
                && rule.times != Some(0)
                && (rule.percent >= 100 || fastrand::u8(..100) < rule.percent)
        };
        let mut rules = self.0.lock();
        let Some(rule) = rules.iter_mut().find(fits) else { return Rule::default() };
        rule.times = rule.times.map(|times| times - 1);
        rule.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_has_its_way_as_often_as_it_says() {
        let script = Script::default();
        script.replace(vec![
            Rule { key_prefix: "a:".into(), times: Some(2), fault: Fault::AnswerLost, ..Rule::default() },
            Rule { method: Some("tok_slow".into()), latency_ms: 5, ..Rule::default() },
            Rule { percent: 0, fault: Fault::Garbage, ..Rule::default() },
        ]);
        let faults: Vec<_> = ["a:1", "b:1", "a:2", "a:3"].map(|key| script.next(key, "tok_success").fault).into();
        assert_eq!(faults, [Fault::AnswerLost, Fault::None, Fault::AnswerLost, Fault::None]);
        assert_eq!(script.next("b:1", "tok_slow").latency_ms, 5);
        assert_eq!(script.rules()[0].times, Some(0));
    }
}
