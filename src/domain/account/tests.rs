//! What an account promises: given events, when a command comes, then this event, rejection or state; and for any
//! sequence of commands, that spent refresh tokens stay spent. Depends on `domain` and `proptest`.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

const DAY_MS: u64 = 86_400_000;
const START: Timestamp = Timestamp(1_000_000);
const USER: UserId = UserId(7);

fn hash(text: &str) -> PasswordHash {
    PasswordHash::new(text)
}

fn register(user: UserId) -> Command {
    let (role, standing) = (Role::Customer, Standing::Free);
    Command::Register { user, role, password_hash: hash("phc-1"), name: Some("Asha".into()), standing }
}

fn registered() -> Event {
    Event::Registered {
        user: USER,
        role: Role::Customer,
        password_hash: hash("phc-1"),
        name: Some("Asha".into()),
        standing: Standing::Free,
        at: START,
    }
}

fn started(family: u128, at: Timestamp) -> Event {
    Event::SessionStarted { family, expires_at: at.plus_ms(DAY_MS), at }
}

/// The operator's change of a password.
fn change_to(text: &str) -> Command {
    Command::ChangePassword { password_hash: hash(text), epoch: None, keeps: None }
}

fn changed(epoch: u32, kept: Option<u128>) -> Event {
    Event::PasswordChanged { password_hash: hash("phc-2"), epoch, kept, at: START }
}

fn given(events: &[Event]) -> Account {
    let mut account = Account::default();
    events.iter().for_each(|event| account.apply(event));
    account
}

fn granted(role: Role, epoch: u32) -> Event {
    Event::RoleGranted { user: USER, role, standing: Standing::Free, created_at: START, epoch }
}

#[test]
fn an_address_is_claimed_once() {
    let fresh = Account::default();
    assert_eq!(fresh.decide(&register(USER), START), Ok(Some(registered())));
    let taken = given(&[registered()]);
    assert_eq!(taken.decide(&register(USER), START), Ok(None), "a repeat");
    assert_eq!(taken.decide(&register(UserId(8)), START), Err(Rejection::AlreadyRegistered));
}

#[test]
fn a_spent_token_is_no_repeat_of_what_happened_while_the_clock_was_ahead() {
    let ahead = START.plus_ms(10 * DAY_MS);
    let rotated = Event::Rotated { family: 1, counter: 1, at: ahead };
    let account = given(&[registered(), started(1, ahead), rotated]);
    let spent = Command::Refresh { family: 1, counter: 0 };
    assert_eq!(account.decide(&spent, ahead), Ok(None), "a repeat");
    let reused = Event::ReuseDetected { family: 1, counter: 0, at: START };
    assert_eq!(account.decide(&spent, START), Ok(Some(reused)));
}

#[test]
fn nothing_happens_to_an_address_nobody_claimed() {
    for command in [
        Command::StartSession { family: 1, expires_at: START.plus_ms(1), epoch: 0 },
        Command::Refresh { family: 1, counter: 0 },
        Command::EndSession { family: 1 },
        change_to("phc-2"),
        Command::GrantRole { role: Role::Admin },
    ] {
        assert_eq!(Account::default().decide(&command, START), Err(Rejection::NotRegistered), "{command:?}");
    }
    assert_eq!(Account::default().view(), View::default());
}

#[test]
fn names_and_hashes_have_bounds() {
    let with = |name: &str, phc: &str| Command::Register {
        user: USER,
        role: Role::Customer,
        password_hash: hash(phc),
        name: Some(name.into()),
        standing: Standing::Free,
    };
    let refused = Account::default().decide(&with(" ", "phc"), START);
    assert_eq!(refused, Err(Rejection::InvalidName(InvalidName)));
    let refused = Account::default().decide(&with("a", &"x".repeat(257)), START);
    assert_eq!(refused, Err(Rejection::PasswordHashTooLong { bytes: 257, bytes_max: 256 }));
}

#[test]
fn a_session_starts_once_and_not_in_the_past() {
    let account = given(&[registered(), started(1, START)]);
    let start = |family, expires_at| Command::StartSession { family, expires_at, epoch: 0 };
    assert_eq!(account.decide(&start(1, START.plus_ms(DAY_MS)), START), Ok(None), "a repeat");
    assert_eq!(account.decide(&start(2, START), START), Err(Rejection::FamilyExpired { family: 2, expired_at: START }));
    let expected = started(2, START.plus_ms(5));
    assert_eq!(account.decide(&start(2, START.plus_ms(5 + DAY_MS)), START.plus_ms(5)), Ok(Some(expected)));
}

