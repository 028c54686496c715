//! What a holder says of themselves: a name, and how to be reached.
//!
//! Depends on `std`, `serde`, `thiserror` and its neighbours.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::{
    name::{InvalidName, check_name},
    text::{Lines, is_blank, is_clean},
};

/// The longest contact, in characters: an address or a few numbers.
pub const CONTACT_CHARACTERS_MAX: usize = 200;

/// What a holder says of themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The name by which to address them.
    pub name: Option<Arc<str>>,
    /// How to reach them beside the e-mail address, such as a telephone number.
    pub contact: Option<Arc<str>>,
    /// Grows with every change.
    pub version: u64,
}

/// What becomes of a part of the profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Edit {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is removed.
    Remove,
    /// It is replaced. A text that shows nothing removes it.
    Set(Arc<str>),
}

/// The contact is too long, or cannot be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("a contact has at most {CONTACT_CHARACTERS_MAX} printable characters")]
pub struct InvalidContact;

impl Edit {
    fn of(&self, before: Option<&Arc<str>>) -> Option<Arc<str>> {
        match self {
            Self::Keep => before.cloned(),
            Self::Remove => None,
            Self::Set(text) => Some(Arc::clone(text)).filter(|text| !is_blank(text)),
        }
    }
}

impl Profile {
    /// The name and the contact after these edits.
    pub(super) fn edited(&self, name: &Edit, contact: &Edit) -> (Option<Arc<str>>, Option<Arc<str>>) {
        (name.of(self.name.as_ref()), contact.of(self.contact.as_ref()))
    }

    pub(super) fn bytes(&self) -> usize {
        self.name.as_deref().map_or(0, str::len) + self.contact.as_deref().map_or(0, str::len)
    }
}

/// Checks a name, if there is one.
pub(super) fn check_optional_name(name: Option<&str>) -> Result<(), InvalidName> {
    name.map_or(Ok(()), check_name)
}

/// Checks a contact, if there is one.
pub(super) fn check_contact(contact: Option<&str>) -> Result<(), InvalidContact> {
    let fits = |contact: &str| is_clean(contact, Lines::One) && contact.chars().count() <= CONTACT_CHARACTERS_MAX;
    if contact.is_none_or(fits) { Ok(()) } else { Err(InvalidContact) }
}
