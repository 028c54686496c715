//! A seller: an id that products and orders refer to, and the name that shoppers see.
//!
//! A seller is not an account: it has a name of its own, and may have several accounts later. For now each account acts
//! for one seller, whose id has the same number as the account's user ([`SellerId::of`]).
//!
//! Depends on `std`, `serde` and its neighbours.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::{
    entity::{Entity, Kind, Timestamp},
    ids::SellerId,
    name::{InvalidName, check_name},
};

/// A command to a seller.
#[derive(Debug, Clone)]
pub enum Command {
    /// Sets the name. The first name creates the seller.
    Name(Arc<str>),
    /// Removes the name, which may be a person's, because the account that acts for the seller is being erased.
    Erase,
}

/// An event of a seller. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    Named { name: Arc<str>, at: Timestamp },
    Erased { at: Timestamp },
}

/// Why a command to a seller was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    #[error(transparent)]
    #[allow(missing_docs, reason = "the name says it")]
    InvalidName(#[from] InvalidName),
    /// The account that acted for the seller is erased.
    #[error("the seller is erased")]
    Erased,
}

/// A seller. It has no name until it is given one; its products can be sold all the same.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Seller {
    name: Option<Arc<str>>,
    version: u64,
    erased: bool,
}

/// A seller as readers see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// `None` if the seller was never given a name, or is erased.
    pub name: Option<Arc<str>>,
    /// Grows with every change.
    pub version: u64,
}

impl Entity for Seller {
    const KIND: Kind = Kind::Seller;
    type Id = SellerId;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;
    type View = View;

    fn decide(&self, command: &Command, now: Timestamp) -> Result<Option<Event>, Rejection> {
        match command {
            Command::Name(_) if self.erased => Err(Rejection::Erased),
            Command::Name(name) => {
                check_name(name)?;
                let same = self.name.as_ref() == Some(name);
                Ok((!same).then(|| Event::Named { name: Arc::clone(name), at: now }))
            }
            Command::Erase => Ok((!self.erased && self.version > 0).then_some(Event::Erased { at: now })),
        }
    }

    fn apply(&mut self, event: &Event) {
        self.version += 1;
        match event {
            Event::Named { name, .. } => self.name = Some(Arc::clone(name)),
            Event::Erased { .. } => {
                self.name = None;
                self.erased = true;
            }
        }
    }

    fn erases(event: &Event) -> bool {
        matches!(event, Event::Erased { .. })
    }

    fn view(&self) -> View {
        View { name: self.name.clone(), version: self.version }
    }

    fn view_bytes(view: &View) -> usize {
        size_of::<View>() + view.name.as_ref().map_or(0, |name| name.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1);

    fn name(name: &str) -> Command {
        Command::Name(name.into())
    }

    fn given(commands: &[Command]) -> Seller {
        let mut seller = Seller::default();
        for command in commands {
            let event = seller.decide(command, NOW).unwrap().expect("a change");
            seller.apply(&event);
            assert_eq!(seller.decide(command, NOW).ok(), Some(None), "a repeat");
        }
        seller
    }

    #[test]
    fn the_last_name_counts() {
        let seller = given(&[name("Asha's Teapots"), name("Teapots of Pune")]);
        assert_eq!(seller.view(), View { name: Some("Teapots of Pune".into()), version: 2 });
    }

    #[test]
    fn a_name_that_breaks_the_rule_is_rejected() {
        assert_eq!(Seller::default().decide(&name(" "), NOW), Err(Rejection::InvalidName(InvalidName)));
    }

    #[test]
    fn an_erased_seller_has_no_name_and_gets_none() {
        let seller = given(&[name("Asha Rao"), Command::Erase]);
        assert_eq!(seller.view().name, None);
        assert_eq!(seller.decide(&name("Asha Rao"), NOW), Err(Rejection::Erased));
        assert_eq!(Seller::default().decide(&Command::Erase, NOW), Ok(None), "nothing to erase");
    }
}
