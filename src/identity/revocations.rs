//! Which access tokens are dead although they have not expired.
//!
//! An access token is believed without asking its account; that is what makes it cheap. So whoever ends a session or revokes
//! an account says so here too, and it is remembered for as long as such a token can live. The memory is this process's own
//! and bounded. Tokens from before it began (a restart, or the bound was reached) are not called dead, which would log
//! everybody out, but [`Standing::AskAccount`]. So are tokens that were alive when something was revoked that is forgotten by
//! now: they have expired, unless the clock was set back. Depends on `domain`.

use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::RwLock;

use crate::domain::{entity::Timestamp, ids::AccountId};

/// How many revocations are remembered. Each occupies about 100 bytes; reaching this takes 28 a second for an hour.
pub const REVOCATIONS_MAX: usize = 100_000;

/// What is known of a token that is valid by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It was not revoked.
    Good,
    /// It was issued before this process began to hear of revocations: ask the account
    /// ([`crate::domain::account::Holder::honours`]).
    AskAccount,
    /// It was revoked.
    Revoked,
}

/// What a revocation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Account(AccountId),
    Session(u128),
}

#[derive(Debug, Clone, Copy)]
struct Revocation {
    /// Tokens of an earlier epoch are dead. A session has no epochs: all of its tokens are.
    epoch_min: u32,
    forgotten_at: Timestamp,
}

#[derive(Debug)]
struct Memory {
    complete_since: Timestamp,
    revocations: HashMap<Subject, Revocation>,
    /// What to forget when, oldest first. A subject revoked again stands here again.
    order: VecDeque<(Timestamp, Subject)>,
}

/// The revocations of the last while.
#[derive(Debug)]
pub(super) struct Revocations {
    memory: RwLock<Memory>,
    /// The latest time that the clock has shown when a token was issued: where it was set back since, tokens live longer.
    latest_issue: AtomicU64,
    remembered_ms: u64,
    revocations_max: usize,
}

impl Revocations {
    /// Begins to listen at `since`, and remembers each revocation for `remembered_ms`, the longest that a token lives.
    pub(super) fn new(since: Timestamp, remembered_ms: u64, revocations_max: usize) -> Self {
        let memory = Memory { complete_since: since, revocations: HashMap::new(), order: VecDeque::new() };
        Self { memory: RwLock::new(memory), latest_issue: AtomicU64::new(0), remembered_ms, revocations_max }
    }

    /// A token is issued.
    pub(super) fn issued(&self, now: Timestamp) {
        self.latest_issue.fetch_max(now.0, Ordering::Relaxed);
    }

    pub(super) fn revoke_account(&self, account: AccountId, epoch_min: u32, now: Timestamp) {
        self.revoke(Subject::Account(account), epoch_min, now);
    }

    pub(super) fn revoke_session(&self, family: u128, now: Timestamp) {
        self.revoke(Subject::Session(family), u32::MAX, now);
    }

    fn revoke(&self, subject: Subject, epoch_min: u32, now: Timestamp) {
        let mut memory = self.memory.write();
        memory.forget(now, self.remembered_ms);
        match memory.revocations.get(&subject) {
            // A repeat. Its tokens stopped being issued when it was first said.
            Some(known) if known.epoch_min >= epoch_min => return,
            Some(_) | None => {}
        }
        if memory.order.len() >= self.revocations_max {
            memory.revocations.clear();
            memory.order.clear();
            let latest_issue = Timestamp(self.latest_issue.load(Ordering::Relaxed));
            memory.complete_since = memory.complete_since.max(now).max(latest_issue);
        }
        let latest_issue = Timestamp(self.latest_issue.load(Ordering::Relaxed));
        let forgotten_at = now.max(latest_issue).plus_ms(self.remembered_ms);
        memory.revocations.insert(subject, Revocation { epoch_min, forgotten_at });
        memory.order.push_back((forgotten_at, subject));
    }

    /// What is known of a token of this session and epoch.
    pub(super) fn standing(&self, account: AccountId, epoch: u32, family: u128, issued_at: Timestamp) -> Standing {
        let memory = self.memory.read();
        if !memory.revocations.is_empty() {
            let of_account = memory.revocations.get(&Subject::Account(account));
            let outdated = of_account.is_some_and(|revocation| epoch < revocation.epoch_min);
            if outdated || memory.revocations.contains_key(&Subject::Session(family)) {
                return Standing::Revoked;
            }
        }
        if issued_at < memory.complete_since {
            return Standing::AskAccount;
        }
        Standing::Good
    }
}

