//! The writer's side of the lists: what each event of an order, a review or an account changes in them.
//!
//! May depend on `storage` and `domain`.

use std::collections::{BTreeSet, HashMap};

use serde::de::DeserializeOwned;

use super::keys::{NAME, Stage, attention_key, key, newest_first, open_order_key};
use crate::{
    actors::{
        projection::{Projection, ProjectionFault},
        records::{self, Replayed},
    },
    domain::{
        account::{self, Account},
        cart::Cart,
        entity::{Entity, EntityId, Kind, Timestamp},
        ids::{AccountId, OrderId, ProductId},
        order::{self, Order, PaymentState, Placement, RefundState},
        review::{self, Review, ReviewId, Written},
        reviews::{self, Reviews},
    },
    planted::{Bug, planted},
    storage::{
        Change, Journal, Loaded, Position, Record, Stream,
        codec::{decode, encode},
    },
};

/// How many changes are committed together at the most, give or take a page: it bounds the memory that they take. About as many as half
/// a second of a busy shop brings, so that what an order becomes within it is written once.
const COMMIT_CHANGES: usize = 4_096;
/// The lists that remember what else is listed, and under which key.
const REMEMBERED: [u8; 2] = [b'p', b'v'];
/// How many keys a seeding gathers before it writes them: it bounds the memory that it takes.
const SEEDED_KEYS_MAX: usize = 10_000;

/// The writer's side.
pub struct ListsProjection {
    journal: Journal,
    pending: HashMap<Vec<u8>, Option<Vec<u8>>>,
    /// The streams with events that erase, since the last commit.
    erased: BTreeSet<Stream>,
}

