//! A product as the catalogue knows it: what it is called, what it costs, who sells it. Its stock is another entity
//! ([`crate::domain::inventory`]), so that an edit of a description never waits for a sale.
//!
//! A product without a price is listed and found, but cannot be bought. A product with variants is a page about them: each
//! variant is a product of its own (own id, price and stock) that names its parent in `variant_of`; search shows the parent,
//! carts hold the variant.
//!
//! Depends on `std`, `serde` and its neighbours.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::domain::{
    entity::{Entity, Kind, Timestamp},
    ids::{ProductId, UserId},
    money::Money,
};

/// The longest title, in bytes. The longest seen in four real catalogues has 259.
pub const TITLE_BYTES_MAX: usize = 2_000;
/// The longest description, in bytes: a long page of text.
pub const DESCRIPTION_BYTES_MAX: usize = 32 * 1024;
/// The longest brand, category name, attribute name or value, and URL, in bytes.
pub const TEXT_BYTES_MAX: usize = 1_000;
/// The most levels of a category path.
pub const CATEGORY_LEVELS_MAX: usize = 10;
/// The most pictures of one product.
pub const IMAGES_MAX: usize = 20;
/// The most attributes of one product. The richest seen in four real catalogues has 66.
pub const ATTRIBUTES_MAX: usize = 200;
/// The most variants of one product.
pub const VARIANTS_MAX: usize = 500;

/// What a seller says about a product. Stored as it stands; the order of the fields is part of the stored form.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The name shown in lists.
    pub title: String,
    /// A longer text, possibly empty.
    pub description: String,
    /// The brand, where there is one.
    pub brand: Option<String>,
    /// The path of the category, top level first; possibly empty.
    pub category: Vec<String>,
    /// The price of one; without it the product cannot be bought.
    pub price: Option<Money>,
    /// URL of a small picture.
    pub thumbnail_url: Option<String>,
    /// URLs of pictures, the main one first.
    pub images: Vec<String>,
    /// Names and values, such as `colour: black`.
    pub attributes: Vec<(String, String)>,
    /// A rating brought along from another system.
    pub imported_rating: Option<ImportedRating>,
    /// The product whose variant this is.
    pub variant_of: Option<ProductId>,
    /// The variants of this product; where there are any, one of them is bought, never the product itself.
    pub variants: Vec<Variant>,
}

/// A rating brought along from another system: it counts in the average beside the reviews written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedRating {
    /// The average in hundredths of a star, 0 to 500.
    pub average_hundredths: u16,
    /// How many ratings the average is of.
    pub count: u32,
}

/// One variant in its parent's page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// The product to put into the cart.
    pub product: ProductId,
    /// What distinguishes it, such as `size: M, colour: black`.
    pub options: Vec<(String, String)>,
}

/// A field of [`Details`] that does not keep to its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{field} {rule}")]
#[allow(missing_docs, reason = "the names say it")]
pub struct InvalidDetails {
    pub field: Field,
    pub rule: Rule,
}

/// A field of [`Details`] that has a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Field {
    Title,
    Description,
    Brand,
    Category,
    ThumbnailUrl,
    Images,
    Attributes,
    Rating,
    Variants,
}