#[test]
fn a_session_starts_only_in_the_epoch_in_which_the_password_was_verified() {
    let start = |family, epoch| Command::StartSession { family, expires_at: START.plus_ms(DAY_MS), epoch };
    let changed = changed(1, None);
    let granted = granted(Role::Admin, 1);
    for event in [changed, granted] {
        let mut account = given(&[registered()]);
        assert!(account.decide(&start(1, 0), START).is_ok());
        account.apply(&event);
        assert_eq!(account.decide(&start(1, 0), START), Err(Rejection::EpochEnded), "{event:?}");
        let later = account.decide(&start(2, 1), START).unwrap().unwrap();
        account.apply(&later);
        assert_eq!(account.decide(&start(2, 1), START), Ok(None), "a repeat");
    }
}

#[test]
fn a_refresh_token_is_spent_once_with_a_short_time_for_repeats() {
    let account = given(&[registered(), started(1, START)]);
    let spend = Command::Refresh { family: 1, counter: 0 };
    let rotated = Event::Rotated { family: 1, counter: 1, at: START };
    assert_eq!(account.decide(&spend, START), Ok(Some(rotated.clone())));

    let account = given(&[registered(), started(1, START), rotated]);
    let view = account.view().holder.unwrap();
    assert_eq!(view.successor(1, 0).map(|family| family.counter), Some(1), "what the caller hands out");
    assert_eq!(view.successor(1, 1), None);

    let in_time = START.plus_ms(REFRESH_REPEAT_MS_MAX);
    assert_eq!(account.decide(&spend, in_time), Ok(None), "an honest repeat");
    let late = in_time.plus_ms(1);
    let reuse = Event::ReuseDetected { family: 1, counter: 0, at: late };
    assert_eq!(account.decide(&spend, late), Ok(Some(reuse.clone())));

    let account = given(&[registered(), started(1, START), started(2, START), reuse]);
    assert_eq!(account.decide(&spend, late), Err(Rejection::UnknownFamily { family: 1 }), "and not recorded again");
    let view = account.view().holder.unwrap();
    assert!(!view.honours(1, 0) && view.honours(2, 0), "the other session lives");
}

#[test]
fn a_counter_never_issued_ends_the_session() {
    let account = given(&[registered(), started(1, START)]);
    for counter in [1, 2, u64::MAX] {
        let decided = account.decide(&Command::Refresh { family: 1, counter }, START);
        assert_eq!(decided, Ok(Some(Event::ReuseDetected { family: 1, counter, at: START })));
    }
}

#[test]
fn an_expired_session_cannot_be_refreshed() {
    let account = given(&[registered(), started(1, START)]);
    let expired_at = START.plus_ms(DAY_MS);
    let spend = Command::Refresh { family: 1, counter: 0 };
    assert_eq!(account.decide(&spend, expired_at), Err(Rejection::FamilyExpired { family: 1, expired_at }));
}

#[test]
fn one_session_too_many_drops_the_one_unused_for_longest() {
    let mut account = given(&[registered()]);
    for family in 1..=10 {
        account.apply(&started(family, START.plus_ms(u64::try_from(family).unwrap())));
    }
    account.apply(&Event::Rotated { family: 1, counter: 1, at: START.plus_ms(50) });
    account.apply(&started(11, START.plus_ms(60)));
    let view = account.view().holder.unwrap();
    assert_eq!(view.families.len(), FAMILIES_MAX);
    assert!(view.family(1).is_some() && view.family(2).is_none() && view.family(11).is_some());
    assert_eq!(view.replaced, [2]);

    account.apply(&started(12, START.plus_ms(2 * DAY_MS)));
    let view = account.view().holder.unwrap();
    assert_eq!(view.families.len(), 1, "all others had expired");
    assert!(view.replaced.is_empty(), "and so have their access tokens");
}

#[test]
fn a_login_repeated_after_logout_revives_no_spent_token() {
    let rotated = Event::Rotated { family: 1, counter: 1, at: START };
    let ended = Event::SessionEnded { family: 1 };
    let account = given(&[registered(), started(1, START), rotated, ended, started(1, START)]);
    for counter in [0, 1] {
        let decided = account.decide(&Command::Refresh { family: 1, counter }, START);
        assert!(matches!(decided, Ok(Some(Event::ReuseDetected { .. }))), "{decided:?}");
    }
}

