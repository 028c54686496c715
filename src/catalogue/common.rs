//! The fields that a row and a variant share, read from an object with their types checked.
//!
//! Depends on `domain` and its neighbours `error`, `fields` and `value`.

use crate::{
    catalogue::{
        error::RowError,
        fields::{self, Fields, wrong},
        value::Value,
    },
    domain::{
        ids::ProductId,
        money::{Currency, Money},
        product::{Details, ImportedRating, Picture, TEXT_BYTES_MAX},
    },
};

/// The largest stock of a row, in pieces: the largest integer that every JSON reader represents exactly (2^53 − 1, RFC
/// 8259 section 6). An inventory may accept less.
pub(super) const STOCK_PIECES_MAX: u64 = (1 << 53) - 1;

/// The separator between the levels of a category that is written as one text.
pub(super) const CATEGORY_SEPARATOR: &str = ">";

/// The separator between the items of a list that becomes one attribute.
const LIST_SEPARATOR: &str = ", ";

/// Hundredths of a star in one star.
const HUNDREDTHS: f64 = 100.0;

/// The most stars of a rating.
const STARS_MAX: f64 = 5.0;

/// The fields that both a row and a variant may have. A variant inherits those that it leaves out from its parent.
pub(super) struct CommonFields {
    pub(super) description: Option<String>,
    pub(super) brand: Option<String>,
    pub(super) category: Option<Vec<String>>,
    pub(super) pictures: Option<Vec<Picture>>,
    /// The inner `None` is an explicit null: no thumbnail, although there are pictures.
    pub(super) thumbnail: Option<Option<Picture>>,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) imported_rating: Option<ImportedRating>,
    pub(super) stock: Option<u64>,
}

impl CommonFields {
    pub(super) fn take(fields: &mut Fields) -> Result<Self, RowError> {
        Ok(Self {
            description: description(fields)?,
            brand: fields.text("brand")?,
            category: category(fields)?,
            pictures: pictures(fields)?,
            thumbnail: thumbnail(fields)?,
            attributes: attributes(fields)?,
            imported_rating: imported_rating(fields)?,
            stock: stock(fields)?,
        })
    }

    /// A product that says this, and what it inherits where it leaves something out.
    pub(super) fn over(self, inherited: Details) -> Details {
        let thumbnail = match (self.thumbnail, &self.pictures) {
            (Some(stated), _) => stated,
            (None, Some(pictures)) => first_picture(pictures),
            (None, None) => inherited.thumbnail,
        };
        let mut attributes = inherited.attributes;
        overlay(&mut attributes, self.attributes);
        Details {
            description: self.description.unwrap_or(inherited.description),
            brand: self.brand.or(inherited.brand),
            category: self.category.unwrap_or(inherited.category),
            thumbnail,
            pictures: self.pictures.unwrap_or(inherited.pictures),
            attributes,
            // A parent's rating is shown on its page; counted again with every variant it would count too often.
            imported_rating: self.imported_rating,
            ..inherited
        }
    }
}

/// Adds `newer` to `attributes`; it replaces those with the same names.
pub(super) fn overlay(attributes: &mut Vec<(String, String)>, newer: Vec<(String, String)>) {
    attributes.retain(|(name, _)| newer.iter().all(|(newer_name, _)| newer_name != name));
    attributes.extend(newer);
}

/// Reads an id from a field of this name.
pub(super) fn product_id(field: &'static str, id: &str) -> Result<ProductId, RowError> {
    id.parse().map_err(|reason| RowError::Id { field, id: id.into(), reason })
}

/// The amount of the price, in minor units.
pub(super) fn price_minor(fields: &mut Fields) -> Result<Option<u64>, RowError> {
    fields.whole("price_minor", Money::AMOUNT_MAX)
}

/// The currency of the price.
pub(super) fn currency(fields: &mut Fields) -> Result<Option<Currency>, RowError> {
    let Some(code) = fields.text("currency")? else { return Ok(None) };
    code.parse().map(Some).map_err(|_| RowError::UnknownCurrency { code })
}