impl ListsProjection {
    /// The projection over a journal's lists.
    ///
    /// # Errors
    /// A fault of the storage.
    pub fn open(journal: Journal) -> Result<Self, ProjectionFault> {
        Ok(Self { journal, pending: HashMap::new(), erased: BTreeSet::new() })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ProjectionFault> {
        match self.pending.get(key) {
            Some(pending) => Ok(pending.clone()),
            None => self.journal.read_models().get(NAME, key).map_err(|error| fault(&error)),
        }
    }

    /// What a record says, and of whom.
    fn event<E: Entity>(&mut self, record: &Record) -> Result<(E::Id, E::Event), ProjectionFault> {
        let event = records::decode_event::<E>(record.version, &record.payload).map_err(|error| fault(&error))?;
        if E::erases(&event) {
            self.erased.insert(record.stream.clone());
        }
        Ok((id_of::<E>(&record.stream)?, event))
    }

    /// What has become of an entity.
    fn state<E: Entity>(&mut self, stream: &Stream, loaded: &Loaded) -> Result<(E::Id, E), ProjectionFault> {
        let Replayed { entity, erased_since } = records::replay(loaded).map_err(|error| fault(&error))?;
        if erased_since {
            self.erased.insert(stream.clone());
        }
        Ok((id_of::<E>(stream)?, entity))
    }

    fn decoded<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, ProjectionFault> {
        let value = self.get(key)?;
        value.map(|value| decode(&value).map_err(|error| fault(&error))).transpose()
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.pending.insert(key, Some(value));
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.pending.insert(key, None);
    }

    fn order_event(&mut self, order: OrderId, event: &order::Event) -> Result<(), ProjectionFault> {
        use order::Event;
        match event.leaves_open() {
            Some(true) if planted(Bug::OrderNotListed) && matches!(event, Event::Placed(_)) => {}
            // The checkout comes back to it at the next start.
            Some(true) => self.put(open_order_key(order), Vec::new()),
            Some(false) => self.delete(open_order_key(order)),
            None => {}
        }
        match event {
            Event::RefundAdvanced { state: RefundState::Failed { .. }, .. }
            | Event::RefundedElsewhere { .. }
            | Event::IssueRaised { .. } => {
                self.put(attention_key(order), Vec::new());
            }
            Event::IssuesResolved { all: true, .. } => self.delete(attention_key(order)),
            _ => {}
        }
        let stage = match event {
            Event::Placed(placement) => {
                self.placed(order, placement);
                return self.move_to(order, Stage::Open, Some(placement.at));
            }
            Event::PaymentAdvanced { state, .. } => match state {
                PaymentState::Captured { .. } => Stage::Paid,
                PaymentState::Authorised { .. } => Stage::Authorised,
                PaymentState::Declined { .. } | PaymentState::Voided { .. } => return self.open_again(order),
                PaymentState::ActionRequired { .. } | PaymentState::Processing { .. } => return Ok(()),
            },
            Event::Fulfilled { .. } | Event::FulfilledWithMore { .. } => Stage::Confirmed,
            Event::Packed { .. } => Stage::Packed,
            Event::Shipped { .. } => Stage::Shipped,
            Event::Delivered { .. } => Stage::Delivered,
            Event::Ended { .. } | Event::EndedWithMore { .. } => Stage::Ended,
            Event::EndBegun { .. } => return self.open_again(order),
            Event::CartTaken { .. }
            | Event::StockAnswered { .. }
            | Event::PaymentRequested { .. }
            | Event::AuthorisationRequested { .. }
            | Event::CaptureRequested { .. }
            | Event::VoidRequested { .. }
            | Event::StrayCaptured { .. }
            | Event::Notified { .. }
            | Event::NothingNew { .. }
            | Event::RefundRequested { .. }
            | Event::RefundedElsewhere { .. }
            | Event::RefundAdvanced { .. }
            | Event::Restocked { .. }
            | Event::ReturnRequested { .. }
            | Event::ReturnReceived { .. }
            | Event::ReturnRejected { .. }
            | Event::Undone { .. }
            | Event::IssueRaised { .. }
            | Event::IssuesResolved { .. }
            | Event::Erased { .. } => return Ok(()),
        };
        self.move_to(order, stage, None)
    }

    /// An order that had come further is open again.
    fn open_again(&mut self, order: OrderId) -> Result<(), ProjectionFault> {
        let known: Option<(Timestamp, Stage)> = self.decoded(&key(b'p', &[&order.to_key()]))?;
        match known {
            Some((_, stage)) if stage != Stage::Open => self.move_to(order, Stage::Open, None),
            _ => Ok(()),
        }
    }

    fn placed(&mut self, order: OrderId, placement: &Placement) {
        let (at, order) = (newest_first(placement.at), order.to_key());
        self.put(key(b'c', &[&placement.customer.to_key(), &at, &order]), Vec::new());
        for line in &placement.lines {
            self.put(key(b's', &[&line.seller.to_key(), &at, &order]), Vec::new());
        }
    }

    /// What all its events together would have listed.
    fn order_state(&mut self, id: OrderId, order: &Order) -> Result<(), ProjectionFault> {
        let (Some(placement), Some(status)) = (order.placement(), order.status()) else { return Ok(()) };
        let stage = Stage::from(status);
        self.placed(id, placement);
        if !order.is_settled() {
            self.put(open_order_key(id), Vec::new());
        }
        if order.open_issue_kinds().next().is_some() {
            self.put(attention_key(id), Vec::new());
        }
        self.move_to(id, stage, Some(placement.at))
    }

    /// The changes since the last commit, in the order in which they are to be made: a crash may leave only the first of them, and
    /// those that come again are then found by what is remembered, so that changes last.
    pub(in crate::actors) fn take_changes(&mut self) -> Vec<Change> {
        let mut changes: Vec<_> = self.pending.drain().collect();
        // And in the order of the keys, since neighbours share a page of the tree.
        changes.sort_unstable_by(|(key, value), (other, others)| {
            let rank = |key: &[u8], value: &Option<_>| (REMEMBERED.contains(&key[0]), value.is_none());
            (rank(key, value), key).cmp(&(rank(other, others), other))
        });
        let changes = changes.into_iter().map(|(key, value)| match value {
            Some(value) => Change::Put(key, value),
            None => Change::Delete(key),
        });
        changes.collect()
    }

    fn move_to(&mut self, order: OrderId, stage: Stage, placed_at: Option<Timestamp>) -> Result<(), ProjectionFault> {
        let place = key(b'p', &[&order.to_key()]);
        let known: Option<(Timestamp, Stage)> = self.decoded(&place)?;
        if let Some((at, stage)) = known {
            self.delete(key(b't', &[&[stage as u8], &newest_first(at), &order.to_key()]));
        }
        let Some(at) = placed_at.or(known.map(|(at, _)| at)) else { return Ok(()) };
        self.put(key(b't', &[&[stage as u8], &newest_first(at), &order.to_key()]), Vec::new());
        match stage {
            // It moves no more. Ids of orders are random, so each that stayed would cost a page of the tree.
            Stage::Delivered | Stage::Ended => self.delete(place),
            _ => self.put(place, encode(&(at, stage))),
        }
        Ok(())
    }

    fn account_event(&mut self, account: AccountId, event: &account::Event) {
        let under_way = key(b'e', &[&account.to_key()]);
        match event {
            account::Event::ErasureBegun { user, .. } => self.put(under_way, user.to_key()),
            account::Event::Erased { .. } => self.delete(under_way),
            _ => {}
        }
    }

    fn review_event(&mut self, id: &ReviewId, event: &review::Event) -> Result<(), ProjectionFault> {
        match event {
            review::Event::Written { written, version } => {
                self.put(key(b'n', &[&id.to_key()]), encode(version));
                self.list_review(id, written)
            }
            review::Event::Erased { .. } => {
                self.delete(key(b'n', &[&id.to_key()]));
                self.unlist_review(id)
            }
        }
    }

    fn rating_event(&mut self, product: ProductId, event: &reviews::Event) -> Result<(), ProjectionFault> {
        match event {
            reviews::Event::Rated { customer, version, .. } => {
                self.counted(&ReviewId { product, customer: *customer }, *version)
            }
            reviews::Event::Forgotten { .. } => Ok(()),
        }
    }

    /// What all its events together would have listed.
    fn review_state(&mut self, id: &ReviewId, review: &Review) -> Result<(), ProjectionFault> {
        let review::View { written, version } = review.view();
        let Some(written) = written else { return Ok(()) };
        self.put(key(b'n', &[&id.to_key()]), encode(&version));
        self.list_review(id, &written)
    }

    /// What all its events together would have listed, after what the reviews themselves have.
    fn rating_state(&mut self, product: &ProductId, reviews: &Reviews) -> Result<(), ProjectionFault> {
        for (customer, version) in reviews.versions() {
            self.counted(&ReviewId { product: product.clone(), customer }, version)?;
        }
        Ok(())
    }

    fn counted(&mut self, id: &ReviewId, version: u64) -> Result<(), ProjectionFault> {
        let uncounted = key(b'n', &[&id.to_key()]);
        let newest: Option<u64> = self.decoded(&uncounted)?;
        if newest.is_some_and(|newest| newest <= version) {
            self.delete(uncounted);
        }
        Ok(())
    }

    fn list_review(&mut self, id: &ReviewId, written: &Written) -> Result<(), ProjectionFault> {
        self.unlist_review(id)?;
        self.put(key(b'v', &[&id.to_key()]), encode(&written.at));
        self.put(listed_review(id, written.at), encode(written));
        Ok(())
    }

    fn unlist_review(&mut self, id: &ReviewId) -> Result<(), ProjectionFault> {
        let written = key(b'v', &[&id.to_key()]);
        if let Some(before) = self.decoded(&written)? {
            self.delete(listed_review(id, before));
            self.delete(written);
        }
        Ok(())
    }
}

fn listed_review(id: &ReviewId, at: Timestamp) -> Vec<u8> {
    key(b'r', &[id.product.as_str().as_bytes(), &[0], &newest_first(at), &id.customer.to_key()])
}

impl Projection for ListsProjection {
    fn name(&self) -> &'static str {
        NAME
    }