#[test]
fn a_new_password_ends_every_session_and_every_access_token() {
    let mut account = given(&[registered(), started(1, START), started(2, START)]);
    let changed = changed(1, None);
    let change = change_to("phc-2");
    assert_eq!(account.decide(&change, START), Ok(Some(changed.clone())));
    account.apply(&changed);
    let view = account.view().holder.unwrap();
    assert_eq!((view.epoch, view.families.len()), (1, 0));
    assert!(!view.honours(1, 0) && !view.honours(1, 1));
    let account = given(&[registered()]);
    let same = change_to("phc-1");
    assert_eq!(account.decide(&same, START), Ok(None), "a repeat");
}

#[test]
fn the_holders_own_change_keeps_one_session_with_its_next_token() {
    let mut account = given(&[registered(), started(1, START), started(2, START)]);
    let change = |epoch, keeps| Command::ChangePassword { password_hash: hash("phc-2"), epoch, keeps };
    assert_eq!(account.decide(&change(Some(1), Some(1)), START), Err(Rejection::EpochEnded), "verified too early");
    let unknown = Rejection::UnknownFamily { family: 3 };
    assert_eq!(account.decide(&change(Some(0), Some(3)), START), Err(unknown), "logged out meanwhile");
    let expired_at = START.plus_ms(DAY_MS);
    let expired = Rejection::FamilyExpired { family: 1, expired_at };
    assert_eq!(account.decide(&change(Some(0), Some(1)), expired_at), Err(expired));

    let event = changed(1, Some(1));
    assert_eq!(account.decide(&change(Some(0), Some(1)), START), Ok(Some(event.clone())));
    account.apply(&event);
    assert_eq!(account.decide(&change(Some(0), Some(1)), START), Ok(None), "a repeat");
    let view = account.view().holder.unwrap();
    assert!(!view.honours(1, 0) && view.honours(1, 1) && !view.honours(2, 1));
    assert_eq!(view.family(1).map(|family| family.counter), Some(2), "what the caller hands out");
    for at in [START, START.plus_ms(REFRESH_REPEAT_MS_MAX + 1)] {
        let reuse = Event::ReuseDetected { family: 1, counter: 0, at };
        let old = Command::Refresh { family: 1, counter: 0 };
        assert_eq!(account.decide(&old, at), Ok(Some(reuse)), "the old token, at once, too");
    }
}

#[test]
fn a_profile_is_edited_part_by_part() {
    let mut account = given(&[registered()]);
    let revise = |name: Edit, contact: Edit| Command::Revise { name, contact, expected_version: None };
    let set = |text: &str| Edit::Set(text.into());
    for (command, name, contact) in [
        (revise(Edit::Keep, set("+91 20 1234")), Some("Asha"), Some("+91 20 1234")),
        (revise(set("Asha Rao"), Edit::Keep), Some("Asha Rao"), Some("+91 20 1234")),
        (revise(Edit::Remove, set(" ")), None, None),
    ] {
        let before = account.view().holder.unwrap().profile.version;
        let event = account.decide(&command, START).unwrap().unwrap();
        account.apply(&event);
        assert_eq!(account.decide(&command, START), Ok(None), "a repeat");
        let profile = account.view().holder.unwrap().profile.clone();
        assert_eq!((profile.name.as_deref(), profile.contact.as_deref()), (name, contact));
        assert_eq!(profile.version, before + 1);
    }
    let refused = |command: &Command| account.decide(command, START).unwrap_err();
    assert_eq!(refused(&revise(set("a\nb"), Edit::Keep)), Rejection::InvalidName(InvalidName));
    let long = "x".repeat(CONTACT_CHARACTERS_MAX + 1);
    for bad in ["a\0", &long] {
        assert_eq!(refused(&revise(Edit::Keep, set(bad))), Rejection::InvalidContact(InvalidContact));
    }
    let stale = Command::Revise { name: set("Asha"), contact: Edit::Keep, expected_version: Some(1) };
    assert_eq!(refused(&stale), Rejection::VersionMismatch { current: 4 });
}

