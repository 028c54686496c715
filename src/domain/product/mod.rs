//! A product: what it is called, what it costs, who sells it. Its stock is another entity
//! ([`crate::domain::inventory`]), so that an edit of a description never waits for a sale.
//!
//! A product without a price is listed and found, but cannot be bought. A product with variants is a page about them:
//! each variant is a product of its own (own id, price and stock) that names its parent in `variant_of`; search shows
//! the parent, carts contain the variant.
//!
//! Depends on `std`, `serde` and its neighbours.

mod details;
mod kept;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::details::{
    ALT_CHARACTERS_MAX, ATTRIBUTES_MAX, DESCRIPTION_BYTES_MAX, Details, Field, ImportedRating, InvalidDetails,
    PICTURES_MAX, Picture, PictureSource, Rule, TEXT_BYTES_MAX, TITLE_BYTES_MAX, VARIANTS_MAX, Variant,
};
pub use self::kept::Kept;
use crate::domain::{
    entity::{Entity, Kind, Timestamp},
    ids::{ProductId, SellerId},
};

/// Somebody who edits products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Editor {
    /// A seller, who may edit its own products only.
    Seller(SellerId),
    /// An admin, who may edit all of them. What an admin creates belongs to this seller.
    Admin(SellerId),
}

impl Editor {
    /// The seller of what this editor creates.
    #[must_use]
    pub fn seller(self) -> SellerId {
        match self {
            Self::Seller(seller) | Self::Admin(seller) => seller,
        }
    }

    /// Whether this editor may change what belongs to `owner`.
    #[must_use]
    pub fn may_edit(self, owner: SellerId) -> bool {
        match self {
            Self::Seller(seller) => seller == owner,
            Self::Admin(_) => true,
        }
    }
}

/// A command to a product.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Command {
    /// Create the product. A repeat with the same details changes nothing.
    Create {
        /// The editor, who becomes the owner.
        by: Editor,
        details: Arc<Details>,
    },
    /// Replace the details, and list the product again if it was delisted.
    Revise {
        by: Editor,
        details: Arc<Details>,
        /// The version that the editor saw; if the product has another one, the command is rejected.
        expected_version: Option<u64>,
    },
    /// Create the product or replace its details, as an import does.
    Put { by: Editor, details: Arc<Details> },
    /// Take the product out of the shop. Past orders still refer to it.
    Delist {
        by: Editor,
        /// The version that the editor saw; if the product has another one, the command is rejected.
        expected_version: Option<u64>,
    },
}

/// An event of a product. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    /// The product was created, changed or listed again.
    Listed { seller: SellerId, details: Arc<Details>, at: Timestamp },
    /// The product was taken out of the shop.
    Delisted { at: Timestamp },
}

/// Why a command to a product was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum Rejection {
    /// The product does not exist, or not any more.
    #[error("there is no such product")]
    NotFound,
    /// The id is taken by a product with other details.
    #[error("a product with this id exists")]
    AlreadyExists,
    /// It belongs to another seller.
    #[error("the product belongs to another seller")]
    NotOwner,
    /// The product has changed since the editor read it.
    #[error("the product is at version {current}")]
    VersionMismatch { current: u64 },
    /// A field violates its rule.
    #[error(transparent)]
    Invalid(#[from] InvalidDetails),
    /// An import would take it away from the page that lists it.
    #[error("it is a variant of {parent}, which lists it; take it out of there first, or give it another id")]
    VariantOfOther { parent: ProductId },
}

/// The state of a product, folded from its events.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Product {
    page: Option<Page>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Page {
    seller: SellerId,
    details: Arc<Details>,
    listed: bool,
    version: u64,
    changed_at: Timestamp,
}

/// A product as readers see it.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub struct View {
    pub seller: SellerId,
    pub details: Arc<Details>,
    /// Whether it is in the shop; a delisted product is visible to its seller only.
    pub listed: bool,
    /// Grows by one with every change; part of the ETag.
    pub version: u64,
    pub changed_at: Timestamp,
}

impl Product {
    fn editable(&self, by: Editor, expected_version: Option<u64>) -> Result<&Page, Rejection> {
        let page = self.page.as_ref().ok_or(Rejection::NotFound)?;
        if !by.may_edit(page.seller) {
            return Err(Rejection::NotOwner);
        }
        match expected_version {
            Some(expected) if expected != page.version => Err(Rejection::VersionMismatch { current: page.version }),
            Some(_) | None => Ok(page),
        }
    }

    fn list(&self, seller: SellerId, details: &Arc<Details>, now: Timestamp) -> Result<Option<Event>, Rejection> {
        details.validate()?;
        let same = |page: &Page| page.listed && page.details == *details;
        if self.page.as_ref().is_some_and(same) {
            return Ok(None);
        }
        Ok(Some(Event::Listed { seller, details: Arc::clone(details), at: now }))
    }
}

impl Entity for Product {
    const KIND: Kind = Kind::Product;
    type Id = ProductId;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;
    type View = Option<View>;

