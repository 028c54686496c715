//! The account: who somebody is, what they may do, and which of their sessions are alive.
//!
//! Its id is a keyed hash of the e-mail address, so registering is a claim on that address and two people cannot both
//! have it. A session is a *family* of refresh tokens: each use moves the family's counter on, so a token seen a second
//! time tells that somebody copied it. Failed logins are not remembered here: a guesser could then lock the owner out
//! and grow the log, so slowing guessers down is left to the edge. Who is erased is gone from here at once; that their
//! traces elsewhere are still to be erased is remembered until they are. Depends on `std`, `serde` and `thiserror`.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::domain::{
    entity::{Entity, Kind, Timestamp},
    ids::{AccountId, UserId},
};

/// How many sessions an account has at once; one more drops the one unused for longest. Bounds the state: more devices
/// than most people own, and few enough that an account stays under a kilobyte.
pub const FAMILIES_MAX: usize = 10;

/// For how long, in milliseconds, the token just spent may be shown again: a client whose answer got lost repeats
/// itself within seconds. Longer would only help a thief.
pub const REFRESH_REPEAT_MS_MAX: u64 = 10_000;

/// The longest display name, in characters: what fits a line of an invoice.
pub const NAME_CHARACTERS_MAX: usize = 100;

/// The longest stored password hash, in bytes. An argon2id PHC string has 97.
pub const PASSWORD_HASH_BYTES_MAX: usize = 256;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Buys.
    Customer,
    /// Also keeps products and stock.
    Seller,
    /// Also runs the shop.
    Admin,
}

/// A password's hash as a PHC string. It never shows in logs: a leaked hash can be guessed at leisure.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash(Arc<str>);

impl PasswordHash {
    /// Wraps a PHC string; how it is made is `identity`'s affair.
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

/// A session: one login on one device, and the refresh tokens that descend from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// Its name, random.
    pub family: u128,
    /// The counter of the one refresh token that is good now. 64 bits, so it cannot run out.
    pub counter: u64,
    /// When its owner logged in.
    pub started_at: Timestamp,
    /// When the counter last moved, if ever.
    pub rotated_at: Option<Timestamp>,
    /// When it ends, however often it is used.
    pub expires_at: Timestamp,
}

impl Family {
    fn last_used_at(&self) -> Timestamp {
        self.rotated_at.unwrap_or(self.started_at)
    }

    /// Whether `counter` was spent so recently that its holder may just be repeating an unanswered request.
    fn is_repeat(&self, counter: u64, now: Timestamp) -> bool {
        let recent = self.rotated_at.is_some_and(|at| now.ms_apart(at) <= REFRESH_REPEAT_MS_MAX);
        recent && counter.checked_add(1) == Some(self.counter)
    }
}

/// Everything about a registered account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Who it is, everywhere else in the shop.
    pub user: UserId,
    /// What they may do.
    pub role: Role,
    /// What their password is verified against.
    pub password_hash: PasswordHash,
    /// How they wish to be called.
    pub name: Option<Arc<str>>,
    /// When they registered.
    pub created_at: Timestamp,
    /// Access tokens of an earlier epoch are dead.
    pub epoch: u32,
    /// The live sessions, at most [`FAMILIES_MAX`], in the order they started.
    pub families: Vec<Family>,
    /// Above every counter of a family that has ended. New families begin here, so that a late repeat of a login cannot
    /// bring spent tokens back to life.
    counter_floor: u64,
}

impl Holder {
    /// The live session of this name.
    #[must_use]
    pub fn family(&self, family: u128) -> Option<&Family> {
        self.families.iter().find(|known| known.family == family)
    }

    /// After `Refresh { family, counter }` was accepted: the family whose successor token the caller hands out, or
    /// `None` where the token turned out to be stolen (or was overtaken) and the caller gets nothing.
    #[must_use]
    pub fn successor(&self, family: u128, counter: u64) -> Option<&Family> {
        self.family(family).filter(|known| counter.checked_add(1) == Some(known.counter))
    }

    /// Whether an access token of this session and epoch is still good.
    #[must_use]
    pub fn honours(&self, family: u128, epoch: u32) -> bool {
        epoch >= self.epoch && self.family(family).is_some()
    }

    fn epoch_next(&self) -> Result<u32, Rejection> {
        self.epoch.checked_add(1).ok_or(Rejection::EpochsExhausted)
    }

    fn end_families(&mut self, ends: impl Fn(&Family) -> bool) {
        let ended = self.families.iter().filter(|family| ends(family));
        let floor = ended.map(|family| family.counter.saturating_add(1)).max().unwrap_or(0);
        self.counter_floor = self.counter_floor.max(floor);
        self.families.retain(|family| !ends(family));
    }

    fn revoke(&mut self, epoch: u32) {
        self.end_families(|_| true);
        self.epoch = epoch;
    }

