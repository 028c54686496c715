//! An account: who somebody is, what they may do, and which of their sessions are alive.
//!
//! Its id is a keyed hash of the e-mail address, so to register is to claim that address, and two people cannot both
//! have it. A session is a *family* of refresh tokens: each use increments the family's counter, so a token that is
//! used a second time shows that somebody has copied it. Failed logins are not recorded here: an attacker could then
//! lock the owner out and grow the log; the HTTP layer slows attackers down instead. An erasure removes the holder from
//! here at once; the account remembers that traces elsewhere have still to be erased.
//!
//! `holder` has who it is and the sessions, `profile` what is said of them, `standing` whether a seller may sell.
//! Depends on `std`, `serde`, `thiserror` and its neighbours.

mod holder;
mod profile;
mod standing;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use self::profile::{check_contact, check_optional_name};
pub use self::{
    holder::{Family, Holder},
    profile::{CONTACT_CHARACTERS_MAX, Edit, InvalidContact, Profile},
    standing::{Approval, Decision, Standing},
};
use crate::domain::{
    entity::{Entity, Kind, Timestamp},
    ids::{AccountId, UserId},
    name::InvalidName,
    order,
};

/// How many sessions an account has at once. One more ends the one that was unused for longest. The limit bounds the
/// state: it is more devices than most people own, and an account stays under a kilobyte.
pub const FAMILIES_MAX: usize = 10;

/// How long the previous refresh token is still accepted, in milliseconds: a client whose answer was lost repeats its
/// request within seconds. A longer time would only help a thief.
pub const REFRESH_REPEAT_MS_MAX: u64 = 10_000;

/// The longest stored password hash, in bytes. An argon2id PHC string has 97.
pub const PASSWORD_HASH_BYTES_MAX: usize = 256;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May buy.
    Customer,
    /// May also manage their own products and stock.
    Seller,
    /// May also manage the shop.
    Admin,
}

/// A password's hash as a PHC string. It never appears in logs, because leaked hashes can be attacked offline.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash(Arc<str>);

impl PasswordHash {
    /// Wraps a PHC string, which `identity` makes.
    #[must_use]
    pub fn new(phc: &str) -> Self {
        Self(phc.into())
    }

    /// The PHC string, for verifying a password against it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordHash(hidden)")
    }
}

/// What remains of a holder who was erased or is being erased. It does not say who it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// The next holder of this address starts with this epoch, so that no token of the former holder becomes valid
    /// again.
    pub epoch: u32,
    /// The user whose traces elsewhere have still to be erased; `None` if none are left.
    pub under_way: Option<UserId>,
}

/// An account as readers see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// `None` until somebody registers, and again as soon as the erasure begins.
    pub holder: Option<Arc<Holder>>,
    /// What remains of the last holder who was erased.
    pub former: Option<Former>,
}

/// An account; empty until somebody registers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Account {
    holder: Option<Arc<Holder>>,
    former: Option<Former>,
}

impl Account {
    fn is_being_erased(&self) -> bool {
        self.former.as_ref().is_some_and(|former| former.under_way.is_some())
    }

    /// The holder, whom every event after the first requires.
    fn registered_mut(&mut self) -> &mut Holder {
        match &mut self.holder {
            Some(holder) => Arc::make_mut(holder),
            None => panic!("an account begins with its registration"),
        }
    }
}