#[test]
fn a_seller_who_waits_is_approved_or_refused_with_a_reason() {
    let waiting = Event::Registered {
        user: USER,
        role: Role::Seller,
        password_hash: hash("phc-1"),
        name: None,
        standing: Standing::Waiting,
        at: START,
    };
    let mut account = given(&[waiting]);
    let by = UserId(9);
    let decide = |approval, note: Option<&str>| {
        let note = note.map(Into::into);
        Command::DecideSeller { seller: USER, approval, by, note }
    };
    let long = "x".repeat(501);
    for bad in [None, Some(" "), Some("a\0"), Some(&*long)] {
        assert_eq!(account.decide(&decide(Approval::Refused, bad), START), Err(Rejection::InvalidNote), "{bad:?}");
    }
    for (command, standing) in [
        (decide(Approval::Refused, Some("no address")), Standing::Refused),
        (decide(Approval::Approved, None), Standing::Approved),
        (decide(Approval::Refused, Some("counterfeits")), Standing::Refused),
        (decide(Approval::Refused, Some("no address, and counterfeits")), Standing::Refused),
    ] {
        let event = account.decide(&command, START).unwrap().unwrap();
        account.apply(&event);
        assert_eq!(account.decide(&command, START), Ok(None), "a repeat");
        let holder = account.view().holder.unwrap();
        assert_eq!((holder.standing, holder.standing.may_sell()), (standing, standing == Standing::Approved));
        assert_eq!(holder.decision.as_ref().map(|decision| decision.by), Some(by));
        assert_eq!(holder.epoch, 0, "tokens stay");
    }
    assert_eq!(account.decide(&decide(Approval::Refused, None), START), Ok(None), "the reason stays");
    let suspend = decide(Approval::Refused, Some("counterfeits"));
    assert_eq!(given(&[registered()]).decide(&suspend, START), Err(Rejection::NothingToDecide));
    let mut free = given(&[registered(), granted(Role::Seller, 1)]);
    assert!(free.view().holder.unwrap().standing.may_sell());
    let event = free.decide(&suspend, START).unwrap().unwrap();
    free.apply(&event);
    assert!(!free.view().holder.unwrap().standing.may_sell());
}

#[test]
fn a_decision_of_one_seller_is_none_of_the_next_holder_of_the_address() {
    let registered = |user| Event::Registered {
        user,
        role: Role::Seller,
        password_hash: hash("phc-1"),
        name: None,
        standing: Standing::Waiting,
        at: START,
    };
    let begun = Event::ErasureBegun { user: USER, by: UserId(9), epoch: 1, at: START };
    let account = given(&[registered(USER), begun, Event::Erased { at: START }, registered(UserId(8))]);
    let decide = |seller| Command::DecideSeller { seller, approval: Approval::Approved, by: UserId(9), note: None };
    assert_eq!(account.decide(&decide(USER), START), Err(Rejection::NotRegistered));
    assert!(account.decide(&decide(UserId(8)), START).unwrap().is_some());
}

#[test]
fn a_new_role_kills_access_tokens_but_no_session() {
    let mut account = given(&[registered(), started(1, START)]);
    let grant = Command::GrantRole { role: Role::Seller };
    let event = granted(Role::Seller, 1);
    assert_eq!(account.decide(&grant, START), Ok(Some(event.clone())));
    account.apply(&event);
    assert_eq!(account.decide(&grant, START), Ok(None));
    let view = account.view().holder.unwrap();
    assert_eq!(view.role, Role::Seller);
    assert!(!view.honours(1, 0) && view.honours(1, 1));
}

#[test]
fn who_is_erased_is_gone_at_once_and_the_address_is_free_when_all_is_done() {
    let by = UserId(9);
    let begin = Command::BeginErasure { by };
    assert_eq!(Account::default().decide(&begin, START), Err(Rejection::NotRegistered));
    let seller = given(&[registered(), granted(Role::Seller, 1)]);
    assert_eq!(seller.decide(&begin, START), Err(Rejection::NotACustomer));

    let changed = changed(6, None);
    let mut account = given(&[registered(), started(1, START), changed, started(2, START)]);
    assert_eq!(account.decide(&Command::FinishErasure, START), Ok(None));
    let begun = Event::ErasureBegun { user: USER, by, epoch: 7, at: START };
    assert_eq!(account.decide(&begin, START), Ok(Some(begun.clone())));
    assert!(Account::erases(&begun));
    account.apply(&begun);
    assert_eq!(account.view().holder, None);
    assert_eq!(account.view().former, Some(Former { epoch: 7, under_way: Some(USER) }));
    assert_eq!(account.decide(&begin, START), Ok(None), "a repeat");
    let session = Command::StartSession { family: 3, expires_at: START.plus_ms(1), epoch: 0 };
    assert_eq!(account.decide(&session, START), Err(Rejection::NotRegistered));
    assert_eq!(account.decide(&register(UserId(8)), START), Err(Rejection::AlreadyRegistered));

    let erased = Event::Erased { at: START };
    assert_eq!(account.decide(&Command::FinishErasure, START), Ok(Some(erased.clone())));
    assert!(Account::erases(&erased));
    account.apply(&erased);
    assert_eq!(account.view().former, Some(Former { epoch: 7, under_way: None }), "not even the user is left");
    assert_eq!(account.decide(&begin, START), Ok(None));
    assert_eq!(account.decide(&Command::FinishErasure, START), Ok(None));

    let again = account.decide(&register(UserId(8)), START).unwrap().unwrap();
    account.apply(&again);
    let holder = account.view().holder.unwrap();
    assert_eq!((holder.user, holder.epoch), (UserId(8), 7), "no token of the former holder counts for the next");
}

