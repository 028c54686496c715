//! The details of a product and their limits.
//!
//! Depends on `std`, `serde`, `url` and its neighbours.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::{
    ids::ProductId,
    money::Money,
    text::{Lines, is_blank, is_clean},
};

/// The longest title, in bytes. The longest seen in four real catalogues has 259.
pub const TITLE_BYTES_MAX: usize = 2_000;
/// The longest description, in bytes: a long page of text.
pub const DESCRIPTION_BYTES_MAX: usize = 32 * 1024;
/// The longest brand, category name, attribute name or value, and URL, in bytes.
pub const TEXT_BYTES_MAX: usize = 1_000;
/// The most levels of a category path.
pub(super) const CATEGORY_LEVELS_MAX: usize = 10;
/// The most pictures of one product.
pub const PICTURES_MAX: usize = 20;
/// The longest alternative text of a picture, in characters: two long sentences, and what Shopify accepts.
pub const ALT_CHARACTERS_MAX: usize = 512;
/// The most attributes of one product. The richest seen in four real catalogues has 66.
pub const ATTRIBUTES_MAX: usize = 200;
/// The most variants of one product.
pub const VARIANTS_MAX: usize = 500;

/// What a seller says about a product. It is stored in this form: the order of the fields is part of it.
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
    /// The price of one unit; a product without a price cannot be bought.
    pub price: Option<Money>,
    /// A small picture, for lists.
    pub thumbnail: Option<Picture>,
    /// Pictures, the main one first.
    pub pictures: Vec<Picture>,
    /// Names and values, such as `colour: black`.
    pub attributes: Vec<(String, String)>,
    /// A rating imported from another system.
    pub imported_rating: Option<ImportedRating>,
    /// The product whose variant this is.
    pub variant_of: Option<ProductId>,
    /// The variants of this product. If it has any, customers buy one of them and never the product itself.
    pub variants: Vec<Variant>,
}

/// A picture of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Where its bytes are.
    pub source: PictureSource,
    /// The alternative text: it says what the picture shows, for those who cannot see it.
    pub alt: Option<String>,
}

/// Where the bytes of a picture are. It is an enum because a shop that stores pictures itself will need another
/// variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PictureSource {
    /// At this URL, which the shop never requests.
    Address(String),
}

impl Picture {
    /// The picture at a URL, without an alternative text.
    pub fn at(url: impl Into<String>) -> Self {
        Self { source: PictureSource::Address(url.into()), alt: None }
    }

    /// The URL from which a browser loads it.
    #[must_use]
    pub fn url(&self) -> &str {
        match &self.source {
            PictureSource::Address(url) => url,
        }
    }

    /// About how many bytes it occupies in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.url().len() + self.alt.as_ref().map_or(0, String::len)
    }

    /// Whether a browser can load it: its address is an absolute one of the web, and no script or file.
    #[must_use]
    pub fn has_web_address(&self) -> bool {
        let url = self.url();
        let is_web = |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        let is_plain = !url.chars().any(|one| one.is_whitespace() || one.is_control() || "\"<>\\^`{|}".contains(one));
        // The parser forgives a slash too many and takes the path for the host.
        let names_host = url.split_once("://").is_some_and(|(_, rest)| !rest.starts_with('/'));
        let has_host = || names_host && url::Url::parse(url).is_ok_and(|url| url.has_host());
        url.len() <= TEXT_BYTES_MAX && (is_web("https://") || is_web("http://")) && is_plain && has_host()
    }

    fn has_alt_or_none(&self) -> bool {
        let describes =
            |alt: &String| !is_blank(alt) && alt.chars().count() <= ALT_CHARACTERS_MAX && is_clean(alt, Lines::Many);
        self.alt.iter().all(describes)
    }
}

/// A rating imported from another system. It counts in the average, together with the reviews written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedRating {
    /// The average in hundredths of a star, 0 to 500.
    pub average_hundredths: u16,
    /// How many ratings are in the average.
    pub count: u32,
}

/// A variant, as its parent's page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// The product to put into the cart.
    pub product: ProductId,
    /// The options that distinguish it, such as `size: M, colour: black`.
    pub options: Vec<(String, String)>,
}

/// A field of [`Details`] that violates its rule.
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
    Thumbnail,
    Pictures,
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
            Self::Thumbnail => "thumbnail_url",
            Self::Pictures => "images",
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

/// A rule for a field of [`Details`].
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
    #[error("must be absolute http or https URLs of 1 to {0} bytes")]
    Urls(usize),
    #[error("must have alternative texts of 1 to {0} characters")]
    AlternativeTexts(usize),
    #[error("must have names and values of 1 to {0} bytes")]
    NamesAndValues(usize),
    #[error("must have options of 1 to {0} bytes")]
    Options(usize),
    #[error("must be between 0 and 5")]
    Stars,
    #[error("cannot have variants themselves")]
    NoVariantsOfVariants,
    #[error("must be text that can be shown: no control characters, no lone marks of direction")]
    CanBeShown,
    #[error("must be an absolute http or https URL of 1 to {0} bytes")]
    WebAddress(usize),
}

impl Details {
    /// The alternative text of the thumbnail: its own, or else that of the main picture, which shows the same thing.
    #[must_use]
    pub fn thumbnail_alt(&self) -> Option<&str> {
        let thumbnail = self.thumbnail.as_ref()?;
        thumbnail.alt.as_deref().or_else(|| self.pictures.first()?.alt.as_deref())
    }