/// A command to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Command {
    /// Claim the address. A repeat is recognised by its user id.
    Register {
        /// The new user's id.
        user: UserId,
        role: Role,
        password_hash: PasswordHash,
        /// The display name.
        name: Option<Arc<str>>,
        /// Whether a seller may sell, or waits for an admin.
        standing: Standing,
    },
    /// Log in. The caller has verified the password.
    StartSession {
        /// The session's random id, by which a repeat is recognised.
        family: u128,
        /// When the session ends, however much it is used.
        expires_at: Timestamp,
        /// The account's epoch when the password was verified. A password that has been replaced since starts nothing.
        epoch: u32,
    },
    /// Use a refresh token. [`Holder::successor`] says whether a new one is issued.
    Refresh { family: u128, counter: u64 },
    /// Log out one session.
    EndSession { family: u128 },
    /// Set a new password and log out everywhere else, so that whoever knew the old one is out. A repeat is recognised
    /// by its salted hash.
    ChangePassword {
        /// The hash of the new password.
        password_hash: PasswordHash,
        /// The account's epoch when the old password was verified; `None` for the operator, who need not know it.
        epoch: Option<u32>,
        /// The session that goes on, with its next refresh token.
        keeps: Option<u128>,
    },
    /// Change the profile.
    Revise {
        name: Edit,
        contact: Edit,
        /// The version that the profile must have; `None` for any.
        expected_version: Option<u64>,
    },
    /// Change the role at once: sessions stay, access tokens with the old role become invalid.
    GrantRole { role: Role },
    /// Approve or refuse a seller.
    DecideSeller {
        /// Whom the decision is about: by now the address may be somebody else's.
        seller: UserId,
        approval: Approval,
        /// The admin.
        by: UserId,
        /// The reason, which a refusal needs.
        note: Option<Arc<str>>,
    },
    /// Remember the key of a request that no other entity can: what it changes is named in its body, or it changes
    /// nothing that is stored.
    NoteRequest,
    /// Erase the holder: here at once, and elsewhere from now on.
    BeginErasure {
        /// The holder or an admin.
        by: UserId,
    },
    /// No traces of the holder are left elsewhere.
    FinishErasure,
}

/// An event of an account. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the commands; `epoch` and `counter` are the new values")]
pub enum Event {
    /// The address was claimed.
    Registered {
        user: UserId,
        role: Role,
        password_hash: PasswordHash,
        name: Option<Arc<str>>,
        standing: Standing,
        at: Timestamp,
    },
    /// Somebody logged in.
    SessionStarted { family: u128, expires_at: Timestamp, at: Timestamp },
    /// A refresh token was used.
    Rotated { family: u128, counter: u64, at: Timestamp },
    /// A refresh token was used a second time: two parties have it, so the session ends for both.
    ReuseDetected { family: u128, counter: u64, at: Timestamp },
    /// A session was logged out.
    SessionEnded { family: u128 },
    /// The password changed and all sessions but the kept one were logged out.
    PasswordChanged { password_hash: PasswordHash, epoch: u32, kept: Option<u128>, at: Timestamp },
    /// The role changed. The fields beside it are those of the holder, for lists of sellers.
    RoleGranted { user: UserId, role: Role, standing: Standing, created_at: Timestamp, epoch: u32 },
    /// The holder was erased here, with all sessions; traces elsewhere follow.
    ErasureBegun { user: UserId, by: UserId, epoch: u32, at: Timestamp },
    /// The traces elsewhere are erased, too; the address can be claimed again.
    Erased { at: Timestamp },
    /// The holder says something else of themselves.
    Revised { name: Option<Arc<str>>, contact: Option<Arc<str>>, version: u64 },
    /// An admin approved or refused the seller.
    SellerDecided { user: UserId, approval: Approval, by: UserId, note: Option<Arc<str>>, at: Timestamp },
    /// The key of a request was remembered.
    RequestNoted,
}