#[test]
fn epochs_never_wrap_round() {
    let account = given(&[registered(), granted(Role::Seller, u32::MAX)]);
    let change = change_to("phc-2");
    assert_eq!(account.decide(&change, START), Err(Rejection::EpochsExhausted));
}

#[test]
fn a_password_hash_never_shows() {
    let account = given(&[registered()]);
    let shown = format!("{account:?} {:?} {:?} {:?}", account.view(), registered(), register(USER));
    assert!(!shown.contains("phc-1"), "{shown}");
}

#[test]
fn a_full_account_stays_under_two_kilobytes() {
    let mut account = given(&[registered()]);
    for family in 0..20 {
        account.apply(&started(family, START));
    }
    let bytes = Account::view_bytes(&account.view());
    assert!((500..2_000).contains(&bytes), "{bytes}");
}

/// A command by somebody, and how many milliseconds passed before it. Few families, so that they meet again; the moment
/// a session expires is counted from the command.
fn step() -> impl Strategy<Value = (u64, Command)> {
    let families = 0..16_u128;
    let wait_ms = prop_oneof![4 => Just(0), 4 => 1..=2 * REFRESH_REPEAT_MS_MAX, 1 => Just(DAY_MS / 3)];
    let command = prop_oneof![
        24 => (families.clone(), 1..DAY_MS).prop_map(|(family, ms)| Command::StartSession {
            family,
            expires_at: Timestamp(ms),
            epoch: 0,
        }),
        24 => (families.clone(), 0..5_u64).prop_map(|(family, counter)| Command::Refresh { family, counter }),
        2 => families.prop_map(|family| Command::EndSession { family }),
        1 => any::<u8>().prop_map(|n| change_to(&n.to_string())),
        1 => prop_oneof![Just(Role::Customer), Just(Role::Seller)].prop_map(|role| Command::GrantRole { role }),
    ];
    (wait_ms, command)
}

proptest! {
    #[test]
    fn spent_refresh_tokens_stay_spent(steps in prop::collection::vec(step(), 1..120)) {
        let mut account = given(&[registered()]);
        let mut replayed = given(&[registered()]);
        let mut now = START;
        let mut counter_highest: HashMap<u128, u64> = HashMap::new();
        let mut dead: HashSet<(u128, u64)> = HashSet::new();
        for (wait_ms, mut command) in steps {
            now = now.plus_ms(wait_ms);
            let before = account.view().holder.unwrap();
            if let Command::StartSession { expires_at, epoch, .. } = &mut command {
                *expires_at = now.plus_ms(expires_at.0);
                *epoch = before.epoch;
            }
            let decided = account.decide(&command, now);
            if let Ok(Some(event)) = &decided {
                account.apply(event);
                replayed.apply(event);
                // A token rotates exactly when it is the current one of a live session, and never after its session
                // ended.
                if let Command::Refresh { family, counter } = command {
                    let rotated = matches!(event, Event::Rotated { .. });
                    prop_assert_eq!(rotated, before.family(family).is_some_and(|known| known.counter == counter));
                    prop_assert!(!(rotated && dead.contains(&(family, counter))), "a dead token was rotated");
                }
            }
            if let (Ok(None), Command::Refresh { family, counter }) = (&decided, &command) {
                prop_assert!(!dead.contains(&(*family, *counter)), "a dead token was taken for a repeat");
            }
            let view = account.view().holder.unwrap();
            if let Ok(Some(Event::ReuseDetected { family, .. })) = &decided {
                prop_assert!(view.family(*family).is_none(), "a stolen session lives on");
            }
            prop_assert!(view.families.len() <= FAMILIES_MAX);
            prop_assert!(view.epoch >= before.epoch);
            for gone in before.families.iter().filter(|known| view.family(known.family).is_none()) {
                dead.extend((0..=gone.counter).map(|counter| (gone.family, counter)));
            }
            for family in &view.families {
                let highest = counter_highest.entry(family.family).or_default();
                prop_assert!(family.counter >= *highest, "a counter went back");
                *highest = family.counter;
            }
        }
        prop_assert_eq!(account.view(), replayed.view());
    }
}
