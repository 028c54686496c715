//! Revocations of access tokens that have not expired yet.
//!
//! An access token is verified without loading its account, which makes it cheap. So the end of a session and the
//! revocation of an account are also recorded here, for as long as such a token can live. The record is in memory and
//! bounded. Tokens from before it began (after a restart, or when the limit was reached) do not count as revoked, which
//! would log everybody out, but as [`RevocationStatus::Unknown`]. So do tokens that were alive at a revocation which is
//! forgotten by now: they have expired, unless the clock was set back. Depends on `domain`.

use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::RwLock;

use crate::domain::{entity::Timestamp, ids::AccountId};

/// How many revocations are remembered. Each takes about 100 bytes; this limit is reached by 28 a second for an hour.
pub const REVOCATIONS_MAX: usize = 100_000;

/// Whether a token with a valid signature is revoked.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationStatus {
    Good,
    /// It was issued before this process began to record revocations: ask the account
    /// ([`crate::domain::account::Holder::honours`]).
    Unknown,
    Revoked,
}

/// What is revoked: an account or a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Account(AccountId),
    Session(u128),
}

#[derive(Debug, Clone, Copy)]
struct Revocation {
    /// Tokens of an earlier epoch are revoked. For a session, whose tokens have no epochs, all are.
    epoch_min: u32,
    forgotten_at: Timestamp,
}

#[derive(Debug)]
struct Memory {
    complete_since: Timestamp,
    revocations: HashMap<Subject, Revocation>,
    /// When each revocation is forgotten, oldest first. A subject that is revoked again has another entry.
    order: VecDeque<(Timestamp, Subject)>,
}

/// The revocations that are remembered.
#[derive(Debug)]
pub(super) struct Revocations {
    memory: RwLock<Memory>,
    /// The latest issue time of any token. If the clock was set back since, tokens live longer.
    latest_issue: AtomicU64,
    remembered_ms: u64,
    revocations_max: usize,
}

impl Revocations {
    /// Records revocations from `since` on, each for `remembered_ms`, the longest life of a token.
    pub(super) fn new(since: Timestamp, remembered_ms: u64, revocations_max: usize) -> Self {
        let memory = Memory { complete_since: since, revocations: HashMap::new(), order: VecDeque::new() };
        Self { memory: RwLock::new(memory), latest_issue: AtomicU64::new(0), remembered_ms, revocations_max }
    }

    /// Notes that a token is issued.
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
            // A repeat: no such tokens were issued since the first revocation.
            Some(known) if known.epoch_min >= epoch_min => return,
            Some(_) | None => {}
        }
        let latest_issue = self.latest_issue();
        if memory.order.len() >= self.revocations_max {
            memory.revocations.clear();
            memory.order.clear();
            memory.ask_accounts(now.max(latest_issue));
        }
        let forgotten_at = now.max(latest_issue).plus_ms(self.remembered_ms);
        memory.revocations.insert(subject, Revocation { epoch_min, forgotten_at });
        memory.order.push_back((forgotten_at, subject));
    }

    /// Accounts are asked about all tokens that are out.
    pub(super) fn ask_accounts(&self, now: Timestamp) {
        self.memory.write().ask_accounts(now.max(self.latest_issue()));
    }

    fn latest_issue(&self) -> Timestamp {
        Timestamp(self.latest_issue.load(Ordering::Relaxed))
    }

    /// Whether a token of this session and epoch is revoked.
    pub(super) fn status(
        &self,
        account: AccountId,
        epoch: u32,
        family: u128,
        issued_at: Timestamp,
    ) -> RevocationStatus {
        let memory = self.memory.read();
        if !memory.revocations.is_empty() {
            let of_account = memory.revocations.get(&Subject::Account(account));
            let outdated = of_account.is_some_and(|revocation| epoch < revocation.epoch_min);
            if outdated || memory.revocations.contains_key(&Subject::Session(family)) {
                return RevocationStatus::Revoked;
            }
        }
        if issued_at < memory.complete_since {
            return RevocationStatus::Unknown;
        }
        RevocationStatus::Good
    }
}

impl Memory {
    /// Accounts are asked about tokens that were issued up to this moment.
    fn ask_accounts(&mut self, up_to: Timestamp) {
        self.complete_since = self.complete_since.max(up_to.plus_ms(1));
    }