/// Why a command to an account was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum Rejection {
    /// Nobody has this address.
    #[error("no such account")]
    NotRegistered,
    /// Somebody else has this address. The rejection does not say who.
    #[error("the address is taken")]
    AlreadyRegistered,
    /// The session has ended, or never existed.
    #[error("the session has ended")]
    UnknownFamily { family: u128 },
    /// The session has expired, or would expire before it starts.
    #[error("the session expired at {} ms", expired_at.0)]
    FamilyExpired { family: u128, expired_at: Timestamp },
    /// The password, the role or the holder has changed since the password was verified.
    #[error("the account has changed; log in again")]
    EpochEnded,
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    #[error(transparent)]
    InvalidContact(#[from] InvalidContact),
    /// The profile has another version than the expected one.
    #[error("the profile has version {current}, not the expected one")]
    VersionMismatch { current: u64 },
    /// It is no seller.
    #[error("the account is no seller's")]
    NothingToDecide,
    /// The note is blank or too long, cannot be shown, or is missing.
    #[error(
        "a note has 1 to {} characters of text that can be shown, and a refusal needs one",
        order::REASON_CHARACTERS_MAX
    )]
    InvalidNote,
    /// The password hash is longer than any that the shop makes.
    #[error("a password hash has at most {bytes_max} bytes, not {bytes}")]
    PasswordHashTooLong { bytes: usize, bytes_max: usize },
    /// Who sold something is part of records that the operator has to keep, and admins have made decisions.
    #[error("only the accounts of customers are erased: records that have to be kept name sellers and admins")]
    NotACustomer,
    /// Every epoch was used. Wrapping round would make the oldest tokens valid again.
    #[error("the account was revoked too often")]
    EpochsExhausted,
}

fn check_password_hash(hash: &PasswordHash) -> Result<(), Rejection> {
    match hash.expose().len() {
        bytes if bytes > PASSWORD_HASH_BYTES_MAX => {
            Err(Rejection::PasswordHashTooLong { bytes, bytes_max: PASSWORD_HASH_BYTES_MAX })
        }
        _ => Ok(()),
    }
}

fn refresh(holder: &Holder, family: u128, counter: u64, now: Timestamp) -> Result<Option<Event>, Rejection> {
    // An unknown family is rejected without an event: otherwise the holder of an invalid token could write to the log
    // for ever.
    let known = holder.family(family).ok_or(Rejection::UnknownFamily { family })?;
    if known.expires_at.has_come(now) {
        return Err(Rejection::FamilyExpired { family, expired_at: known.expires_at });
    }
    if known.is_repeat(counter, now) {
        return Ok(None);
    }
    if counter == known.counter {
        return Ok(Some(Event::Rotated { family, counter: counter.saturating_add(1), at: now }));
    }
    // An older counter: the token was copied. A newer one: this state never issued it, so the state is older (a
    // restored backup).
    Ok(Some(Event::ReuseDetected { family, counter, at: now }))
}

fn change_password(
    holder: &Holder,
    password_hash: &PasswordHash,
    epoch: Option<u32>,
    keeps: Option<u128>,
    now: Timestamp,
) -> Result<Option<Event>, Rejection> {
    if *password_hash == holder.password_hash {
        return Ok(None);
    }
    if epoch.is_some_and(|epoch| epoch != holder.epoch) {
        return Err(Rejection::EpochEnded);
    }
    if let Some(family) = keeps {
        let known = holder.family(family).ok_or(Rejection::UnknownFamily { family })?;
        if known.expires_at.has_come(now) {
            return Err(Rejection::FamilyExpired { family, expired_at: known.expires_at });
        }
    }
    check_password_hash(password_hash)?;
    let (password_hash, epoch) = (password_hash.clone(), holder.epoch_next()?);
    Ok(Some(Event::PasswordChanged { password_hash, epoch, kept: keeps, at: now }))
}

fn revise(
    profile: &Profile,
    name: &Edit,
    contact: &Edit,
    expected_version: Option<u64>,
) -> Result<Option<Event>, Rejection> {
    if expected_version.is_some_and(|expected| expected != profile.version) {
        return Err(Rejection::VersionMismatch { current: profile.version });
    }
    let (name, contact) = profile.edited(name, contact);
    check_optional_name(name.as_deref())?;
    check_contact(contact.as_deref())?;
    let is_same = name == profile.name && contact == profile.contact;
    Ok((!is_same).then(|| Event::Revised { name, contact, version: profile.version.saturating_add(1) }))
}