    fn position(&self) -> Position {
        self.journal.read_models().position(NAME)
    }

    /// Reviews come first: the ratings that count them refer to them.
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Order, Kind::Review, Kind::Reviews, Kind::Account, Kind::Cart]
    }

    fn clear(&mut self) -> Result<(), ProjectionFault> {
        self.pending.clear();
        self.journal.read_models().clear(NAME).map_err(|error| fault(&error))
    }

    fn seed(&mut self, stream: &Stream, loaded: &Loaded) -> Result<(), ProjectionFault> {
        let kind = stream.kind();
        if kind == Kind::Order as u8 {
            let (id, order) = self.state::<Order>(stream, loaded)?;
            self.order_state(id, &order)?;
        } else if kind == Kind::Review as u8 {
            let (id, review) = self.state::<Review>(stream, loaded)?;
            self.review_state(&id, &review)?;
        } else if kind == Kind::Reviews as u8 {
            let (product, reviews) = self.state::<Reviews>(stream, loaded)?;
            self.rating_state(&product, &reviews)?;
        } else if kind == Kind::Account as u8 {
            let (id, account) = self.state::<Account>(stream, loaded)?;
            if let Some(user) = account.view().former.and_then(|former| former.under_way) {
                self.put(key(b'e', &[&id.to_key()]), user.to_key());
            }
        } else if kind == Kind::Cart as u8 {
            self.state::<Cart>(stream, loaded)?;
        }
        if self.pending.len() >= SEEDED_KEYS_MAX {
            // At the beginning: a list that is not complete is no list, and a start would begin again.
            let changes = self.take_changes();
            self.journal.read_models().commit(NAME, Position::BEGINNING, changes).map_err(|error| fault(&error))?;
        }
        Ok(())
    }

    fn apply(&mut self, records: &[Record]) -> Result<(), ProjectionFault> {
        for record in records {
            let kind = record.stream.kind();
            if kind == Kind::Order as u8 {
                let (id, event) = self.event::<Order>(record)?;
                self.order_event(id, &event)?;
            } else if kind == Kind::Reviews as u8 {
                let (product, event) = self.event::<Reviews>(record)?;
                self.rating_event(product, &event)?;
            } else if kind == Kind::Review as u8 {
                let (id, event) = self.event::<Review>(record)?;
                self.review_event(&id, &event)?;
            } else if kind == Kind::Account as u8 {
                let (id, event) = self.event::<Account>(record)?;
                self.account_event(id, &event);
            } else if kind == Kind::Cart as u8 {
                self.event::<Cart>(record)?;
            }
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        self.pending.len() >= COMMIT_CHANGES
    }

    fn take_erased(&mut self) -> Vec<Stream> {
        std::mem::take(&mut self.erased).into_iter().collect()
    }

    fn commit(&mut self, position: Position) -> Result<(), ProjectionFault> {
        let changes = self.take_changes();
        self.journal.read_models().commit(NAME, position, changes).map_err(|error| fault(&error))
    }
}

fn id_of<E: Entity>(stream: &Stream) -> Result<E::Id, ProjectionFault> {
    E::Id::from_key(stream.key()).ok_or_else(|| fault(&"a bad id"))
}

fn fault(problem: &dyn std::fmt::Display) -> ProjectionFault {
    ProjectionFault { projection: NAME, problem: problem.to_string() }
}
