//! Product feeds of Google Merchant in XML: RSS 2.0 and Atom, with the fields in Google's namespace.
//!
//! An item becomes a row of a table whose columns are its elements. Entities that the document defines are never
//! expanded; an item that uses one is refused.
//!
//! Depends on `quick-xml` and its neighbours.

use std::collections::HashMap;

use quick_xml::{
    NsReader,
    escape::resolve_predefined_entity,
    events::{BytesRef, Event},
    name::{Namespace, ResolveResult},
};

use crate::catalogue::{
    error::RowError,
    foreign::record::{Columns, FAULT_BYTES, Record, Rows},
};

/// The namespace of Google's fields.
const GOOGLE: Namespace<'_> = Namespace("http://base.google.com/ns/1.0");
/// The namespace of Atom.
const ATOM: Namespace<'_> = Namespace("http://www.w3.org/2005/Atom");
/// The element of a product: in RSS, in Atom.
const ITEMS: [&str; 2] = ["item", "entry"];

/// An item that is being read.
struct Item {
    line: u64,
    depth: usize,
    /// Google's fields, then those of RSS and Atom, which are used only where Google's are missing.
    fields: [Vec<(String, String)>; 2],
    refused: Option<RowError>,
}

/// A field that is being read: its name, its text, and whether it is one of Google's.
struct Field {
    name: String,
    text: String,
    is_google: bool,
    /// A field with fields inside, such as a shipping price with a country, is left out.
    has_children: bool,
}

/// The items of a feed as rows, each with its line; refused items are added to `refused`.
///
/// # Errors
/// The text is not XML, or not a feed, or its rows take too much memory. Variants of any product may be missing then,
/// so no row may be used.
pub(super) fn rows(text: &str, refused: &mut Vec<(u64, RowError)>) -> Result<Vec<Record>, (u64, RowError)> {
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut lines = LineCount { text, at: 0, line: 1 };
    let (mut rows, mut found) = (Rows::default(), false);
    let mut shapes = Shapes::default();
    let (mut item, mut field): (Option<Item>, Option<Field>) = (None, None);
    let mut depth = 0_usize;
    loop {
        let line = lines.at(usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX));
        let (namespace, event) = match reader.read_resolved_event() {
            Ok((namespace, event)) => (is_known(&namespace), event),
            Err(error) => {
                return Err((line, RowError::NotXml { reason: error.to_string() }));
            }
        };
        match event {
            Event::Start(start) => {
                depth += 1;
                let name = start.local_name().into_inner().to_lowercase();
                match &item {
                    None if ITEMS.contains(&name.as_str()) => {
                        found = true;
                        let line = lines.at(usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX));
                        item = Some(Item { line, depth, fields: [Vec::new(), Vec::new()], refused: None });
                    }
                    Some(item) if depth == item.depth + 1 => {
                        let name = if namespace == Some(false) { plain_name(name) } else { name };
                        field = namespace.map(|is_google| Field {
                            name,
                            text: String::new(),
                            is_google,
                            has_children: false,
                        });
                    }
                    _ => field.iter_mut().for_each(|field| field.has_children = true),
                }
            }
            Event::End(_) => {
                if let Some(open) = &mut item {
                    if depth == open.depth + 1
                        && let Some(Field { name, text, is_google, .. }) =
                            field.take().filter(|field| !field.has_children)
                    {
                        open.fields[usize::from(!is_google)].push((name, text));
                    }
                    if depth == open.depth {
                        let line = open.line;
                        if let Some(item) = item.take() {
                            item.finish(&mut shapes, &mut rows, refused).map_err(|reason| (line, reason))?;
                        }
                    }
                }
                depth = depth.saturating_sub(1);
            }
            Event::Text(text) => add(&mut field, &text.xml10_content()),
            Event::CData(text) => add(&mut field, &text.xml10_content()),
            Event::GeneralRef(reference) => expand(&reference, &mut field, item.as_mut()),
            Event::Eof => break,
            // It is read as a start and an end.
            Event::Empty(_) => {}
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    if depth > 0 {
        let line = item.map_or(lines.at(text.len()), |item| item.line);
        return Err((line, RowError::CutOff));
    }
    if found { Ok(rows.into_rows()) } else { Err((1, RowError::NoFeed)) }
}

/// Adds the character of a reference. An entity that the document defines makes the item refused.
fn expand(reference: &BytesRef<'_>, field: &mut Option<Field>, item: Option<&mut Item>) {
    let character = reference.resolve_char_ref().ok().flatten().filter(|&character| character != '\0');
    let text = character.map(String::from);
    let text = text.or_else(|| resolve_predefined_entity(reference.as_ref()).map(str::to_owned));
    match (text, field.as_ref(), item) {
        (Some(text), ..) => add(field, &text),
        (None, Some(field), Some(item)) => {
            let (field, entity) = (field.name.clone(), reference.as_ref().to_owned());
            item.refused.get_or_insert(RowError::Entity { field, entity });
        }
        (None, ..) => {}
    }
}

/// Whether a namespace is Google's; `None` if it is neither Google's nor the feed's own.
fn is_known(namespace: &ResolveResult<'_>) -> Option<bool> {
    match namespace {
        ResolveResult::Bound(bound) if *bound == GOOGLE => Some(true),
        ResolveResult::Bound(bound) if *bound == ATOM => Some(false),
        ResolveResult::Bound(_) => None,
        // Some programs forget to declare it.
        ResolveResult::Unknown(prefix) => (prefix == "g").then_some(true),
        ResolveResult::Unbound => Some(false),
    }
}

/// The name in Google's feeds of a field of RSS or Atom.
fn plain_name(name: String) -> String {
    match name.as_str() {
        "summary" | "content" => "description".to_owned(),
        _ => name,
    }
}

fn add(field: &mut Option<Field>, text: &str) {
    if let Some(field) = field {
        field.text.push_str(text);
    }
}

/// The columns of items by the names of their fields: most items of a feed have the same.
type Shapes = HashMap<Vec<String>, Columns>;

impl Item {
    fn finish(self, shapes: &mut Shapes, rows: &mut Rows, refused: &mut Vec<(u64, RowError)>) -> Result<(), RowError> {
        if let Some(reason) = self.refused {
            refused.push((self.line, reason));
            return rows.count(FAULT_BYTES);
        }
        let (names, cells): (Vec<String>, Vec<String>) = self.fields.into_iter().flatten().unzip();
        let columns = match shapes.get(&names) {
            Some(columns) => columns,
            None => {
                // Kept twice: as they are, and as they are compared.
                rows.count(2 * names.iter().map(|name| size_of::<String>() + name.len()).sum::<usize>())?;
                let columns = Columns::of(&names);
                shapes.entry(names).or_insert(columns)
            }
        };
        columns.record(self.line, &cells).map_or(Ok(()), |row| rows.push(row))
    }
}

/// Converts positions in a text, which only grow, to line numbers.
struct LineCount<'a> {
    text: &'a str,
    at: usize,
    line: u64,
}

impl LineCount<'_> {
    fn at(&mut self, position: usize) -> u64 {
        let position = position.clamp(self.at, self.text.len());
        let passed = &self.text.as_bytes()[self.at..position];
        let carriage_returns = passed.iter().filter(|&&byte| byte == b'\r').count();
        let line_feeds = passed.iter().filter(|&&byte| byte == b'\n').count();
        // Files have LF or CRLF; files with CR alone are counted correctly, too.
        self.line += if line_feeds > 0 { line_feeds } else { carriage_returns } as u64;
        self.at = position;
        self.line
    }
}