    /// Forgets revocations whose tokens have all expired. If the clock is set back, such tokens become valid again;
    /// from now on the account is asked about them.
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
    fn a_new_epoch_revokes_the_tokens_of_earlier_ones() {
        let revocations = revocations(10);
        revocations.revoke_account(ACCOUNT, 2, START);
        let status = |account, epoch| revocations.status(account, epoch, 9, START);
        assert_eq!(status(ACCOUNT, 1), RevocationStatus::Revoked);
        assert_eq!(status(ACCOUNT, 2), RevocationStatus::Good);
        assert_eq!(status(AccountId(2), 1), RevocationStatus::Good);
        revocations.revoke_account(ACCOUNT, 1, START);
        assert_eq!(status(ACCOUNT, 1), RevocationStatus::Revoked, "an epoch never goes back");
    }

    #[test]
    fn the_end_of_a_session_revokes_its_tokens_of_every_epoch() {
        let revocations = revocations(10);
        revocations.revoke_session(9, START);
        assert_eq!(revocations.status(ACCOUNT, u32::MAX, 9, START), RevocationStatus::Revoked);
        assert_eq!(revocations.status(ACCOUNT, 0, 8, START), RevocationStatus::Good);
    }

    #[test]
    fn a_revocation_is_remembered_longer_than_its_tokens_live() {
        let revocations = revocations(10);
        revocations.revoke_account(ACCOUNT, 1, START);
        revocations.revoke_account(ACCOUNT, 2, START.plus_ms(900));
        revocations.revoke_session(3, START.plus_ms(1_000));
        assert_eq!(revocations.status(ACCOUNT, 1, 9, START), RevocationStatus::Revoked, "renewed by the second");
        revocations.revoke_session(4, START.plus_ms(1_900));
        assert_eq!(
            revocations.status(ACCOUNT, 1, 9, START),
            RevocationStatus::Unknown,
            "alive if the clock is set back"
        );
        assert_eq!(revocations.status(ACCOUNT, 1, 9, START.plus_ms(1_001)), RevocationStatus::Good, "issued later");
        assert_eq!(revocations.memory.read().order.len(), 2);
    }

    #[test]
    fn a_jump_of_the_clock_makes_no_revoked_token_valid() {
        let revocations = revocations(10);
        // The clock was an hour ahead when the token was issued, and was set right before the session ended.
        let ahead = START.plus_ms(3_000);
        revocations.issued(ahead);
        revocations.revoke_session(9, START);
        // The clock jumps ahead again, and another session ends there.
        revocations.revoke_session(8, START.plus_ms(3_500));
        assert_eq!(
            revocations.status(ACCOUNT, 0, 9, ahead),
            RevocationStatus::Revoked,
            "no token outlives its revocation"
        );
        // Much later the revocation is forgotten, but not that one was forgotten.
        revocations.revoke_session(7, START.plus_ms(9_000));
        assert_eq!(revocations.status(ACCOUNT, 0, 9, ahead), RevocationStatus::Unknown);
        assert_eq!(revocations.status(ACCOUNT, 0, 9, START.plus_ms(9_000)), RevocationStatus::Good);
    }

    #[test]
    fn the_account_is_asked_about_tokens_from_before_the_start() {
        let revocations = revocations(10);
        assert_eq!(revocations.status(ACCOUNT, 0, 9, Timestamp(START.0 - 1)), RevocationStatus::Unknown);
        assert_eq!(revocations.status(ACCOUNT, 0, 9, START), RevocationStatus::Good);
    }

    #[test]
    fn the_account_is_asked_about_every_token_that_is_out_where_a_revocation_is_uncertain() {
        let revocations = revocations(10);
        let ahead = START.plus_ms(3_000);
        revocations.issued(ahead);
        revocations.revoke_session(8, START);
        revocations.ask_accounts(START);
        assert_eq!(revocations.status(ACCOUNT, 0, 9, ahead), RevocationStatus::Unknown);
        assert_eq!(revocations.status(ACCOUNT, 0, 9, ahead.plus_ms(1)), RevocationStatus::Good);
        assert_eq!(revocations.status(ACCOUNT, 0, 8, ahead), RevocationStatus::Revoked, "what is certain stays");
    }

    #[test]
    fn the_account_is_asked_after_revocations_were_dropped() {
        let revocations = revocations(10);
        for family in 0..11 {
            revocations.revoke_session(family, START.plus_ms(5));
        }
        assert_eq!(revocations.memory.read().order.len(), 1);
        assert_eq!(revocations.status(ACCOUNT, 0, 0, START), RevocationStatus::Unknown);
        assert_eq!(revocations.status(ACCOUNT, 0, 10, START), RevocationStatus::Revoked);
        for _ in 0..100 {
            revocations.revoke_session(10, START.plus_ms(6));
        }
        assert_eq!(revocations.memory.read().order.len(), 1, "repeats occupy nothing");
    }
}
