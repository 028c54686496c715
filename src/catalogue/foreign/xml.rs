//! Product feeds of Google Merchant in XML: RSS 2.0 and Atom, with the fields in Google's namespace.
//!
//! An item becomes a row of a table whose columns are its elements. Entities that the document defines are never
//! expanded; an item that uses one is refused. The feed is read as a stream: beside the rows there is one piece of XML
//! in memory, and one item.
//!
//! Depends on `quick-xml` and its neighbours.

use std::{
    collections::HashMap,
    io::{self, BufRead, Read},
};

use quick_xml::{
    Error, NsReader,
    escape::resolve_predefined_entity,
    events::{BytesRef, Event},
    name::{Namespace, ResolveResult},
};

use crate::catalogue::{
    error::RowError,
    foreign::record::{Columns, FAULT_BYTES, ForeignRow, Rows},
    lines::{FEED_DEPTH_MAX, LINE_BYTES_MAX},
};

/// The namespace of Google's fields, and what some programs write for it.
const GOOGLE: [Namespace<'_>; 2] =
    [Namespace("http://base.google.com/ns/1.0"), Namespace("https://base.google.com/ns/1.0")];
/// The namespace of Atom.
const ATOM: Namespace<'_> = Namespace("http://www.w3.org/2005/Atom");
/// The fields that say to which product an item belongs. They are kept of an item that is refused.
const NAMING: [&str; 2] = ["id", "item_group_id"];
/// The longest of them in an item that is too long, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// The element of a product: in RSS, in Atom.
const ITEMS: [&str; 2] = ["item", "entry"];

/// An item that is being read.
struct Item {
    line: u64,
    depth: usize,
    /// Google's fields, then those of RSS and Atom, which are used only where Google's are missing.
    fields: [Vec<(String, String)>; 2],
    /// About how many bytes the fields take.
    bytes: usize,
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
/// The input fails, or is not XML, or not a feed, or its rows take too much memory. Variants of any product may be
/// missing then, so no row may be used.
pub(super) fn rows(
    input: impl BufRead,
    refused: &mut Vec<(u64, RowError)>,
) -> Result<Vec<ForeignRow>, (u64, RowError)> {
    let mut reader = NsReader::from_reader(Source::new(input));
    reader.config_mut().expand_empty_elements = true;
    let mut piece = Vec::new();
    let (mut rows, mut found) = (Rows::default(), false);
    let mut shapes = Shapes::default();
    let (mut item, mut field): (Option<Item>, Option<Field>) = (None, None);
    let mut depth = 0_usize;
    loop {
        let line = reader.get_ref().line;
        piece.clear();
        reader.get_mut().piece_bytes_left = LINE_BYTES_MAX;
        let read = reader.read_resolved_event_into(&mut piece).map(|(namespace, event)| (is_known(&namespace), event));
        let (namespace, event) = read.map_err(|error| (line, reader.get_ref().reason(error)))?;
        match event {
            Event::Start(start) => {
                depth += 1;
                if depth > FEED_DEPTH_MAX {
                    return Err((line, RowError::TooDeep));
                }
                let name = start.local_name().into_inner().to_lowercase();
                match &item {
                    None if ITEMS.contains(&name.as_str()) => {
                        found = true;
                        item = Some(Item::new(reader.get_ref().line, depth));
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
                        && let Some(field) = field.take().filter(|field| !field.has_children)
                    {
                        open.push(field);
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
            Event::Text(text) => add(&mut field, item.as_mut(), &text.xml10_content()),
            Event::CData(text) => add(&mut field, item.as_mut(), &text.xml10_content()),
            Event::GeneralRef(reference) => expand(&reference, &mut field, item.as_mut()),
            Event::Eof => break,
            // It is read as a start and an end.
            Event::Empty(_) => {}
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    if depth > 0 {
        let line = item.map_or(reader.get_ref().line, |item| item.line);
        return Err((line, RowError::CutOff));
    }
    if found { Ok(rows.into_rows().0) } else { Err((1, RowError::NoFeed)) }
}

/// Adds the character of a reference. An entity that the document defines makes the item refused.
fn expand(reference: &BytesRef<'_>, field: &mut Option<Field>, item: Option<&mut Item>) {
    let character = reference.resolve_char_ref().ok().flatten().filter(|&character| character != '\0');
    let text = character.map(String::from);
    let text = text.or_else(|| resolve_predefined_entity(reference.as_ref()).map(str::to_owned));
    match (text, field.as_ref(), item) {
        (Some(text), _, item) => add(field, item, &text),
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
        ResolveResult::Bound(bound) if GOOGLE.contains(bound) => Some(true),
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

fn add(field: &mut Option<Field>, item: Option<&mut Item>, text: &str) {
    if let (Some(field), Some(item)) = (field, item)
        && item.has_room(text.len())
    {
        field.text.push_str(text);
    }
}

/// The columns of items by the names of their fields: most items of a feed have the same.
type Shapes = HashMap<Vec<String>, Columns>;

impl Item {
    fn new(line: u64, depth: usize) -> Self {
        Self { line, depth, fields: [Vec::new(), Vec::new()], bytes: 0, refused: None }
    }

    /// Whether so many more bytes fit into the item, which is as long as other rows at most. If not, it is refused, and
    /// nothing more of it is kept.
    fn has_room(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > LINE_BYTES_MAX {
            self.refused.get_or_insert(RowError::TooLong);
            self.fields.iter_mut().for_each(|fields| fields.retain(is_naming));
        }
        self.bytes <= LINE_BYTES_MAX
    }

    fn push(&mut self, Field { name, text, is_google, .. }: Field) {
        let has_room = self.has_room(size_of::<(String, String)>() + name.len());
        let field = (name, text);
        if has_room || (is_naming(&field) && self.fields.iter().all(|fields| fields.len() < NAMING.len())) {
            self.fields[usize::from(!is_google)].push(field);
        }
    }

    fn finish(self, shapes: &mut Shapes, rows: &mut Rows, refused: &mut Vec<(u64, RowError)>) -> Result<(), RowError> {
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
        match (columns.record(self.line, &cells), self.refused) {
            (Some(row), None) => rows.push(row),
            // The other items of its product are refused with it.
            (Some(mut row), Some(reason)) => {
                row.fault = Some(Box::new(reason));
                rows.push(row)
            }
            (None, None) => Ok(()),
            (None, Some(reason)) => {
                refused.push((self.line, reason));
                rows.count(FAULT_BYTES)
            }
        }
    }
}

/// Whether a field says to which product its item belongs.
fn is_naming((name, text): &(String, String)) -> bool {
    NAMING.contains(&name.as_str()) && text.len() <= NAME_BYTES_MAX
}

/// The input of a feed: counts its lines, and ends a piece of XML (a tag, a text, a comment) that is too long to be
/// kept.
struct Source<R> {
    input: R,
    /// The line of the next byte.
    line: u64,
    after_carriage_return: bool,
    /// How many bytes the piece that is being read may still have.
    piece_bytes_left: usize,
}

impl<R> Source<R> {
    fn new(input: R) -> Self {
        Self { input, line: 1, after_carriage_return: false, piece_bytes_left: LINE_BYTES_MAX }
    }

    /// Why reading has ended with this error.
    fn reason(&self, error: Error) -> RowError {
        match error {
            Error::Io(_) if self.piece_bytes_left == 0 => RowError::TooLong,
            Error::Io(error) => RowError::Input(io::Error::new(error.kind(), error)),
            Error::Encoding(_) => RowError::NotText,
            error => RowError::NotXml { reason: error.to_string() },
        }
    }
}

impl<R: BufRead> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let bytes = self.input.fill_buf()?;
        if self.piece_bytes_left == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(&bytes[..bytes.len().min(self.piece_bytes_left)])
    }

    fn consume(&mut self, amount: usize) {
        // What was filled is still there, so nothing is read.
        for byte in self.input.fill_buf().unwrap_or_default().iter().take(amount) {
            let begins = *byte == b'\r' || (*byte == b'\n' && !self.after_carriage_return);
            self.line += u64::from(begins);
            self.after_carriage_return = *byte == b'\r';
        }
        self.piece_bytes_left = self.piece_bytes_left.saturating_sub(amount);
        self.input.consume(amount);
    }
}

impl<R: BufRead> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}
