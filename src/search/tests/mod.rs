//! Tests of the room as a whole: what is found, in which order, on which page, and after which accidents.
//!
//! The records are made here, in their stored form.

mod accidents;
mod finding;
mod hostile;
mod paging;
mod quality;

use std::sync::Arc;

use tempfile::TempDir;

use super::{Hit, IndexProjection, Search, SearchPage, SearchRequest};
use crate::{
    actors::{projection::Projection, records},
    domain::{
        entity::{Kind, Timestamp},
        ids::SellerId,
        money::{Currency, Money},
        product::{Details, Event, Product},
    },
    storage::{Position, Record, Stream},
};

fn record(id: &str, event: &Event) -> Record {
    Record {
        stream: Stream::new(Kind::Product as u8, id.as_bytes()),
        sequence: 1,
        version: records::EVENT_VERSION,
        payload: records::encode_event::<Product>(records::Header::default(), event).into(),
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
        thumbnail: None,
        pictures: Vec::new(),
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
    record(id, &Event::Listed { seller: SellerId(1), details: Arc::new(details), at: Timestamp(at_ms) })
}

fn delisted(id: &str) -> Record {
    record(id, &Event::Delisted { at: Timestamp(1) })
}

/// A search index in a directory of its own, with its projection.
struct Fixture {
    directory: TempDir,
    search: Search,
    projection: IndexProjection,
    position: u64,
}

impl Fixture {
    fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let search = Search::open(&directory.path().join("index")).unwrap();
        let projection = IndexProjection::new(search.clone()).unwrap();
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