    /// Makes room for one more session: those that expired go first, then the one unused for longest.
    fn make_room(&mut self, at: Timestamp) {
        self.end_families(|family| family.expires_at <= at);
        while self.families.len() >= FAMILIES_MAX {
            let unused = self.families.iter().min_by_key(|family| family.last_used_at()).map(|family| family.family);
            self.end_families(|family| Some(family.family) == unused);
        }
    }
}

/// What is left of a holder who was erased, or is being erased: nothing that says who it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// Whoever registers this address next begins here, so that no token of the former holder comes back to life.
    pub epoch: u32,
    /// Whose traces elsewhere are still to be erased; `None` when all are.
    pub under_way: Option<UserId>,
}

/// What readers see of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Who has it; `None` until somebody registers, and from the moment in which they begin to be erased.
    pub holder: Option<Arc<Holder>>,
    /// What is left of the last holder who was erased.
    pub former: Option<Former>,
}

/// The entity: empty until somebody registers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Account {
    holder: Option<Arc<Holder>>,
    former: Option<Former>,
}

impl Account {
    fn is_being_erased(&self) -> bool {
        self.former.as_ref().is_some_and(|former| former.under_way.is_some())
    }

    /// The registered account, for every event after the first.
    fn registered_mut(&mut self) -> &mut Holder {
        match &mut self.holder {
            Some(holder) => Arc::make_mut(holder),
            None => panic!("an account begins with its registration"),
        }
    }
}

/// What an account can be asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Claim the address. A repeat is known by its user id.
    Register {
        /// The new user's id.
        user: UserId,
        /// What they may do.
        role: Role,
        /// Of their password.
        password_hash: PasswordHash,
        /// How they wish to be called.
        name: Option<Arc<str>>,
    },
    /// Log in, with a password that was verified.
    StartSession {
        /// The session's random name; a repeat is known by it.
        family: u128,
        /// When the session ends, however often it is used.
        expires_at: Timestamp,
    },
    /// Spend a refresh token. What came of it is in the view: see [`Holder::successor`].
    Refresh {
        /// The token's session.
        family: u128,
        /// The token's counter.
        counter: u64,
    },
    /// Log out one session.
    EndSession {
        /// Which.
        family: u128,
    },
    /// Log out everywhere, at once. A repeat does it again, which costs at most another login.
    RevokeAll,
    /// Set a new password, which logs out everywhere: whoever knew the old one is out. A repeat is known by its salted
    /// hash.
    ChangePassword {
        /// Of the new password.
        password_hash: PasswordHash,
    },
    /// Change what they may do, from this moment: sessions stay, access tokens with the old role die.
    GrantRole {
        /// The new role.
        role: Role,
    },
    /// Erase the holder: here at once, and from now on everywhere else.
    BeginErasure {
        /// Who wants it: the holder, or an admin.
        by: UserId,
    },
    /// Nothing of the holder is left elsewhere.
    FinishErasure,
}