    fn decide(&self, command: &Command, now: Timestamp) -> Result<Option<Event>, Rejection> {
        match command {
            Command::Create { by, details } => match &self.page {
                None => self.list(by.seller(), details, now),
                Some(page) if page.seller == by.seller() && page.listed && page.details == *details => Ok(None),
                Some(_) => Err(Rejection::AlreadyExists),
            },
            Command::Revise { by, details, expected_version } => {
                let seller = self.editable(*by, *expected_version)?.seller;
                self.list(seller, details, now)
            }
            Command::Put { by, details } => {
                let seller = match &self.page {
                    None => by.seller(),
                    Some(_) => self.editable(*by, None)?.seller,
                };
                self.list(seller, details, now)
            }
            Command::Delist { by, expected_version } => {
                let listed = self.editable(*by, *expected_version)?.listed;
                Ok(listed.then_some(Event::Delisted { at: now }))
            }
        }
    }

    fn apply(&mut self, event: &Event) {
        let version = self.page.as_ref().map_or(0, |page| page.version) + 1;
        match event {
            Event::Listed { seller, details, at } => {
                let (seller, details, changed_at) = (*seller, Arc::clone(details), *at);
                self.page = Some(Page { seller, details, listed: true, version, changed_at });
            }
            Event::Delisted { at } => {
                let page = self.page.as_mut().expect("only an existing product is delisted");
                page.listed = false;
                page.version = version;
                page.changed_at = *at;
            }
        }
    }

    fn view(&self) -> Option<View> {
        self.page.as_ref().map(|page| View {
            seller: page.seller,
            details: Arc::clone(&page.details),
            listed: page.listed,
            version: page.version,
            changed_at: page.changed_at,
        })
    }

    fn view_bytes(view: &Option<View>) -> usize {
        let texts = |pairs: &[(String, String)]| pairs.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        view.as_ref().map_or(0, |view| {
            let details = &view.details;
            let attributes: usize = texts(&details.attributes);
            let variants: usize = details.variants.iter().map(|variant| 64 + texts(&variant.options)).sum::<usize>();
            let category: usize = details.category.iter().map(|text| text.len() + 24).sum();
            let pictures: usize = details.pictures.iter().chain(&details.thumbnail).map(Picture::bytes).sum();
            300 + details.title.len() + details.description.len() + attributes + variants + category + pictures
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::{Currency, Money};

    const SELLER: Editor = Editor::Seller(SellerId(1));
    const NOW: Timestamp = Timestamp(1_000);

    pub(crate) fn details(title: &str) -> Arc<Details> {
        Arc::new(Details {
            title: title.into(),
            description: "A description".into(),
            brand: Some("Acme".into()),
            category: vec!["Electronics".into(), "Phones".into()],
            price: Some(Money::new(129_900, Currency::INR).unwrap()),
            thumbnail: None,
            pictures: vec![Picture::at("https://images.example/1.jpg")],
            attributes: vec![("colour".into(), "black".into())],
            imported_rating: None,
            variant_of: None,
            variants: Vec::new(),
        })
    }

    fn given(commands: &[Command]) -> Product {
        let mut product = Product::default();
        for command in commands {
            if let Some(event) = product.decide(command, NOW).unwrap() {
                product.apply(&event);
            }
        }
        product
    }

    fn create(title: &str) -> Command {
        Command::Create { by: SELLER, details: details(title) }
    }

    #[test]
    fn a_repeated_creation_changes_nothing_and_another_is_refused() {
        let product = given(&[create("Phone")]);
        assert_eq!(product.view().unwrap().version, 1);
        assert_eq!(product.decide(&create("Phone"), NOW), Ok(None));
        assert_eq!(product.decide(&create("Other"), NOW), Err(Rejection::AlreadyExists));
    }

    #[test]
    fn only_the_seller_or_an_admin_changes_a_product() {
        let product = given(&[create("Phone")]);
        let revise = |by| Command::Revise { by, details: details("Phone 2"), expected_version: None };
        assert_eq!(product.decide(&revise(Editor::Seller(SellerId(2))), NOW), Err(Rejection::NotOwner));
        let event = product.decide(&revise(Editor::Admin(SellerId(3))), NOW).unwrap().unwrap();
        assert!(matches!(event, Event::Listed { seller: SellerId(1), .. }), "the owner stays");
    }

    #[test]
    fn an_edit_of_a_version_that_is_gone_is_refused() {
        let product = given(&[create("Phone")]);
        let delist = |version| Command::Delist { by: SELLER, expected_version: Some(version) };
        assert_eq!(product.decide(&delist(7), NOW), Err(Rejection::VersionMismatch { current: 1 }));
        assert!(product.decide(&delist(1), NOW).unwrap().is_some());
    }

    #[test]
    fn a_delisted_product_comes_back_with_an_import() {
        let delist = Command::Delist { by: SELLER, expected_version: None };
        let put = Command::Put { by: SELLER, details: details("Phone") };
        let product = given(&[create("Phone"), delist.clone()]);
        assert!(!product.view().unwrap().listed);
        assert_eq!(product.decide(&delist, NOW), Ok(None));
        let product = given(&[create("Phone"), delist, put.clone()]);
        assert!(product.view().unwrap().listed);
        assert_eq!(product.decide(&put, NOW), Ok(None));
    }

    #[test]
    fn limits_are_kept() {
        let mut long = (*details("Phone")).clone();
        long.title = "x".repeat(TITLE_BYTES_MAX + 1);
        let refused = Product::default().decide(&Command::Create { by: SELLER, details: long.into() }, NOW);
        assert!(matches!(refused, Err(Rejection::Invalid(InvalidDetails { field: Field::Title, .. }))));
    }
}