fn decide_seller(
    holder: &Holder,
    approval: Approval,
    by: UserId,
    note: Option<&Arc<str>>,
    now: Timestamp,
) -> Result<Option<Event>, Rejection> {
    if holder.role != Role::Seller {
        return Err(Rejection::NothingToDecide);
    }
    let has_said_so = || holder.decision.as_deref().is_some_and(|decision| decision.note.as_ref() == note);
    if holder.standing == approval.into() && (note.is_none() || has_said_so()) {
        return Ok(None);
    }
    match (note, approval) {
        (Some(note), _) => order::check_note(note).map_err(|_| Rejection::InvalidNote)?,
        (None, Approval::Approved) => {}
        (None, Approval::Refused) => return Err(Rejection::InvalidNote),
    }
    Ok(Some(Event::SellerDecided { user: holder.user, approval, by, note: note.cloned(), at: now }))
}

impl Entity for Account {
    const KIND: Kind = Kind::Account;
    type Id = AccountId;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;
    type View = View;

    fn decide(&self, command: &Command, now: Timestamp) -> Result<Option<Event>, Rejection> {
        let registered = || self.holder.as_deref().ok_or(Rejection::NotRegistered);
        match command {
            Command::Register { user, role, password_hash, name, standing } => match self.holder.as_deref() {
                Some(holder) if holder.user == *user => Ok(None),
                Some(_) => Err(Rejection::AlreadyRegistered),
                None if self.is_being_erased() => Err(Rejection::AlreadyRegistered),
                None => {
                    check_password_hash(password_hash)?;
                    check_optional_name(name.as_deref())?;
                    let (user, role, standing) = (*user, *role, *standing);
                    let (password_hash, name) = (password_hash.clone(), name.clone());
                    Ok(Some(Event::Registered { user, role, password_hash, name, standing, at: now }))
                }
            },
            Command::StartSession { family, expires_at, epoch } => {
                let (holder, family, expires_at) = (registered()?, *family, *expires_at);
                match holder.family(family) {
                    Some(_) => Ok(None),
                    None if *epoch != holder.epoch => Err(Rejection::EpochEnded),
                    None if expires_at.has_come(now) => {
                        Err(Rejection::FamilyExpired { family, expired_at: expires_at })
                    }
                    None => Ok(Some(Event::SessionStarted { family, expires_at, at: now })),
                }
            }
            Command::Refresh { family, counter } => refresh(registered()?, *family, *counter, now),
            Command::EndSession { family } => {
                Ok(registered()?.family(*family).map(|known| Event::SessionEnded { family: known.family }))
            }
            Command::ChangePassword { password_hash, epoch, keeps } => {
                change_password(registered()?, password_hash, *epoch, *keeps, now)
            }
            Command::Revise { name, contact, expected_version } => {
                revise(&registered()?.profile, name, contact, *expected_version)
            }
            Command::GrantRole { role } => match registered()? {
                holder if holder.role == *role => Ok(None),
                holder => {
                    let Holder { user, standing, created_at, .. } = *holder;
                    let epoch = holder.epoch_next()?;
                    Ok(Some(Event::RoleGranted { user, role: *role, standing, created_at, epoch }))
                }
            },
            Command::DecideSeller { seller, approval, by, note } => match registered()? {
                holder if holder.user != *seller => Err(Rejection::NotRegistered),
                holder => decide_seller(holder, *approval, *by, note.as_ref(), now),
            },
            Command::NoteRequest => registered().map(|_| Some(Event::RequestNoted)),
            Command::BeginErasure { by } => match self.holder.as_deref() {
                Some(holder) if holder.role != Role::Customer => Err(Rejection::NotACustomer),
                Some(Holder { user, .. }) => {
                    let epoch = registered()?.epoch_next()?;
                    Ok(Some(Event::ErasureBegun { user: *user, by: *by, epoch, at: now }))
                }
                None if self.former.is_some() => Ok(None),
                None => Err(Rejection::NotRegistered),
            },
            Command::FinishErasure => Ok(self.is_being_erased().then_some(Event::Erased { at: now })),
        }
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Registered { user, role, password_hash, name, standing, at } => {
                assert!(self.holder.is_none(), "an address is claimed once");
                self.holder = Some(Arc::new(Holder {
                    user: *user,
                    role: *role,
                    password_hash: password_hash.clone(),
                    profile: Profile { name: name.clone(), contact: None, version: 1 },
                    standing: *standing,
                    decision: None,
                    created_at: *at,
                    epoch: self.former.as_ref().map_or(0, |former| former.epoch),
                    families: Vec::new(),
                    replaced: Vec::new(),
                    counter_floor: 0,
                }));
            }
            Event::SessionStarted { family, expires_at, at } => {
                let holder = self.registered_mut();
                holder.make_room(*at);
                let (family, counter, started_at) = (*family, holder.counter_floor, *at);
                holder.families.push(Family { family, counter, started_at, rotated_at: None, expires_at: *expires_at });
            }
            Event::Rotated { family, counter, at } => {
                let families = &mut self.registered_mut().families;
                let Some(known) = families.iter_mut().find(|known| known.family == *family) else {
                    panic!("only a live session rotates");
                };
                assert!(*counter > known.counter, "a counter only grows");
                known.counter = *counter;
                known.rotated_at = Some(*at);
            }
            Event::ReuseDetected { family, .. } | Event::SessionEnded { family } => {
                self.registered_mut().end_families(|known| known.family == *family);
            }
            Event::PasswordChanged { password_hash, epoch, kept, at } => {
                let holder = self.registered_mut();
                holder.end_families(|known| Some(known.family) != *kept);
                // Whoever has a copy of the refresh token is out, too. It is neither the valid one nor the one before
                // it, which would be taken for the repeat of an unanswered request.
                for known in &mut holder.families {
                    known.counter = known.counter.saturating_add(2);
                    known.rotated_at = Some(*at);
                }
                holder.epoch = *epoch;
                holder.password_hash = password_hash.clone();
            }
            Event::Revised { name, contact, version } => {
                let (name, contact) = (name.clone(), contact.clone());
                self.registered_mut().profile = Profile { name, contact, version: *version };
            }
            Event::RoleGranted { role, epoch, .. } => {
                let holder = self.registered_mut();
                holder.role = *role;
                holder.epoch = *epoch;
            }
            Event::SellerDecided { approval, by, note, at, .. } => {
                let holder = self.registered_mut();
                holder.standing = (*approval).into();
                holder.decision = Some(Arc::new(Decision { by: *by, note: note.clone(), at: *at }));
            }
            Event::ErasureBegun { user, epoch, .. } => {
                self.holder = None;
                self.former = Some(Former { epoch: *epoch, under_way: Some(*user) });
            }
            Event::RequestNoted => {}
            Event::Erased { .. } => {
                self.former.as_mut().expect("an erasure begins before it ends").under_way = None;
            }
        }
    }

    /// The end of an erasure also removes the user's id, which leads from the address to the orders.
    fn erases(event: &Event) -> bool {
        matches!(event, Event::ErasureBegun { .. } | Event::Erased { .. })
    }

    fn view(&self) -> View {
        View { holder: self.holder.clone(), former: self.former }
    }

    fn view_bytes(view: &View) -> usize {
        let of_holder = |holder: &Arc<Holder>| {
            size_of::<Holder>()
                + holder.password_hash.expose().len()
                + holder.profile.bytes()
                + holder.decision.as_deref().map_or(0, Decision::bytes)
                + holder.families.capacity() * size_of::<Family>()
                + holder.replaced.capacity() * size_of::<u128>()
        };
        size_of::<View>() + view.holder.as_ref().map_or(0, of_holder)
    }
}

#[cfg(test)]
mod tests;