impl Field {
    /// Its name in JSON and in catalogue files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Description => "description",
            Self::Brand => "brand",
            Self::Category => "category",
            Self::ThumbnailUrl => "thumbnail_url",
            Self::Images => "images",
            Self::Attributes => "attributes",
            Self::Rating => "rating",
            Self::Variants => "variants",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a field of [`Details`] must keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum Rule {
    #[error("must not be empty")]
    NotEmpty,
    #[error("must be at most {0} bytes")]
    BytesMax(usize),
    #[error("must be 1 to {0} bytes where given")]
    TextWhereGiven(usize),
    #[error("must be at most {0}")]
    CountMax(usize),
    #[error("must have at most {0} levels")]
    LevelsMax(usize),
    #[error("must have names of 1 to {0} bytes")]
    Names(usize),
    #[error("must be URLs of 1 to {0} bytes")]
    Urls(usize),
    #[error("must have names and values of 1 to {0} bytes")]
    NamesAndValues(usize),
    #[error("must have options of 1 to {0} bytes")]
    Options(usize),
    #[error("must be between 0 and 5")]
    Stars,
    #[error("cannot have variants themselves")]
    NoVariantsOfVariants,
}

impl Details {
    /// Holds every field against its limits.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn validate(&self) -> Result<(), InvalidDetails> {
        let fits = |text: &String| !text.trim().is_empty() && text.len() <= TEXT_BYTES_MAX;
        let pairs_fit = |pairs: &[(String, String)]| pairs.iter().all(|(name, value)| fits(name) && fits(value));
        let rules = [
            (!self.title.trim().is_empty(), Field::Title, Rule::NotEmpty),
            (self.title.len() <= TITLE_BYTES_MAX, Field::Title, Rule::BytesMax(TITLE_BYTES_MAX)),
            (
                self.description.len() <= DESCRIPTION_BYTES_MAX,
                Field::Description,
                Rule::BytesMax(DESCRIPTION_BYTES_MAX),
            ),
            (self.brand.iter().all(fits), Field::Brand, Rule::TextWhereGiven(TEXT_BYTES_MAX)),
            (self.category.len() <= CATEGORY_LEVELS_MAX, Field::Category, Rule::LevelsMax(CATEGORY_LEVELS_MAX)),
            (self.category.iter().all(fits), Field::Category, Rule::Names(TEXT_BYTES_MAX)),
            (self.thumbnail_url.iter().all(fits), Field::ThumbnailUrl, Rule::TextWhereGiven(TEXT_BYTES_MAX)),
            (self.images.len() <= IMAGES_MAX, Field::Images, Rule::CountMax(IMAGES_MAX)),
            (self.images.iter().all(fits), Field::Images, Rule::Urls(TEXT_BYTES_MAX)),
            (self.attributes.len() <= ATTRIBUTES_MAX, Field::Attributes, Rule::CountMax(ATTRIBUTES_MAX)),
            (pairs_fit(&self.attributes), Field::Attributes, Rule::NamesAndValues(TEXT_BYTES_MAX)),
            (self.imported_rating.is_none_or(|rating| rating.average_hundredths <= 500), Field::Rating, Rule::Stars),
            (self.variants.len() <= VARIANTS_MAX, Field::Variants, Rule::CountMax(VARIANTS_MAX)),
            (
                self.variants.iter().all(|variant| pairs_fit(&variant.options)),
                Field::Variants,
                Rule::Options(TEXT_BYTES_MAX),
            ),
            (self.variants.is_empty() || self.variant_of.is_none(), Field::Variants, Rule::NoVariantsOfVariants),
        ];
        match rules.into_iter().find(|(kept, ..)| !kept) {
            Some((_, field, rule)) => Err(InvalidDetails { field, rule }),
            None => Ok(()),
        }
    }
}

/// Who wants to change a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Editor {
    /// A seller, who may change their own products only.
    Seller(UserId),
    /// An admin, who may change all of them; what an admin creates belongs to the admin.
    Admin(UserId),
}

impl Editor {
    /// The user behind the role.
    #[must_use]
    pub fn user(self) -> UserId {
        match self {
            Self::Seller(user) | Self::Admin(user) => user,
        }
    }

    /// Whether this editor may change what belongs to `owner`.
    #[must_use]
    pub fn may_edit(self, owner: UserId) -> bool {
        match self {
            Self::Seller(user) => user == owner,
            Self::Admin(_) => true,
        }
    }
}