impl Memory {
    /// Forgets what no living token can need. Tokens that were issued before the revocation come back to life if the clock is
    /// set back: from now on the account is asked about them.
    fn forget(&mut self, now: Timestamp, remembered_ms: u64) {
        while let Some((forgotten_at, subject)) = self.order.front().copied() {
            if forgotten_at > now {
                return;
            }
            self.order.pop_front();
            let issued_before = Timestamp(forgotten_at.0.saturating_sub(remembered_ms).saturating_add(1));
            self.complete_since = self.complete_since.max(issued_before);
            if self.revocations.get(&subject).is_some_and(|revocation| revocation.forgotten_at <= now) {
                self.revocations.remove(&subject);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: AccountId = AccountId(1);
    const START: Timestamp = Timestamp(1_000_000);

    fn revocations(revocations_max: usize) -> Revocations {
        Revocations::new(START, 1_000, revocations_max)
    }

    #[test]
    fn an_epoch_kills_the_tokens_before_it() {
        let revocations = revocations(10);
        revocations.revoke_account(ACCOUNT, 2, START);
        let standing = |account, epoch| revocations.standing(account, epoch, 9, START);
        assert_eq!(standing(ACCOUNT, 1), Standing::Revoked);
        assert_eq!(standing(ACCOUNT, 2), Standing::Good);
        assert_eq!(standing(AccountId(2), 1), Standing::Good);
        revocations.revoke_account(ACCOUNT, 1, START);
        assert_eq!(standing(ACCOUNT, 1), Standing::Revoked, "an epoch never goes back");
    }

    #[test]
    fn a_session_ends_for_every_epoch() {
        let revocations = revocations(10);
        revocations.revoke_session(9, START);
        assert_eq!(revocations.standing(ACCOUNT, u32::MAX, 9, START), Standing::Revoked);
        assert_eq!(revocations.standing(ACCOUNT, 0, 8, START), Standing::Good);
    }

    #[test]
    fn a_revocation_outlives_the_tokens_it_kills() {
        let revocations = revocations(10);
        revocations.revoke_account(ACCOUNT, 1, START);
        revocations.revoke_account(ACCOUNT, 2, START.plus_ms(900));
        revocations.revoke_session(3, START.plus_ms(1_000));
        assert_eq!(revocations.standing(ACCOUNT, 1, 9, START), Standing::Revoked, "renewed by the second");
        revocations.revoke_session(4, START.plus_ms(1_900));
        assert_eq!(revocations.standing(ACCOUNT, 1, 9, START), Standing::AskAccount, "alive if the clock is set back");
        assert_eq!(revocations.standing(ACCOUNT, 1, 9, START.plus_ms(1_001)), Standing::Good, "issued later");
        assert_eq!(revocations.memory.read().order.len(), 2);
    }

    #[test]
    fn a_clock_that_jumps_brings_no_revoked_token_back() {
        let revocations = revocations(10);
        // It was an hour ahead when the token was issued, and was set right before the session ended.
        let ahead = START.plus_ms(3_000);
        revocations.issued(ahead);
        revocations.revoke_session(9, START);
        // It jumps ahead again, and another session ends there.
        revocations.revoke_session(8, START.plus_ms(3_500));
        assert_eq!(revocations.standing(ACCOUNT, 0, 9, ahead), Standing::Revoked, "no token outlives its revocation");
        // Much later it is forgotten, but not that there was something to forget.
        revocations.revoke_session(7, START.plus_ms(9_000));
        assert_eq!(revocations.standing(ACCOUNT, 0, 9, ahead), Standing::AskAccount);
        assert_eq!(revocations.standing(ACCOUNT, 0, 9, START.plus_ms(9_000)), Standing::Good);
    }

    #[test]
    fn tokens_from_before_the_start_are_asked_about() {
        let revocations = revocations(10);
        assert_eq!(revocations.standing(ACCOUNT, 0, 9, Timestamp(START.0 - 1)), Standing::AskAccount);
        assert_eq!(revocations.standing(ACCOUNT, 0, 9, START), Standing::Good);
    }

    #[test]
    fn a_full_memory_forgets_no_revocation_silently() {
        let revocations = revocations(10);
        for family in 0..11 {
            revocations.revoke_session(family, START.plus_ms(5));
        }
        assert_eq!(revocations.memory.read().order.len(), 1);
        assert_eq!(revocations.standing(ACCOUNT, 0, 0, START), Standing::AskAccount);
        assert_eq!(revocations.standing(ACCOUNT, 0, 10, START), Standing::Revoked);
        for _ in 0..100 {
            revocations.revoke_session(10, START.plus_ms(6));
        }
        assert_eq!(revocations.memory.read().order.len(), 1, "repeats occupy nothing");
    }
}
