//! The writer's side of the lists: what each event of an order, a review or an account changes in them.
//!
//! May depend on `storage` and `domain`.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use serde::de::DeserializeOwned;

use super::keys::{NAME, issues_key, key, newest_first, open_order_key, seller_key, stage_key, standing_key};
use crate::{
    actors::{
        projection::{Projection, ProjectionFault},
        records::{self, Replayed, Stored},
        sales::{MOVING, Sales},
    },
    domain::{
        account::{self, Account, Holder, Role, Standing},
        cart::Cart,
        entity::{Entity, EntityId, Kind, Tag, Timestamp},
        ids::{AccountId, OrderId, ProductId, UserId},
        order::{self, Listing, Order, Placement, Stage},
        ratings::{self, Ratings},
        review::{self, Review, ReviewId, Written},
        seller::Seller,
    },
    storage::{
        Change, Journal, Loaded, Position, Record, Stream,
        codec::{decode, encode},
    },
};

/// How many changes are committed together at the most, give or take a page: it bounds the memory that they take. About
/// as many as half a second of a busy shop brings, so that what an order becomes within it is written once.
const COMMIT_CHANGES: usize = 4_096;
/// The lists whose entries say how something is listed elsewhere, so that it can be found and moved.
const REMEMBERED: [u8; 3] = [b'p', b'v', b'u'];
/// How many entries are read at once while they are counted.
const COUNTED_AT_ONCE: usize = 1_024;
/// How many keys a seeding gathers before it writes them: it bounds the memory that it takes.
const SEEDED_KEYS_MAX: usize = 10_000;

/// The projection that writes the lists.
pub struct ListsProjection {
    journal: Journal,
    pending: HashMap<Vec<u8>, Option<Vec<u8>>>,
    /// The streams with events that erase, since the last commit.
    erased: BTreeSet<Stream>,
    sales: Arc<Sales>,
    /// By how many orders and lines of orders each stage has changed since the last commit.
    moved: Moved,
    /// Until this is committed, changes may be ones that were stored before: a crash leaves some of a commit. Then the
    /// orders of each stage are counted again.
    counted_again_at: Option<Position>,
}

/// Of each stage: orders, and lines of them.
type Moved = [(i64, i64); Stage::ALL.len() + 1];

/// How an order is listed: when it was placed, how it stood, and how many lines it has.
type Place = (Timestamp, Listing, u32);

impl ListsProjection {
    /// The projection over a journal's lists, which counts the orders of each stage.
    ///
    /// # Errors
    /// A fault of the storage.
    pub fn open(journal: Journal, sales: Arc<Sales>) -> Result<Self, ProjectionFault> {
        let (pending, moved) = (HashMap::new(), Moved::default());
        let counted_again_at = Some(journal.durable());
        let opened = Self { journal, pending, erased: BTreeSet::new(), sales, moved, counted_again_at };
        opened.count_all()?;
        Ok(opened)
    }

    fn count_all(&self) -> Result<(), ProjectionFault> {
        for stage in MOVING {
            let (orders, lines) = self.count(stage)?;
            self.sales.set_orders(stage, orders, lines);
        }
        Ok(())
    }

    /// How many orders are listed in a stage, and how many lines these have.
    fn count(&self, stage: Stage) -> Result<(i64, i64), ProjectionFault> {
        let (prefix, mut last, mut counted) = (key(b't', &[&[stage as u8]]), None::<Vec<u8>>, (0, 0));
        loop {
            let read_models = self.journal.read_models();
            let found =
                read_models.scan(NAME, &prefix, last.as_deref(), COUNTED_AT_ONCE).map_err(|error| fault(&error))?;
            for (_, value) in &found {
                let lines: u32 = decode(value).map_err(|error| fault(&error))?;
                counted = (counted.0 + 1, counted.1 + i64::from(lines));
            }
            match found.into_iter().next_back() {
                Some((key, _)) => last = Some(key),
                None => return Ok(counted),
            }
        }
    }