/// What a product can be asked.
#[derive(Debug, Clone)]
pub enum Command {
    /// Make it exist. A repeat with the same details changes nothing.
    Create {
        /// Who asks; becomes the owner.
        by: Editor,
        /// What is said about it.
        details: Arc<Details>,
    },
    /// Replace what is said about it, and list it again if it was delisted.
    Revise {
        /// Who asks.
        by: Editor,
        /// What is said about it from now on.
        details: Arc<Details>,
        /// The version the editor saw; another one is refused.
        expected_version: Option<u64>,
    },
    /// Create it or revise it, whichever applies: an import.
    Put {
        /// Who asks.
        by: Editor,
        /// What is said about it from now on.
        details: Arc<Details>,
    },
    /// Take it out of the shop. Its past orders keep it.
    Delist {
        /// Who asks.
        by: Editor,
        /// The version the editor saw; another one is refused.
        expected_version: Option<u64>,
    },
}

/// What can have happened to a product. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It was created, revised or relisted.
    Listed {
        /// The owner.
        seller: UserId,
        /// All that is said about it.
        details: Arc<Details>,
        /// When.
        at: Timestamp,
    },
    /// It was taken out of the shop.
    Delisted {
        /// When.
        at: Timestamp,
    },
}

/// Why a command to a product was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// There is no such product (any more).
    #[error("there is no such product")]
    NotFound,
    /// The id is taken by a product with other details.
    #[error("a product with this id exists")]
    AlreadyExists,
    /// It belongs to another seller.
    #[error("the product belongs to another seller")]
    NotOwner,
    /// It has changed since the editor looked.
    #[error("the product is at version {current}")]
    VersionMismatch {
        /// The version it has now.
        current: u64,
    },
    /// A field breaks its rule.
    #[error(transparent)]
    Invalid(#[from] InvalidDetails),
}

/// A product.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Product {
    page: Option<Page>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Page {
    seller: UserId,
    details: Arc<Details>,
    listed: bool,
    version: u64,
    changed_at: Timestamp,
}

/// What readers see of a product that exists.
#[derive(Debug, Clone)]
pub struct View {
    /// The owner.
    pub seller: UserId,
    /// All that is said about it.
    pub details: Arc<Details>,
    /// Whether it is in the shop; a delisted product is seen by its seller only.
    pub listed: bool,
    /// Grows by one with every change; the product part of the ETag.
    pub version: u64,
    /// When it last changed.
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

    fn list(&self, seller: UserId, details: &Arc<Details>, now: Timestamp) -> Result<Option<Event>, Rejection> {
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
                None => self.list(by.user(), details, now),
                Some(page) if page.seller == by.user() && page.listed && page.details == *details => Ok(None),
                Some(_) => Err(Rejection::AlreadyExists),
            },
            Command::Revise { by, details, expected_version } => {
                let seller = self.editable(*by, *expected_version)?.seller;
                self.list(seller, details, now)
            }
            Command::Put { by, details } => {
                let seller = match &self.page {
                    None => by.user(),
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
            let lists = details.images.iter().chain(&details.category).map(|text| text.len() + 24).sum::<usize>();
            300 + details.title.len() + details.description.len() + attributes + variants + lists
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Currency;

    const SELLER: Editor = Editor::Seller(UserId(1));
    const NOW: Timestamp = Timestamp(1_000);

    pub(crate) fn details(title: &str) -> Arc<Details> {
        Arc::new(Details {
            title: title.into(),
            description: "A description".into(),
            brand: Some("Acme".into()),
            category: vec!["Electronics".into(), "Phones".into()],
            price: Some(Money::new(129_900, Currency::INR).unwrap()),
            thumbnail_url: None,
            images: vec!["https://images.example/1.jpg".into()],
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
        assert_eq!(product.decide(&revise(Editor::Seller(UserId(2))), NOW), Err(Rejection::NotOwner));
        let event = product.decide(&revise(Editor::Admin(UserId(3))), NOW).unwrap().unwrap();
        assert!(matches!(event, Event::Listed { seller: UserId(1), .. }), "the owner stays");
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
