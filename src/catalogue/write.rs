//! Writes catalogue files: JSON Lines in the format that [`read`](crate::catalogue::read) reads, so that a catalogue is
//! identical after an export and an import.
//!
//! A product and its variants become one row if the variants follow the product directly. If they do not, or if one row
//! could not express the same, each has a row of its own: the product refers to its variants, and a variant names its
//! parent.
//!
//! Depends on `domain` and its neighbours.

use std::io::{self, Write};

use serde_json::Number;

use crate::{
    catalogue::{
        common::{picture_value, stars},
        entry::Entry,
        lines::LINE_BYTES_MAX,
        row,
        value::Value,
        variant,
    },
    domain::{
        ids::ProductId,
        product::{Details, Picture, Variant},
    },
};

/// Why an entry cannot be written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the names say it")]
pub enum WriteError {
    /// The output fails.
    #[error("the catalogue file cannot be written: {0}")]
    Output(#[from] io::Error),
    /// No reader would accept the row.
    #[error("the row of product {product} would be longer than {LINE_BYTES_MAX} bytes")]
    TooLong { product: ProductId },
}

/// Writes entries as JSON Lines. The last entries may be held back until [`Writer::finish`].
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    parent: Option<Entry>,
    children: Vec<Entry>,
}

impl<W: Write> Writer<W> {
    /// Writes to `output`, which should be buffered.
    pub fn new(output: W) -> Self {
        Self { output, parent: None, children: Vec::new() }
    }

    /// Writes an entry. A product comes before its variants.
    ///
    /// # Errors
    /// [`WriteError`]; the file is incomplete then.
    pub fn write(&mut self, entry: Entry) -> Result<(), WriteError> {
        let belongs = self.parent.as_ref().is_some_and(|parent| lists(parent, &self.children, &entry));
        if belongs {
            self.children.push(entry);
            return Ok(());
        }
        self.write_family()?;
        if entry.details.variants.is_empty() {
            self.write_alone(&entry)
        } else {
            self.parent = Some(entry);
            Ok(())
        }
    }

    /// Writes the entries that were held back and returns the output, flushed.
    ///
    /// # Errors
    /// [`WriteError`]; the file is incomplete then.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.write_family()?;
        self.output.flush()?;
        Ok(self.output)
    }

    /// Writes the product that was held back, with those of its variants that have followed.
    fn write_family(&mut self) -> Result<(), WriteError> {
        let Some(parent) = self.parent.take() else { return Ok(()) };
        let children = std::mem::take(&mut self.children);
        if let Some(line) = family_line(&parent, &children) {
            return Ok(self.write_line(&line)?);
        }
        self.write_alone(&parent)?;
        children.iter().try_for_each(|child| self.write_alone(child))
    }

    fn write_alone(&mut self, entry: &Entry) -> Result<(), WriteError> {
        let line = line_of(&row_of(entry, entry.details.variants.iter().map(reference).collect()))?;
        if line.len() > LINE_BYTES_MAX {
            return Err(WriteError::TooLong { product: entry.id.clone() });
        }
        Ok(self.write_line(&line)?)
    }

    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        self.output.write_all(line)?;
        self.output.write_all(b"\n")
    }
}

impl Writer<Vec<u8>> {
    /// How many bytes can be taken.
    #[must_use]
    pub fn written(&self) -> usize {
        self.output.len()
    }

    /// Takes the bytes written so far, which are whole lines.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }
}

/// Whether `entry` is a variant that `parent` lists and that has not been written yet.
fn lists(parent: &Entry, children: &[Entry], entry: &Entry) -> bool {
    entry.details.variant_of.as_ref() == Some(&parent.id)
        && parent.details.variants.iter().any(|variant| variant.product == entry.id)
        && children.iter().all(|child| child.id != entry.id)
}

/// The row of a product and its variants, if reading it yields exactly these entries.
fn family_line(parent: &Entry, children: &[Entry]) -> Option<Vec<u8>> {
    let mut told = vec![parent];
    let mut elements = Vec::with_capacity(parent.details.variants.len());
    for variant in &parent.details.variants {
        match children.iter().find(|child| child.id == variant.product) {
            Some(child) => {
                told.push(child);
                elements.push(element(parent, variant, child));
            }
            None => elements.push(reference(variant)),
        }
    }
    let row = row_of(parent, elements);
    let line = line_of(&row).ok().filter(|line| line.len() <= LINE_BYTES_MAX)?;
    let read = row::entries_of(row).ok()?;
    read.iter().eq(told).then_some(line)
}

fn line_of(row: &Value) -> Result<Vec<u8>, WriteError> {
    serde_json::to_vec(row).map_err(|error| WriteError::Output(error.into()))
}

/// The fields of an object, in the order in which they are written.
#[derive(Default)]
struct FieldsToWrite(Vec<(String, Value)>);

impl FieldsToWrite {
    fn add(&mut self, name: &str, value: Value) {
        self.0.push((name.into(), value));
    }

    fn add_text(&mut self, name: &str, text: &str) {
        self.add(name, Value::text(text));
    }

    fn add_pairs(&mut self, name: &str, pairs: &[(String, String)]) {
        if !pairs.is_empty() {
            self.add(name, pairs_of(pairs));
        }
    }

