//! Access tokens over time: expiry, revocation, rotation of keys, and that they are never logged. Forged tokens are in
//! `forgeries`. Depends on `identity`, `proptest`.

mod forgeries;

use std::path::Path;

use proptest::prelude::*;
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;
use crate::{
    clock::Clock,
    domain::{
        account::{Account, Command, Event, Family, Holder, PasswordHash, Standing},
        entity::Entity,
    },
    identity::{Identity, IdentityConfig},
};

pub(super) const START: Timestamp = Timestamp(1_800_000_000_000);
const DAY_MS: u64 = 86_400_000;
pub(super) const ACCOUNT: AccountId = AccountId(0xacc);
pub(super) const SESSION: u128 = 0x5e5;

/// A shop's identity and an account with one session.
pub(super) struct World {
    directory: TempDir,
    pub(super) identity: Identity,
    account: Account,
}

fn open(directory: &Path) -> Identity {
    let config = IdentityConfig { issuer: "https://souk.example".into(), ..IdentityConfig::default() };
    Identity::open(&directory.join("identity"), 1, &config, &Clock::manual(START)).unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let identity = open(directory.path());
        let mut account = Account::default();
        account.apply(&Event::Registered {
            user: UserId(0x0e5),
            role: Role::Customer,
            password_hash: PasswordHash::new("phc"),
            name: None,
            standing: Standing::Free,
            at: START,
        });
        account.apply(&Event::SessionStarted { family: SESSION, expires_at: START.plus_ms(DAY_MS), at: START });
        Self { directory, identity, account }
    }

    pub(super) fn holder(&self) -> Arc<Holder> {
        self.account.view().holder.unwrap()
    }

    pub(super) fn session(&self) -> Family {
        self.holder().family(SESSION).unwrap().clone()
    }

    pub(super) fn access_token(&self, now: Timestamp) -> String {
        let issued = self.identity.issue(ACCOUNT, &self.holder(), &self.session(), now).unwrap();
        issued.access_token.expose_secret().to_owned()
    }

    pub(super) fn refresh_token(&self) -> String {
        let issued = self.identity.issue(ACCOUNT, &self.holder(), &self.session(), START).unwrap();
        issued.refresh_token.expose_secret().to_owned()
    }

    pub(super) fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        self.identity.verify(token, START)
    }

    /// Executes a command on the account and passes the event to the identity, as the shop does.
    fn command(&mut self, command: &Command, now: Timestamp) {
        let event = self.account.decide(command, now).unwrap().unwrap();
        self.account.apply(&event);
        match &event {
            Event::ReuseDetected { family, .. } | Event::SessionEnded { family } => {
                self.identity.revoke_session(*family, now);
            }
            _ => self.identity.revoke_account(ACCOUNT, self.holder().epoch, now),
        }
    }
}

#[test]
fn a_changed_token_is_refused_although_the_original_is_cached() {
    let world = World::new();
    let token = world.access_token(START);
    let bound = TOKEN_BYTES_MAX * 3 / 4;
    assert!(world.verify(&token).is_ok() && token.len() < bound, "{} leaves room for longer names", token.len());
    for index in 0..token.len() {
        let other = if token.as_bytes()[index] == b'A' { "B" } else { "A" };
        let mut changed = token.clone();
        changed.replace_range(index..=index, other);
        assert!(world.verify(&changed).is_err(), "character {index}");
        assert!(world.verify(&token[..index]).is_err(), "cut to {index}");
    }
}

#[test]
fn an_access_token_is_not_accepted_as_a_refresh_token() {
    let world = World::new();
    let (access, refresh) = (world.access_token(START), world.refresh_token());
    assert!(world.identity.read_refresh(&access, START).is_err());
    assert!(world.identity.read_refresh(&refresh, START).is_ok());
    let text = refresh.strip_prefix("souk_refresh_1_").unwrap();
    assert!(world.identity.read_refresh(text, START).is_err());
    assert!(world.verify(text).is_err());
}

#[test]
fn a_cached_token_expires_to_the_millisecond() {
    let world = World::new();
    let token = world.access_token(START);
    let expired_at = START.plus_ms(900_000);
    assert!(world.verify(&token).is_ok());
    assert!(world.identity.verify(&token, Timestamp(expired_at.0 - 1)).is_ok());
    assert_eq!(world.identity.verified_count(), 1);
    assert_eq!(world.identity.verify(&token, expired_at), Err(TokenError::Expired { expired_at }));
    assert_eq!(world.identity.verified_count(), 0);
    assert_eq!(world.identity.verify(&token, expired_at), Err(TokenError::Expired { expired_at }));
}

#[test]
fn a_token_does_not_outlive_its_session() {
    let world = World::new();
    let late = START.plus_ms(DAY_MS - 60_000);
    let issued = world.identity.issue(ACCOUNT, &world.holder(), &world.session(), late).unwrap();
    assert_eq!(issued.access_expires_at, START.plus_ms(DAY_MS));
    assert_eq!(issued.refresh_expires_at, START.plus_ms(DAY_MS));
}