    /// Checks every field against its limits.
    ///
    /// # Errors
    /// The first field that violates its rule.
    pub fn validate(&self) -> Result<(), InvalidDetails> {
        let value_fits = |value: &str| fits_over(value, Lines::Many);
        let pairs_fit = |pairs: &[(String, String)]| pairs.iter().all(|(name, value)| fits(name) && value_fits(value));
        let rules = [
            (!is_blank(&self.title), Field::Title, Rule::NotEmpty),
            // A cell of a spreadsheet has line breaks now and then.
            (is_clean(&self.title, Lines::Many), Field::Title, Rule::CanBeShown),
            (self.title.len() <= TITLE_BYTES_MAX, Field::Title, Rule::BytesMax(TITLE_BYTES_MAX)),
            (
                self.description.len() <= DESCRIPTION_BYTES_MAX,
                Field::Description,
                Rule::BytesMax(DESCRIPTION_BYTES_MAX),
            ),
            (is_clean(&self.description, Lines::Many), Field::Description, Rule::CanBeShown),
            (self.brand.iter().all(|brand| fits(brand)), Field::Brand, Rule::TextWhereGiven(TEXT_BYTES_MAX)),
            (self.category.len() <= CATEGORY_LEVELS_MAX, Field::Category, Rule::LevelsMax(CATEGORY_LEVELS_MAX)),
            (self.category.iter().all(|name| fits(name)), Field::Category, Rule::Names(TEXT_BYTES_MAX)),
            (self.thumbnail.iter().all(Picture::has_web_address), Field::Thumbnail, Rule::WebAddress(TEXT_BYTES_MAX)),
            (
                self.thumbnail.iter().all(Picture::has_alt_or_none),
                Field::Thumbnail,
                Rule::AlternativeTexts(ALT_CHARACTERS_MAX),
            ),
            (self.pictures.len() <= PICTURES_MAX, Field::Pictures, Rule::CountMax(PICTURES_MAX)),
            (self.pictures.iter().all(Picture::has_web_address), Field::Pictures, Rule::Urls(TEXT_BYTES_MAX)),
            (
                self.pictures.iter().all(Picture::has_alt_or_none),
                Field::Pictures,
                Rule::AlternativeTexts(ALT_CHARACTERS_MAX),
            ),
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

fn fits(text: &str) -> bool {
    fits_over(text, Lines::One)
}

fn fits_over(text: &str, lines: Lines) -> bool {
    !is_blank(text) && text.len() <= TEXT_BYTES_MAX && is_clean(text, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_alt(alt: &str) -> Details {
        let picture = Picture { alt: Some(alt.into()), ..Picture::at("https://images.example/1.jpg") };
        Details { title: "Phone".into(), pictures: vec![picture], ..Details::default() }
    }

    #[test]
    fn alternative_texts_are_counted_in_characters() {
        assert_eq!(with_alt(&"ä".repeat(ALT_CHARACTERS_MAX)).validate(), Ok(()));
        for bad in [" ", &"x".repeat(ALT_CHARACTERS_MAX + 1)] {
            let refused = with_alt(bad).validate().unwrap_err();
            assert_eq!(refused.to_string(), "images must have alternative texts of 1 to 512 characters");
            let small =
                Details { thumbnail: with_alt(bad).pictures.pop(), title: "Phone".into(), ..Details::default() };
            assert_eq!(small.validate().unwrap_err().field, Field::Thumbnail);
        }
    }

    #[test]
    fn a_picture_has_an_absolute_address_of_the_web() {
        for good in
            ["https://a.example/1.jpg", "HTTP://a.example:8080/x?y=%20#z", "https://[::1]/1", "https://ü.example/ä.jpg"]
        {
            assert!(Picture::at(good).has_web_address(), "{good}");
        }
        for bad in [
            "",
            " ",
            "not a url",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "//a.example/1.jpg",
            "/1.jpg",
            "1.jpg",
            "https:",
            "https://",
            "https:a.example",
            "https:///1.jpg",
            "ftp://a.example/1",
            " https://a.example/1",
            "https://a.example/a b",
            "https://a.example/\n1",
            "java\nscript:alert(1)",
            "https://a.example:99999/1",
            "https://[::1",
            "https://a.example/\"onload=\"x",
            "blob:https://a.example/1",
        ] {
            assert!(!Picture::at(bad).has_web_address(), "{bad}");
        }
        assert!(!Picture::at(format!("https://a.example/{}", "x".repeat(TEXT_BYTES_MAX))).has_web_address());
    }

    #[test]
    fn texts_of_a_product_can_be_shown() {
        let named = |title: &str| Details { title: title.into(), ..Details::default() }.validate();
        assert_eq!(named("\u{200b}").unwrap_err().rule, Rule::NotEmpty);
        assert_eq!(named("a\u{202e}b").unwrap_err().rule, Rule::CanBeShown);
        let described = Details { title: "a".into(), description: "a\n\tb\u{1b}".into(), ..Details::default() };
        assert_eq!(described.validate().unwrap_err().field, Field::Description);
        let valued = |value: &str| {
            let attributes = vec![("size".to_owned(), value.to_owned())];
            Details { title: "a".into(), attributes, ..Details::default() }.validate()
        };
        assert_eq!((valued("S\nM"), valued("S\0").unwrap_err().field), (Ok(()), Field::Attributes));
    }

    #[test]
    fn a_thumbnail_without_a_text_has_the_text_of_the_main_picture() {
        let mut details = with_alt("A phone");
        assert_eq!(details.thumbnail_alt(), None, "there is no thumbnail");
        details.thumbnail = Some(Picture::at("https://images.example/s.jpg"));
        assert_eq!(details.thumbnail_alt(), Some("A phone"));
        details.thumbnail = with_alt("A phone, small").pictures.pop();
        assert_eq!(details.thumbnail_alt(), Some("A phone, small"));
    }
}
