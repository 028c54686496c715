//! Tests of the room as a whole: what is found, in which order, on which page, and after which accidents.
//!
//! Records are made by hand here: the key is the product's id and the payload holds the change as JSON.

mod accidents;
mod finding;
mod hostile;
mod paging;
mod quality;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::{Catalogue, CatalogueChange, Hit, IndexProjection, Search, SearchPage, SearchRequest};
use crate::{
    actors::projection::Projection,
    domain::{
        entity::{EntityId, Kind, Timestamp},
        ids::{ProductId, UserId},
        money::{Currency, Money},
        product::Details,
    },
    storage::{Loaded, Position, Record, Stream},
};

/// What the payload of a test's record holds.
#[derive(Serialize, Deserialize)]
enum Payload {
    Listed { seller: UserId, details: Box<Details>, at: Timestamp },
    Delisted,
}

struct ByHand;

impl Catalogue for ByHand {
    fn change(&self, record: &Record) -> Option<CatalogueChange> {
        if record.stream.kind() != Kind::Product as u8 {
            return None;
        }
        let id = ProductId::from_key(record.stream.key())?;
        Some(match serde_json::from_slice(&record.payload).ok()? {
            Payload::Listed { seller, details, at } => {
                CatalogueChange::Listed { id, details: Arc::new(*details), seller, at }
            }
            Payload::Delisted => CatalogueChange::Delisted { id },
        })
    }

    /// Each record says all there is to say.
    fn listed(&self, _: &Stream, loaded: &Loaded) -> Option<CatalogueChange> {
        self.change(loaded.records.last()?).filter(|change| matches!(change, CatalogueChange::Listed { .. }))
    }
}

fn record(id: &str, payload: &Payload) -> Record {
    Record {
        stream: Stream::new(Kind::Product as u8, id.as_bytes()),
        sequence: 1,
        version: 1,
        payload: serde_json::to_vec(payload).unwrap().into(),
    }
}

/// The details of a product of which only the title matters.
fn titled(title: &str) -> Details {
    Details {
        title: title.to_owned(),
        description: String::new(),
        brand: None,
        category: Vec::new(),
        price: None,
        thumbnail_url: None,
        images: Vec::new(),
        attributes: Vec::new(),
        imported_rating: None,
        variant_of: None,
        variants: Vec::new(),
    }
}

fn described(title: &str, description: &str) -> Details {
    Details { description: description.to_owned(), ..titled(title) }
}

fn priced(title: &str, minor: u64) -> Details {
    Details { price: Some(Money { minor, currency: Currency::INR }), ..titled(title) }
}

fn listed(id: &str, details: Details, at_ms: u64) -> Record {
    record(id, &Payload::Listed { seller: UserId(1), details: Box::new(details), at: Timestamp(at_ms) })
}

fn delisted(id: &str) -> Record {
    record(id, &Payload::Delisted)
}

/// A shop's search in a directory of its own.
struct Shop {
    directory: TempDir,
    search: Search,
    projection: IndexProjection,
    position: u64,
}

impl Shop {
    fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let search = Search::open(&directory.path().join("index")).unwrap();
        let projection = IndexProjection::new(search.clone(), ByHand).unwrap();
        Self { directory, search, projection, position: 0 }
    }

    fn with(products: &[(&str, Details)]) -> Self {
        let mut shop = Self::open();
        let records: Vec<Record> =
            products.iter().zip(1..).map(|((id, details), at_ms)| listed(id, details.clone(), at_ms)).collect();
        shop.take(&records);
        shop
    }

    /// Applies and commits.
    fn take(&mut self, records: &[Record]) {
        self.position += 1;
        self.projection.apply(records).unwrap();
        self.projection.commit(Position(self.position)).unwrap();
    }

    fn find(&self, request: &SearchRequest) -> SearchPage {
        self.search.find(request).unwrap()
    }

    /// The ids found for a text, in order.
    fn ids(&self, text: &str) -> Vec<String> {
        ids(&self.find(&SearchRequest { text: Some(text.to_owned()), ..SearchRequest::default() }).hits)
    }
}

fn ids(hits: &[Hit]) -> Vec<String> {
    hits.iter().map(|hit| hit.product.to_string()).collect()
}