    fn add_pictures(&mut self, pictures: &[Picture]) {
        self.add("images", Value::List(pictures.iter().map(picture_value).collect()));
    }

    fn add_thumbnail(&mut self, thumbnail: Option<&Picture>) {
        self.add("thumbnail_url", thumbnail.map_or(Value::Null, picture_value));
    }

    /// The rating and the stock, which a variant does not inherit.
    fn add_numbers(&mut self, entry: &Entry) {
        if let Some(rating) = entry.details.imported_rating {
            self.add("rating", Number::from_f64(stars(rating)).map_or(Value::Null, Value::Number));
            self.add("rating_count", Value::Number(rating.count.into()));
        }
        if let Some(stock) = entry.stock {
            self.add("stock", Value::Number(stock.into()));
        }
    }
}

/// The row of an entry with these variants.
fn row_of(entry: &Entry, variants: Vec<Value>) -> Value {
    let details = &entry.details;
    let mut fields = FieldsToWrite::default();
    fields.add_text("id", entry.id.as_str());
    fields.add_text("title", &details.title);
    if !details.description.is_empty() {
        fields.add_text("description", &details.description);
    }
    if let Some(brand) = &details.brand {
        fields.add_text("brand", brand);
    }
    if !details.category.is_empty() {
        fields.add("category", Value::texts(&details.category));
    }
    if let Some(price) = details.price {
        fields.add("price_minor", Value::Number(price.minor.into()));
        fields.add_text("currency", price.currency.code());
    }
    if !details.pictures.is_empty() {
        fields.add_pictures(&details.pictures);
    }
    if details.thumbnail.as_ref() != details.pictures.first() {
        fields.add_thumbnail(details.thumbnail.as_ref());
    }
    fields.add_pairs("attributes", &details.attributes);
    fields.add_numbers(entry);
    if let Some(parent) = &details.variant_of {
        fields.add_text("variant_of", parent.as_str());
    }
    if !variants.is_empty() {
        fields.add("variants", Value::List(variants));
    }
    Value::Object(fields.0)
}

/// A variant in its parent's row: only what it does not inherit.
fn element(parent: &Entry, variant: &Variant, child: &Entry) -> Value {
    let (from, details) = (&parent.details, &child.details);
    let mut fields = FieldsToWrite::default();
    let sku = details.attributes.iter().find(|(name, _)| name == "sku").map(|(_, sku)| sku.as_str());
    let id_follows = sku.and_then(|sku| variant::id_of(&parent.id, sku).ok()).is_some_and(|id| id == child.id);
    if !id_follows {
        fields.add_text("id", child.id.as_str());
    }
    if let Some(sku) = sku {
        fields.add_text("sku", sku);
    }
    fields.add_pairs("options", &variant.options);
    if details.title != variant::title(from, &variant.options) {
        fields.add_text("title", &details.title);
    }
    if details.description != from.description {
        fields.add_text("description", &details.description);
    }
    if let Some(brand) = details.brand.as_ref().filter(|_| details.brand != from.brand) {
        fields.add_text("brand", brand);
    }
    if details.category != from.category {
        fields.add("category", Value::texts(&details.category));
    }
    if let Some(price) = details.price {
        fields.add("price_minor", Value::Number(price.minor.into()));
        if from.price.is_none_or(|known| known.currency != price.currency) {
            fields.add_text("currency", price.currency.code());
        }
    }
    add_pictures(&mut fields, from, details);
    fields.add_pairs("attributes", &own_attributes(from, variant, details));
    fields.add_numbers(child);
    Value::Object(fields.0)
}

fn add_pictures(fields: &mut FieldsToWrite, from: &Details, details: &Details) {
    let mut thumbnail_follows = from.thumbnail.as_ref();
    if details.pictures != from.pictures {
        fields.add_pictures(&details.pictures);
        thumbnail_follows = details.pictures.first();
    }
    if details.thumbnail.as_ref() != thumbnail_follows {
        fields.add_thumbnail(details.thumbnail.as_ref());
    }
}

/// The attributes that a variant inherits neither from its parent nor from its options.
fn own_attributes(from: &Details, variant: &Variant, details: &Details) -> Vec<(String, String)> {
    let inherited = variant::attributes(from, &variant.options);
    let own = details.attributes.iter().filter(|pair| pair.0 != "sku" && !inherited.contains(pair));
    own.cloned().collect()
}

/// A reference to a variant with a row of its own.
fn reference(variant: &Variant) -> Value {
    let mut fields = FieldsToWrite::default();
    fields.add_text("product", variant.product.as_str());
    fields.add_pairs("options", &variant.options);
    Value::Object(fields.0)
}

/// Names and values: an object, or a list of pairs if a name repeats, which an object does not allow.
fn pairs_of(pairs: &[(String, String)]) -> Value {
    let repeats =
        pairs.iter().enumerate().any(|(at, (name, _))| pairs[..at].iter().any(|(earlier, _)| earlier == name));
    if repeats {
        let pair = |(name, value): &(String, String)| Value::List(vec![Value::text(name), Value::text(value)]);
        Value::List(pairs.iter().map(pair).collect())
    } else {
        Value::Object(pairs.iter().map(|(name, value)| (name.clone(), Value::text(value))).collect())
    }
}