/// The price: amount and currency, or neither.
pub(super) fn price(fields: &mut Fields) -> Result<Option<Money>, RowError> {
    match (price_minor(fields)?, currency(fields)?) {
        (Some(minor), Some(currency)) => Ok(Some(Money::new(minor, currency)?)),
        (None, None) => Ok(None),
        (Some(_), None) => Err(RowError::PriceWithoutCurrency),
        (None, Some(_)) => Err(RowError::CurrencyWithoutPrice),
    }
}

/// The pieces on hand.
pub(super) fn stock(fields: &mut Fields) -> Result<Option<u64>, RowError> {
    fields.whole("stock", STOCK_PIECES_MAX)
}

/// The description, followed by the bullets, one per line.
fn description(fields: &mut Fields) -> Result<Option<String>, RowError> {
    let description = fields.any_text("description")?;
    let bullets = fields.texts("bullets")?.unwrap_or_default();
    let bullets = bullets.iter().filter(|bullet| !bullet.trim().is_empty()).map(|bullet| format!("• {bullet}"));
    let lines: Vec<String> = description.into_iter().chain(bullets).collect();
    Ok(if lines.is_empty() { None } else { Some(lines.join("\n")) })
}

fn category(fields: &mut Fields) -> Result<Option<Vec<String>>, RowError> {
    match fields.given("category") {
        None => Ok(None),
        Some(Value::Text(path)) if path.trim().is_empty() => Ok(Some(Vec::new())),
        Some(Value::Text(path)) => {
            Ok(Some(path.split(CATEGORY_SEPARATOR).map(|level| level.trim().to_string()).collect()))
        }
        Some(Value::List(list)) => fields::texts("category", list).map(Some),
        Some(other) => Err(wrong("category", "a list of texts or a text such as \"Audio > Headphones\"", &other)),
    }
}

/// The pictures, `image_url` before the others; `image_alt` is the alternative text of the first picture.
fn pictures(fields: &mut Fields) -> Result<Option<Vec<Picture>>, RowError> {
    let first = fields.text("image_url")?.map(Picture::at);
    let alt = fields.text("image_alt")?;
    let others = match fields.given("images") {
        None => None,
        Some(Value::List(list)) => {
            let pictures = list.into_iter().map(|item| picture("images", item));
            Some(pictures.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?)
        }
        Some(other) => return Err(wrong("images", PICTURES, &other)),
    };
    let mut pictures = match (first, others) {
        (None, others) => others,
        (Some(first), None) => Some(vec![first]),
        (Some(first), Some(mut others)) => {
            let same = others.iter().position(|other| other.url() == first.url()).map(|at| others.remove(at));
            others.retain(|other| other.url() != first.url());
            others.insert(0, same.unwrap_or(first));
            Some(others)
        }
    };
    if let Some(alt) = alt {
        let first = pictures.as_mut().and_then(|pictures| pictures.first_mut()).ok_or(RowError::AltWithoutPicture)?;
        match &first.alt {
            Some(known) if *known != alt => return Err(RowError::Twice { field: "image_alt".into() }),
            _ => first.alt = Some(alt),
        }
    }
    Ok(pictures)
}

/// The expected form of a list of pictures, for errors.
const PICTURES: &str = "a list of addresses, or of objects of url and alt";

/// A picture: its URL, or an object of `url` and `alt`. A blank one counts as no picture.
fn picture(field: &str, item: Value) -> Result<Option<Picture>, RowError> {
    let picture = match item {
        Value::Text(url) => Picture::at(url),
        object @ Value::Object(_) => {
            let mut fields = Fields::only(object, &["url", "alt"], "a picture")?;
            let url = fields.text("url")?.ok_or(RowError::Missing { field: "url" })?;
            Picture { alt: fields.text("alt")?, ..Picture::at(url) }
        }
        other => return Err(wrong(field, PICTURES, &other)),
    };
    Ok(Some(picture).filter(|picture| !picture.url().trim().is_empty()))
}

/// A picture as the value of a field: an object only if there is an alternative text.
pub(super) fn picture_value(picture: &Picture) -> Value {
    match &picture.alt {
        None => Value::text(picture.url()),
        Some(alt) => Value::Object(vec![("url".into(), Value::text(picture.url())), ("alt".into(), Value::text(alt))]),
    }
}