/// What can have happened to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // The fields are those of the commands; `at` is when, `epoch` and `counter` are the new values.
pub enum Event {
    /// The address was claimed.
    Registered { user: UserId, role: Role, password_hash: PasswordHash, name: Option<Arc<str>>, at: Timestamp },
    /// Somebody logged in.
    SessionStarted { family: u128, expires_at: Timestamp, at: Timestamp },
    /// A refresh token was spent.
    Rotated { family: u128, counter: u64, at: Timestamp },
    /// A refresh token came back after it was spent: there are two holders, so the session ends for both.
    ReuseDetected { family: u128, counter: u64, at: Timestamp },
    /// A session was logged out.
    SessionEnded { family: u128 },
    /// All sessions were logged out.
    RevokedAll { epoch: u32 },
    /// The password changed and all sessions were logged out.
    PasswordChanged { password_hash: PasswordHash, epoch: u32 },
    /// The role changed.
    RoleGranted { role: Role, epoch: u32 },
    /// The holder is erased here, and all sessions with them; their traces elsewhere follow.
    ErasureBegun { user: UserId, by: UserId, epoch: u32, at: Timestamp },
    /// The traces elsewhere are erased, too; the address can be claimed again.
    Erased { at: Timestamp },
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// Nobody has this address.
    #[error("no such account")]
    NotRegistered,
    /// Somebody else has this address. Who is not said.
    #[error("the address is taken")]
    AlreadyRegistered,
    /// The session ended, or never was.
    #[error("the session has ended")]
    UnknownFamily {
        /// Which.
        family: u128,
    },
    /// The session is past its time, or would be from the start.
    #[error("the session expired at {} ms", expired_at.0)]
    FamilyExpired {
        /// Which.
        family: u128,
        /// When.
        expired_at: Timestamp,
    },
    /// The name is empty, too long or holds control characters.
    #[error("a name has 1 to {characters_max} printable characters, not {characters}")]
    InvalidName {
        /// How many it has.
        characters: usize,
        /// How many it may have.
        characters_max: usize,
    },
    /// The password hash is longer than any we make.
    #[error("a password hash has at most {bytes_max} bytes, not {bytes}")]
    PasswordHashTooLong {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        bytes_max: usize,
    },
    /// Sellers and admins are not erased: orders and products hang on them.
    #[error("only customers can be erased")]
    NotACustomer,
    /// Every epoch was used. Refused, because wrapping round would revive the oldest tokens.
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

fn check_name(name: Option<&str>) -> Result<(), Rejection> {
    let Some(name) = name else { return Ok(()) };
    let characters = name.chars().count();
    if name.trim().is_empty() || characters > NAME_CHARACTERS_MAX || name.chars().any(char::is_control) {
        return Err(Rejection::InvalidName { characters, characters_max: NAME_CHARACTERS_MAX });
    }
    Ok(())
}

fn refresh(holder: &Holder, family: u128, counter: u64, now: Timestamp) -> Result<Option<Event>, Rejection> {
    // An unknown family is refused and not recorded: otherwise whoever holds a dead token could write to the log for
    // ever.
    let known = holder.family(family).ok_or(Rejection::UnknownFamily { family })?;
    if known.expires_at <= now {
        return Err(Rejection::FamilyExpired { family, expired_at: known.expires_at });
    }
    if known.is_repeat(counter, now) {
        return Ok(None);
    }
    if counter == known.counter {
        return Ok(Some(Event::Rotated { family, counter: counter.saturating_add(1), at: now }));
    }
    // Older: it was copied. Newer: this state never issued it, so it is older than the world (a restored backup).
    Ok(Some(Event::ReuseDetected { family, counter, at: now }))
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
            Command::Register { user, role, password_hash, name } => match self.holder.as_deref() {
                Some(holder) if holder.user == *user => Ok(None),
                Some(_) => Err(Rejection::AlreadyRegistered),
                None if self.is_being_erased() => Err(Rejection::AlreadyRegistered),
                None => {
                    check_password_hash(password_hash)?;
                    check_name(name.as_deref())?;
                    let (password_hash, name) = (password_hash.clone(), name.clone());
                    Ok(Some(Event::Registered { user: *user, role: *role, password_hash, name, at: now }))
                }
            },
            Command::StartSession { family, expires_at } => match registered()?.family(*family) {
                Some(_) => Ok(None),
                None if *expires_at <= now => {
                    Err(Rejection::FamilyExpired { family: *family, expired_at: *expires_at })
                }
                None => Ok(Some(Event::SessionStarted { family: *family, expires_at: *expires_at, at: now })),
            },
            Command::Refresh { family, counter } => refresh(registered()?, *family, *counter, now),
            Command::EndSession { family } => {
                Ok(registered()?.family(*family).map(|known| Event::SessionEnded { family: known.family }))
            }
            Command::RevokeAll => Ok(Some(Event::RevokedAll { epoch: registered()?.epoch_next()? })),
            Command::ChangePassword { password_hash } => {
                let holder = registered()?;
                if *password_hash == holder.password_hash {
                    return Ok(None);
                }
                check_password_hash(password_hash)?;
                let (password_hash, epoch) = (password_hash.clone(), holder.epoch_next()?);
                Ok(Some(Event::PasswordChanged { password_hash, epoch }))
            }
            Command::GrantRole { role } => match registered()? {
                holder if holder.role == *role => Ok(None),
                holder => Ok(Some(Event::RoleGranted { role: *role, epoch: holder.epoch_next()? })),
            },
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
            Event::Registered { user, role, password_hash, name, at } => {
                assert!(self.holder.is_none(), "an address is claimed once");
                self.holder = Some(Arc::new(Holder {
                    user: *user,
                    role: *role,
                    password_hash: password_hash.clone(),
                    name: name.clone(),
                    created_at: *at,
                    epoch: self.former.as_ref().map_or(0, |former| former.epoch),
                    families: Vec::new(),
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
            Event::RevokedAll { epoch } => self.registered_mut().revoke(*epoch),
            Event::PasswordChanged { password_hash, epoch } => {
                let holder = self.registered_mut();
                holder.revoke(*epoch);
                holder.password_hash = password_hash.clone();
            }
            Event::RoleGranted { role, epoch } => {
                let holder = self.registered_mut();
                holder.role = *role;
                holder.epoch = *epoch;
            }
            Event::ErasureBegun { user, epoch, .. } => {
                self.holder = None;
                self.former = Some(Former { epoch: *epoch, under_way: Some(*user) });
            }
            Event::Erased { .. } => {
                self.former.as_mut().expect("an erasure begins before it ends").under_way = None;
            }
        }
    }

    /// With the end of an erasure also the user goes, which leads from the address to the orders.
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
                + holder.name.as_deref().map_or(0, str::len)
                + holder.families.capacity() * size_of::<Family>()
        };
        size_of::<View>() + view.holder.as_ref().map_or(0, of_holder)
    }
}

#[cfg(test)]
mod tests;