    fn commit_at(&mut self, position: Position) -> Result<(), ProjectionFault> {
        let changes = self.take_changes();
        self.journal.read_models().commit(NAME, position, changes).map_err(|error| fault(&error))?;
        let moved = std::mem::take(&mut self.moved);
        match self.counted_again_at {
            Some(until) if position < until => return Ok(()),
            Some(_) => {
                self.counted_again_at = None;
                return self.count_all();
            }
            None => {}
        }
        for stage in Stage::ALL {
            let (orders, lines) = moved[stage as usize];
            self.sales.moved(stage, orders, lines);
        }
        Ok(())
    }

    /// What is stored under a key, apart from the changes that are not committed.
    fn stored(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ProjectionFault> {
        self.journal.read_models().get(NAME, key).map_err(|error| fault(&error))
    }

    fn is_listed(&self, key: &[u8]) -> Result<bool, ProjectionFault> {
        match self.pending.get(key) {
            Some(pending) => Ok(pending.is_some()),
            None => Ok(self.stored(key)?.is_some()),
        }
    }

    /// The event of a record with its tag, and whose it is.
    fn event<E: Entity>(&mut self, record: &Record) -> Result<(E::Id, E::Event, Tag), ProjectionFault> {
        let Stored { header, value: event } =
            records::decode_event::<E>(record.version, &record.payload).map_err(|error| fault(&error))?;
        if E::erases(&event) {
            self.erased.insert(record.stream.clone());
        }
        Ok((id_of::<E>(&record.stream)?, event, header.tag))
    }

    /// The current state of an entity.
    fn state<E: Entity>(&mut self, stream: &Stream, loaded: &Loaded) -> Result<(E::Id, E), ProjectionFault> {
        let Replayed { entity, erased_since, .. } = records::replay(loaded).map_err(|error| fault(&error))?;
        if erased_since {
            self.erased.insert(stream.clone());
        }
        Ok((id_of::<E>(stream)?, entity))
    }

    fn decoded<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, ProjectionFault> {
        let decoded = |value: &[u8]| decode(value).map_err(|error| fault(&error));
        match self.pending.get(key) {
            Some(pending) => pending.as_deref().map(decoded).transpose(),
            None => self.stored(key)?.as_deref().map(decoded).transpose(),
        }
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.pending.insert(key, Some(value));
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.pending.insert(key, None);
    }

    fn order_event(&mut self, order: OrderId, event: &order::Event, tag: Tag) -> Result<(), ProjectionFault> {
        let placed = match event {
            order::Event::Placed(placement) => Some(placement.as_ref()),
            _ => None,
        };
        match Listing::from_tag(tag) {
            Some(listing) => self.list_order(order, listing, placed),
            None => Ok(()),
        }
    }

    /// Lists an order as its state wants it. `placed` is its placement, where it may be new to the lists.
    ///
    /// One read says how it is listed, unless it is new or has reached its last stage, where that is forgotten.
    fn list_order(
        &mut self,
        order: OrderId,
        listing: Listing,
        placed: Option<&Placement>,
    ) -> Result<(), ProjectionFault> {
        if let Some(placement) = placed {
            self.placed(order, placement);
        }
        let known: Option<Place> = self.decoded(&place_key(order))?;
        self.set(|| open_order_key(order), known.map(|(_, known, _)| known.is_open), listing.is_open)?;
        self.set(|| issues_key(order), known.map(|(_, known, _)| known.has_issues), listing.has_issues)?;
        let lines = |placement: &Placement| u32::try_from(placement.lines.len()).unwrap_or(u32::MAX);
        let placed = placed.map(|placement| (placement.at, lines(placement)));
        if let Some((at, lines)) = placed.or(known.map(|(at, _, lines)| (at, lines))) {
            self.move_to(order, known, (at, listing, lines));
        }
        Ok(())
    }

    /// Puts a key without a value, or deletes it. Nothing is written where it is known to be so already; where that is
    /// not known, a read is cheaper than a deletion, but no cheaper than a put.
    fn set(
        &mut self,
        key: impl FnOnce() -> Vec<u8>,
        was_listed: Option<bool>,
        is_listed: bool,
    ) -> Result<(), ProjectionFault> {
        match (was_listed, is_listed) {
            (Some(true), true) | (Some(false), false) => {}
            (_, true) => self.put(key(), Vec::new()),
            (Some(true), false) => self.delete(key()),
            (None, false) => {
                let key = key();
                if self.is_listed(&key)? {
                    self.delete(key);
                }
            }
        }
        Ok(())
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
        match order.listing() {
            Some(listing) => self.list_order(id, listing, order.placement().map(Arc::as_ref)),
            None => Ok(()),
        }
    }

    /// The changes since the last commit, in the order in which they are to be made. A crash may leave only the first
    /// of them. What is remembered comes last: after a crash it still says where the old entries are, so that the
    /// changes can be made again.
    pub(in crate::actors) fn take_changes(&mut self) -> Vec<Change> {
        let mut changes: Vec<_> = self.pending.drain().collect();
        // Otherwise in the order of the keys, since neighbours share a page of the tree.
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

    fn move_to(&mut self, order: OrderId, known: Option<Place>, place: Place) {
        let (at, listing, lines) = place;
        if known.is_some_and(|(_, known, _)| known == listing) {
            return;
        }
        let mut count = |stage: Stage, orders: i64, lines: u32| {
            let (of_orders, of_lines) = &mut self.moved[stage as usize];
            *of_orders += orders;
            *of_lines += orders * i64::from(lines);
        };
        match known {
            Some((_, known, _)) if known.stage == listing.stage => {}
            known => {
                if let Some((_, known, lines)) = known {
                    count(known.stage, -1, lines);
                }
                count(listing.stage, 1, lines);
                if let Some((at, known, _)) = known {
                    self.delete(stage_key(order, at, known.stage));
                }
                self.put(stage_key(order, at, listing.stage), encode(&lines));
            }
        }
        match listing.stage {
            // It moves no more. Ids of orders are random, so each that stayed would cost a page of the tree.
            Stage::Delivered | Stage::Ended => self.delete(place_key(order)),
            _ => self.put(place_key(order), encode(&place)),
        }
    }

    fn account_event(&mut self, account: AccountId, event: &account::Event) -> Result<(), ProjectionFault> {
        let under_way = key(b'e', &[&account.to_key()]);
        match event {
            account::Event::ErasureBegun { user, .. } => {
                self.put(under_way, user.to_key());
                self.unlist_seller(*user)?;
            }
            account::Event::Erased { .. } => self.delete(under_way),
            account::Event::Registered { user, role: Role::Seller, standing, at, .. } => {
                self.list_seller(*user, account, *at, *standing);
            }
            account::Event::RoleGranted { user, role: Role::Seller, standing, created_at, .. } => {
                self.list_seller(*user, account, *created_at, *standing);
            }
            account::Event::RoleGranted { user, .. } => self.unlist_seller(*user)?,
            account::Event::SellerDecided { user, approval, .. } => {
                let known: Option<(AccountId, Timestamp)> = self.decoded(&seller_key(*user))?;
                if let Some((account, at)) = known {
                    self.list_seller(*user, account, at, (*approval).into());
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Lists a seller where it stands, and nowhere else.
    fn list_seller(&mut self, user: UserId, account: AccountId, at: Timestamp, standing: Standing) {
        for other in Standing::LISTED.into_iter().filter(|other| *other != standing.listed()) {
            self.delete(standing_key(other, at, user));
        }
        self.put(standing_key(standing, at, user), account.to_key());
        self.put(seller_key(user), encode(&(account, at)));
    }

    /// Nobody finds an account by the id of a seller who is erased, or has another role.
    fn unlist_seller(&mut self, user: UserId) -> Result<(), ProjectionFault> {
        let known: Option<(AccountId, Timestamp)> = self.decoded(&seller_key(user))?;
        if let Some((_, at)) = known {
            Standing::LISTED.into_iter().for_each(|standing| self.delete(standing_key(standing, at, user)));
            self.delete(seller_key(user));
        }
        Ok(())
    }

    /// What all its events together would have listed.
    fn account_state(&mut self, id: AccountId, account: &Account) {
        let account::View { holder, former } = account.view();
        if let Some(user) = former.and_then(|former| former.under_way) {
            self.put(key(b'e', &[&id.to_key()]), user.to_key());
        }
        if let Some(Holder { user, role: Role::Seller, created_at, standing, .. }) = holder.as_deref() {
            self.list_seller(*user, id, *created_at, *standing);
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

    fn rating_event(&mut self, product: ProductId, event: &ratings::Event) -> Result<(), ProjectionFault> {
        match event {
            ratings::Event::Rated { customer, version, .. } => {
                self.counted(&ReviewId { product, customer: *customer }, *version)
            }
            ratings::Event::Forgotten { .. } => Ok(()),
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
    fn rating_state(&mut self, product: &ProductId, ratings: &Ratings) -> Result<(), ProjectionFault> {
        for (customer, version) in ratings.versions() {
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

/// The key under which the lists remember how an order is listed.
fn place_key(order: OrderId) -> Vec<u8> {
    key(b'p', &[&order.to_key()])
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

    /// Ratings come first: the ratings that count them refer to them.
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Order, Kind::Review, Kind::Ratings, Kind::Account, Kind::Cart, Kind::Seller]
    }

    fn clear(&mut self) -> Result<(), ProjectionFault> {
        self.pending.clear();
        self.moved = Moved::default();
        Stage::ALL.into_iter().for_each(|stage| self.sales.set_orders(stage, 0, 0));
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
        } else if kind == Kind::Ratings as u8 {
            let (product, ratings) = self.state::<Ratings>(stream, loaded)?;
            self.rating_state(&product, &ratings)?;
        } else if kind == Kind::Account as u8 {
            let (id, account) = self.state::<Account>(stream, loaded)?;
            self.account_state(id, &account);
        } else if kind == Kind::Cart as u8 {
            self.state::<Cart>(stream, loaded)?;
        } else if kind == Kind::Seller as u8 {
            self.state::<Seller>(stream, loaded)?;
        }
        if self.pending.len() >= SEEDED_KEYS_MAX {
            // At the beginning: a list that is not complete is no list, and a start would begin again.
            self.commit_at(Position::BEGINNING)?;
        }
        Ok(())
    }

    fn apply(&mut self, records: &[Record]) -> Result<(), ProjectionFault> {
        for record in records {
            let kind = record.stream.kind();
            if kind == Kind::Order as u8 {
                let (id, event, tag) = self.event::<Order>(record)?;
                self.order_event(id, &event, tag)?;
            } else if kind == Kind::Ratings as u8 {
                let (product, event, _) = self.event::<Ratings>(record)?;
                self.rating_event(product, &event)?;
            } else if kind == Kind::Review as u8 {
                let (id, event, _) = self.event::<Review>(record)?;
                self.review_event(&id, &event)?;
            } else if kind == Kind::Account as u8 {
                let (id, event, _) = self.event::<Account>(record)?;
                self.account_event(id, &event)?;
            } else if kind == Kind::Cart as u8 {
                self.event::<Cart>(record)?;
            } else if kind == Kind::Seller as u8 {
                self.event::<Seller>(record)?;
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
        self.commit_at(position)
    }
}

fn id_of<E: Entity>(stream: &Stream) -> Result<E::Id, ProjectionFault> {
    E::Id::from_key(stream.key()).ok_or_else(|| fault(&"a bad id"))
}

fn fault(problem: &dyn std::fmt::Display) -> ProjectionFault {
    ProjectionFault { projection: NAME, problem: problem.to_string() }
}