#[test]
fn events_of_an_account_apply_at_once_also_to_cached_tokens() {
    let commands = [
        Command::ChangePassword { password_hash: PasswordHash::new("new"), epoch: None, keeps: None },
        Command::GrantRole { role: Role::Admin },
        Command::EndSession { family: SESSION },
        Command::Refresh { family: SESSION, counter: 7 },
    ];
    for command in commands {
        let mut world = World::new();
        let (seen, unseen) = (world.access_token(START), world.access_token(START));
        assert!(world.verify(&seen).is_ok());
        world.command(&command, START);
        assert_eq!(world.verify(&seen), Err(TokenError::Revoked), "{command:?}");
        assert_eq!(world.verify(&unseen), Err(TokenError::Revoked), "{command:?}");

        let epoch = world.holder().epoch;
        let again = Command::StartSession { family: 2, expires_at: START.plus_ms(DAY_MS), epoch };
        world.command(&again, START);
        let holder = world.holder();
        let issued = world.identity.issue(ACCOUNT, &holder, holder.family(2).unwrap(), START).unwrap();
        let principal = world.verify(issued.access_token.expose_secret()).unwrap();
        assert_eq!((principal.role, principal.epoch), (holder.role, holder.epoch), "{command:?}");
    }
}

#[test]
fn after_a_restart_the_account_is_asked_about_older_tokens() {
    let world = World::new();
    let earlier = Timestamp(START.0 - 1_000);
    let revocation = |token: &str| world.verify(token).unwrap().revocation;
    assert_eq!(revocation(&world.access_token(earlier)), RevocationStatus::Unknown);
    assert_eq!(revocation(&world.access_token(START)), RevocationStatus::Good);
    assert!(world.holder().honours(SESSION, 0));
    // Also if the clock was set back before the restart, so that the token looks younger than the start.
    let (token, directory) = (world.access_token(START), world.directory.path());
    assert_eq!(open(directory).verify(&token, START).unwrap().revocation, RevocationStatus::Unknown);
}

#[test]
fn a_replaced_key_verifies_until_it_is_replaced_again() {
    let world = World::new();
    let token = world.access_token(START);
    let directory = world.directory.path();
    Keys::rotate(&directory.join("identity")).unwrap();
    let second = open(directory);
    assert!(second.verify(&token, START).is_ok());
    assert_eq!(second.fingerprint(), world.identity.fingerprint());
    Keys::rotate(&directory.join("identity")).unwrap();
    assert_eq!(open(directory).verify(&token, START), Err(TokenError::UnknownKey));
}

#[test]
fn a_repeated_rotation_yields_the_same_refresh_token() {
    let mut world = World::new();
    let first = world.identity.read_refresh(&world.refresh_token(), START).unwrap();
    assert_eq!((first.account, first.family, first.counter), (ACCOUNT, SESSION, 0));
    let spend = Command::Refresh { family: first.family, counter: first.counter };
    world.command(&spend, START);
    let successor = world.refresh_token();
    assert_eq!(world.account.decide(&spend, START), Ok(None));
    assert_eq!(world.refresh_token(), successor);
    assert_eq!(world.identity.read_refresh(&successor, START).unwrap().counter, 1);
}

#[test]
fn secrets_are_not_in_debug_output() {
    let world = World::new();
    let issued = world.identity.issue(ACCOUNT, &world.holder(), &world.session(), START).unwrap();
    let shown = format!("{issued:?} {:?}", world.identity);
    for part in issued.access_token.expose_secret().split('.') {
        assert!(!shown.contains(part), "{shown}");
    }
    assert!(!shown.contains("souk_refresh") && !shown.contains("argon2"), "{shown}");
    assert!(shown.contains(world.identity.keys.kid()), "{shown}");
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let usual = IdentityConfig::default;
    for config in [
        IdentityConfig { access_ms: 0, ..usual() },
        IdentityConfig { access_ms: 3_600_001, ..usual() },
        IdentityConfig { session_ms: 1, ..usual() },
        IdentityConfig { issuer: String::new(), ..usual() },
        IdentityConfig { audience: "a".repeat(65), ..usual() },
    ] {
        let opened = Identity::open(directory.path(), 1, &config, &Clock::manual(START));
        assert!(matches!(opened, Err(crate::identity::IdentityError::Config { .. })), "{config:?}");
    }
}

#[test]
fn one_address_is_one_account() {
    let world = World::new();
    let account = |address| world.identity.account_of(address).unwrap();
    assert_eq!(account("Asha@Example.com "), account("asha@example.com"));
    assert_ne!(account("asha@example.com"), account("asha@example.org"));
    assert_ne!(account("asha@example.com"), World::new().identity.account_of("asha@example.com").unwrap());
    assert_ne!(random_u128(), random_u128());
}

proptest! {
    #[test]
    fn no_random_text_is_accepted_as_a_token(text in "(.{0,80}|[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,90})") {
        thread_local!(static WORLD: World = World::new());
        WORLD.with(|world| {
            prop_assert!(world.verify(&text).is_err());
            prop_assert!(world.identity.read_refresh(&text, START).is_err());
            let prefixed = format!("souk_refresh_1_{text}");
            prop_assert!(world.identity.read_refresh(&prefixed, START).is_err());
            Ok(())
        })?;
    }
}