/// The thumbnail of a row that has none of its own. A URL that is too long stays among the pictures, whose error then
/// names a field that the row has.
fn first_picture(pictures: &[Picture]) -> Option<Picture> {
    pictures.first().filter(|first| first.url().len() <= TEXT_BYTES_MAX).cloned()
}

fn thumbnail(fields: &mut Fields) -> Result<Option<Option<Picture>>, RowError> {
    match fields.take("thumbnail_url") {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(stated @ (Value::Text(_) | Value::Object(_))) => Ok(picture("thumbnail_url", stated)?.map(Some)),
        Some(other) => Err(wrong("thumbnail_url", "an address, or an object of url and alt", &other)),
    }
}

/// The attributes, together with the fields that are stored as attributes.
fn attributes(fields: &mut Fields) -> Result<Vec<(String, String)>, RowError> {
    let given = fields.pairs("attributes")?.unwrap_or_default();
    // Shoppers choose by colour and size, so these come first.
    let mut attributes = Vec::new();
    for name in ["color", "size"] {
        attributes.extend(unless_given(&given, name, fields.scalar(name)?.into_iter().collect())?);
    }
    attributes.extend_from_slice(&given);
    for name in ["mpn", "sku", "released"] {
        attributes.extend(unless_given(&given, name, fields.scalar(name)?.into_iter().collect())?);
    }
    for name in ["ean", "collections"] {
        attributes.extend(unless_given(&given, name, joined(fields.texts(name)?.unwrap_or_default()))?);
    }
    // Only `true` is worth an attribute.
    if fields.flag("is_book")? == Some(true) {
        attributes.extend(unless_given(&given, "is_book", vec![true.to_string()])?);
    }
    // The source of a row is of no use to shoppers. It must be a text all the same: otherwise the row is malformed.
    fields.text("source")?;
    Ok(attributes)
}

/// The values under their name, unless the attributes have the same name and values already.
fn unless_given(
    given: &[(String, String)],
    name: &str,
    values: Vec<String>,
) -> Result<Vec<(String, String)>, RowError> {
    let known: Vec<&String> = given.iter().filter(|(given, _)| given == name).map(|(_, value)| value).collect();
    if known.is_empty() || values.is_empty() {
        return Ok(values.into_iter().map(|value| (name.to_string(), value)).collect());
    }
    let same = known.into_iter().eq(&values);
    if same { Ok(Vec::new()) } else { Err(RowError::Twice { field: name.into() }) }
}

/// Joins the items into one text, or into several if one would be too long for an attribute.
pub(super) fn joined(items: Vec<String>) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for item in items.into_iter().filter(|item| !item.trim().is_empty()) {
        match texts.last_mut() {
            Some(last) if last.len() + LIST_SEPARATOR.len() + item.len() <= TEXT_BYTES_MAX => {
                last.push_str(LIST_SEPARATOR);
                last.push_str(&item);
            }
            _ => texts.push(item),
        }
    }
    texts
}

/// The rating, if the row says how many ratings it is the average of.
fn imported_rating(fields: &mut Fields) -> Result<Option<ImportedRating>, RowError> {
    let stars = fields.number("rating")?;
    let count = fields.whole("rating_count", u64::from(u32::MAX))?;
    let (Some(stars), Some(count)) = (stars, count) else { return Ok(None) };
    if !(0.0..=STARS_MAX).contains(&stars) {
        let found = format!("the number {stars}");
        return Err(RowError::WrongType { field: "rating".into(), expected: "between 0 and 5", found });
    }
    let average_hundredths = hundredths(stars);
    Ok(u32::try_from(count).ok().map(|count| ImportedRating { average_hundredths, count }))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 500, which was checked")]
fn hundredths(stars: f64) -> u16 {
    (stars * HUNDREDTHS).round() as u16
}

/// The rating in stars, as a row has it.
pub(super) fn stars(rating: ImportedRating) -> f64 {
    f64::from(rating.average_hundredths) / HUNDREDTHS
}
