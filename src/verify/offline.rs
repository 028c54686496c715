//! Checks the directory of a stopped shop: log, state and search index against each other; and reads its orders and
//! stock.
//!
//! Nothing in the directory is changed; what opening would change is copied first. All entities are in memory at once,
//! twice: folded from the log, and as a start would load them.
//!
//! Depends on its neighbours, `storage`, `actors` (records), `search` and `domain`.

use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use super::{
    VerifyError,
    history::Stock,
    observed::{Observed, ObservedOrder, ObservedStock},
    report::{Invariant, Report},
};
use crate::{
    actors::{
        lists::{self, open_order_key},
        records::{Replayed, Stored, decode_event, replay},
    },
    clock::Clock,
    config::layout,
    domain::{
        account::Account,
        cart::Cart,
        entity::{Entity, EntityId, Kind, Timestamp},
        ids::{OrderId, ProductId},
        inventory::{self, Inventory},
        order::{Order, Placement, Refund, RefundState, Status},
        product::{self, Product},
        ratings::Ratings,
        review::Review,
        seller::Seller,
        unmatched_notices::UnmatchedNotices,
    },
    search,
    storage::{Audit, Position, Record, Stream},
};

/// An entity folded from the log, and as a start would load it.
struct Rebuilt<E> {
    /// From the log alone; `None` where its first events are no longer in the log.
    folded: Option<Replayed<E>>,
    /// From the state and the records after it; `None` where that failed.
    loaded: Option<Replayed<E>>,
    /// The last event in `loaded`.
    loaded_sequence: u64,
    /// The last event in the log.
    sequence: u64,
    /// The time of the last event in the log.
    time: Timestamp,
    /// Whether folding failed, so that later events are skipped.
    broken: bool,
}

/// All entities of a kind.
struct Folded<E: Entity>(HashMap<E::Id, Rebuilt<E>>);

impl<E: Entity + PartialEq> Folded<E> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    /// The entity in the state.
    fn load(audit: &Audit, stream: &Stream, report: &mut Report) -> (Option<Replayed<E>>, u64) {
        let loaded = match audit.load(stream) {
            Ok(loaded) => loaded,
            Err(error) => {
                report.find(Invariant::I11, format!("{stream:?}"), error.to_string());
                return (None, 0);
            }
        };
        match guarded(|| replay::<E>(&loaded).map_err(|error| error.to_string())) {
            Ok(replayed) => (Some(replayed), loaded.sequence()),
            Err(problem) => {
                report.find(Invariant::I11, format!("{stream:?}"), format!("the state cannot be replayed: {problem}"));
                (None, 0)
            }
        }
    }

    fn take(&mut self, audit: &Audit, record: &Record, report: &mut Report) -> Option<E::Event> {
        let Some(id) = E::Id::from_key(record.stream.key()) else {
            report.find(Invariant::I11, format!("{:?}", record.stream), "the stream's name is no id");
            return None;
        };
        let sequence = record.sequence;
        let kept = self.0.entry(id).or_insert_with(|| {
            let (loaded, loaded_sequence) = Self::load(audit, &record.stream, report);
            let folded = (sequence == 1).then(Replayed::default);
            let reaches_back = sequence == 1 || audit.oldest() > Position::BEGINNING;
            let before = if reaches_back { sequence - 1 } else { 0 };
            Rebuilt { folded, loaded, loaded_sequence, sequence: before, time: Timestamp::default(), broken: false }
        });
        if kept.broken {
            return None;
        }
        let mut broken = |what: String| {
            report.find(Invariant::I11, format!("{:?}", record.stream), what);
            kept.broken = true;
        };
        if sequence != kept.sequence + 1 {
            broken(format!("record {sequence} follows record {}", kept.sequence));
            return None;
        }
        kept.sequence = sequence;
        let (header, event) = match decode_event::<E>(record.version, &record.payload) {
            Ok(Stored { header, .. }) if header.time < kept.time => {
                broken(format!("record {sequence} is of an earlier time than the one before"));
                return None;
            }
            Ok(Stored { header, value }) => {
                kept.time = header.time;
                (header, value)
            }
            Err(error) => {
                broken(format!("record {sequence} cannot be read: {error}"));
                return None;
            }
        };
        let is_news = sequence > kept.loaded_sequence;
        if is_news && kept.loaded.is_some() && sequence != kept.loaded_sequence + 1 {
            broken(format!("the state ends at {}, the log goes on at {sequence}", kept.loaded_sequence));
            return None;
        }
        let entities = [kept.folded.as_mut(), kept.loaded.as_mut().filter(|_| is_news)];
        let applied = guarded(|| {
            entities.into_iter().flatten().for_each(|replayed| replayed.apply(header, &event));
            Ok(())
        });
        if is_news {
            kept.loaded_sequence = sequence;
        }
        if let Err(problem) = applied {
            broken(format!("record {sequence} cannot have happened: {problem}"));
        }
        Some(event)
    }

    /// Reports entities that differ between the log and what a start would load.
    fn compare(&self, report: &mut Report) -> usize {
        let mut compared = 0;
        for (id, kept) in self.0.iter().filter(|(_, kept)| !kept.broken) {
            let subject = || format!("{:?} {id}", E::KIND);
            if kept.loaded_sequence > kept.sequence {
                let what = format!("the state has event {}, the log ends at {}", kept.loaded_sequence, kept.sequence);
                report.find(Invariant::I11, subject(), what);
            } else if let (Some(folded), Some(loaded)) = (&kept.folded, &kept.loaded) {
                compared += 1;
                if folded.entity != loaded.entity || folded.executed != loaded.executed {
                    let what = format!("a start would load another state than its {} events make", kept.sequence);
                    report.find(Invariant::I11, subject(), what);
                }
            }
        }
        compared
    }

    /// What the shop would show: the loaded entity, or else the one from the log.
    fn entities(&self) -> impl Iterator<Item = (&E::Id, &E)> {
        self.0.iter().filter_map(|(id, kept)| Some((id, &kept.loaded.as_ref().or(kept.folded.as_ref())?.entity)))
    }

    /// Adds a stream that only the state has.
    fn take_stored(&mut self, audit: &Audit, stream: &Stream, report: &mut Report) {
        let Some(id) = E::Id::from_key(stream.key()).filter(|id| !self.0.contains_key(id)) else { return };
        if audit.oldest() == Position::BEGINNING {
            report.find(Invariant::I11, format!("{stream:?}"), "the state has it, and the log does not");
        }
        let (loaded, sequence) = Self::load(audit, stream, report);
        self.0.insert(
            id,
            Rebuilt {
                folded: None,
                loaded,
                loaded_sequence: sequence,
                sequence,
                time: Timestamp::default(),
                broken: false,
            },
        );
    }
}

/// Applying an event may panic on broken data, which must not end the check.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("it breaks a rule of its entity".into()))
}

/// The products that search must show, up to the position that the scan of the log has reached.
#[derive(Default)]
struct Catalogue {
    /// The products at the index's own position.
    cards: BTreeMap<ProductId, String>,
    /// Whether products changed after that position.
    changed_since: bool,
}

impl Catalogue {
    fn take(&mut self, id: ProductId, event: &product::Event) {
        let card = match event {
            product::Event::Listed { details, .. } => search::audit::expected(&id, details),
            product::Event::Delisted { .. } => None,
        };
        match card {
            Some(card) => self.cards.insert(id, card),
            None => self.cards.remove(&id),
        };
    }
}

/// What the scan of the log collects.
struct Directory {
    products: Folded<Product>,
    inventories: Folded<Inventory>,
    carts: Folded<Cart>,
    orders: Folded<Order>,
    accounts: Folded<Account>,
    reviews: Folded<Review>,
    ratings: Folded<Ratings>,
    unmatched_notices: Folded<UnmatchedNotices>,
    sellers: Folded<Seller>,
    placed_at: HashMap<OrderId, Position>,
    catalogue: Catalogue,
}

/// Checks the directory and returns its orders and stock; `None` where the log is damaged and they would be incomplete.
pub(super) fn check(data: &Path, report: &mut Report) -> Result<Option<Observed>, VerifyError> {
    let failed = |problem: String| VerifyError::File { path: data.to_owned(), problem };
    let scratch = tempfile::tempdir().map_err(|error| failed(format!("no place for copies: {error}")))?;
    let audit = Audit::open(&data.join(layout::JOURNAL), &scratch.path().join("state"));
    let audit = audit?;
    report.check(Invariant::I11);
    let index = open_index(&data.join(layout::SEARCH), &scratch.path().join("search"), report);
    let indexed = index.as_ref().map_or(Position(u64::MAX), |index| index.position);
    let mut directory = Directory {
        products: Folded::new(),
        inventories: Folded::new(),
        carts: Folded::new(),
        orders: Folded::new(),
        accounts: Folded::new(),
        reviews: Folded::new(),
        ratings: Folded::new(),
        unmatched_notices: Folded::new(),
        sellers: Folded::new(),
        placed_at: HashMap::new(),
        catalogue: Catalogue::default(),
    };
    let mut records = 0;
    let scan = audit.scan(&mut |end, batch| {
        records += batch.len();
        batch.iter().for_each(|record| directory.take(&audit, record, end, indexed, report));
    });
    let scan = scan.map_err(|error| failed(error.to_string()))?;
    report.look("batches", usize::try_from(scan.batches).unwrap_or(usize::MAX));
    report.look("records", records);
    report.look("torn batches, never acknowledged", usize::from(scan.torn));
    for damage in &scan.damage {
        report.find(Invariant::I11, damage.file.display(), format!("byte {}: {}", damage.offset, damage.what));
    }
    if audit.checkpoint() > scan.end && scan.damage.is_empty() {
        let what = format!("the state is of {:?}, the log ends at {:?}", audit.checkpoint(), scan.end);
        report.find(Invariant::I11, "the state", what);
    }
    let bases = audit.check_bases().map_err(|error| failed(error.to_string()))?;
    if bases.bases > 0 {
        report.look("entries of the base", usize::try_from(bases.entries).unwrap_or(usize::MAX));
    }
    bases.damaged.into_iter().for_each(|what| report.find(Invariant::I11, "the base", what));
    let (values, damaged) = audit.check_values().map_err(|error| failed(error.to_string()))?;
    report.look("values of the state", usize::try_from(values).unwrap_or(usize::MAX));
    damaged.into_iter().for_each(|what| report.find(Invariant::I11, "the state", what));
    if !scan.damage.is_empty() {
        use Invariant::{I1, I2, I3, I4, I5, I6, I8};
        [I1, I2, I3, I4, I5, I6, I8].into_iter().for_each(|open| report.leave_open(open, "the log is damaged"));
        return Ok(None);
    }
    for stream in audit.streams().map_err(|error| failed(error.to_string()))? {
        directory.take_stored(&audit, &stream, report);
    }
    directory.compare(report);
    if let Some(index) = &index {
        directory.check_index(index, &audit, report);
    }
    directory.observed(&audit, report).map(Some)
}

/// Opens a copy of the index, since opening leaves a lock file behind.
fn open_index(from: &Path, to: &Path, report: &mut Report) -> Option<search::audit::Contents> {
    let copied = std::fs::create_dir_all(to).and_then(|()| {
        std::fs::read_dir(from)?.try_for_each(|entry| {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
            Ok(())
        })
    });
    if let Err(error) = copied {
        report.leave_open(Invariant::I8, format!("{}: {error}", from.display()));
        return None;
    }
    match search::audit::contents(to) {
        Ok(contents) => {
            report.look("products in the index", contents.cards.len());
            Some(contents)
        }
        Err(damage) => {
            report.find(Invariant::I8, from.display(), damage.to_string());
            None
        }
    }
}

impl Directory {
    fn take(&mut self, audit: &Audit, record: &Record, end: Position, indexed: Position, report: &mut Report) {
        match record.stream.kind() {
            kind if kind == Kind::Product as u8 => {
                let Some(event) = self.products.take(audit, record, report) else { return };
                let Some(id) = ProductId::from_key(record.stream.key()) else { return };
                if end <= indexed {
                    self.catalogue.take(id, &event);
                } else {
                    self.catalogue.changed_since = true;
                }
            }
            kind if kind == Kind::Inventory as u8 => drop(self.inventories.take(audit, record, report)),
            kind if kind == Kind::Cart as u8 => drop(self.carts.take(audit, record, report)),
            kind if kind == Kind::Order as u8 => {
                if let Some(id) = OrderId::from_key(record.stream.key()).filter(|_| record.sequence == 1) {
                    self.placed_at.insert(id, end);
                }
                self.orders.take(audit, record, report);
            }
            kind if kind == Kind::Account as u8 => drop(self.accounts.take(audit, record, report)),
            kind if kind == Kind::Review as u8 => drop(self.reviews.take(audit, record, report)),
            kind if kind == Kind::Ratings as u8 => drop(self.ratings.take(audit, record, report)),
            kind if kind == Kind::UnmatchedNotices as u8 => drop(self.unmatched_notices.take(audit, record, report)),
            kind if kind == Kind::Seller as u8 => drop(self.sellers.take(audit, record, report)),
            kind => report.find(Invariant::I11, format!("{:?}", record.stream), format!("there is no kind {kind}")),
        }
    }

    fn take_stored(&mut self, audit: &Audit, stream: &Stream, report: &mut Report) {
        match stream.kind() {
            kind if kind == Kind::Product as u8 => self.products.take_stored(audit, stream, report),
            kind if kind == Kind::Inventory as u8 => self.inventories.take_stored(audit, stream, report),
            kind if kind == Kind::Cart as u8 => self.carts.take_stored(audit, stream, report),
            kind if kind == Kind::Order as u8 => self.orders.take_stored(audit, stream, report),
            kind if kind == Kind::Account as u8 => self.accounts.take_stored(audit, stream, report),
            kind if kind == Kind::Review as u8 => self.reviews.take_stored(audit, stream, report),
            kind if kind == Kind::Ratings as u8 => self.ratings.take_stored(audit, stream, report),
            kind if kind == Kind::UnmatchedNotices as u8 => self.unmatched_notices.take_stored(audit, stream, report),
            kind if kind == Kind::Seller as u8 => self.sellers.take_stored(audit, stream, report),
            kind => report.find(Invariant::I11, format!("{stream:?}"), format!("there is no kind {kind}")),
        }
    }

    fn compare(&self, report: &mut Report) {
        let compared = self.products.compare(report)
            + self.inventories.compare(report)
            + self.carts.compare(report)
            + self.orders.compare(report)
            + self.accounts.compare(report)
            + self.reviews.compare(report)
            + self.ratings.compare(report)
            + self.unmatched_notices.compare(report)
            + self.sellers.compare(report);
        let streams = self.products.0.len()
            + self.inventories.0.len()
            + self.carts.0.len()
            + self.orders.0.len()
            + self.accounts.0.len()
            + self.reviews.0.len()
            + self.ratings.0.len()
            + self.unmatched_notices.0.len()
            + self.sellers.0.len();
        report.look("streams", streams);
        if compared < streams {
            let open = streams - compared;
            report.leave_open(Invariant::I11, format!("{open} streams whose first events the log has no more"));
        }
    }

    fn check_index(&self, index: &search::audit::Contents, audit: &Audit, report: &mut Report) {
        let stored;
        let expected = if audit.oldest() == Position::BEGINNING {
            &self.catalogue.cards
        } else if self.catalogue.changed_since {
            report.leave_open(
                Invariant::I8,
                "the log does not reach back, and products changed since the index's position",
            );
            return;
        } else {
            let shown = |(id, product): (&ProductId, &Product)| {
                let view = product.view().filter(|view| view.listed)?;
                Some((id.clone(), search::audit::expected(id, &view.details)?))
            };
            stored = self.products.entities().filter_map(shown).collect();
            &stored
        };
        report.check(Invariant::I8);
        for (id, card) in expected {
            match index.cards.get(id) {
                None => report.find(Invariant::I8, id, "it is in the catalogue and not in the index"),
                Some(shown) if shown != card => {
                    report.find(Invariant::I8, id, format!("the index shows {shown}, the catalogue says {card}"));
                }
                Some(_) => {}
            }
        }
        for id in index.cards.keys().filter(|id| !expected.contains_key(id)) {
            report.find(Invariant::I8, id, "it is in the index and not in the catalogue");
        }
        index.duplicates.iter().for_each(|id| report.find(Invariant::I8, id, "the index has it more than once"));
        report.leave_open(Invariant::I8, "the words of each product (its title, brand, price and picture are)");
    }

    fn observed(&self, audit: &Audit, report: &mut Report) -> Result<Observed, VerifyError> {
        let mut observed = Observed { consistent: true, at: self.now(), ..Observed::default() };
        for (id, inventory) in self.inventories.entities() {
            // A broken inventory may have no view.
            let Ok(view) = guarded(|| Ok(inventory.view())) else {
                report.find(Invariant::I1, id, "what is reserved and sold exceeds what was received");
                continue;
            };
            let mut holds = BTreeMap::new();
            for (order, quantity) in inventory.open_holds() {
                *holds.entry(order.to_string()).or_default() += u64::from(quantity);
            }
            let inventory::View { received, on_hand, sold, reserved_quantity, available, .. } = view;
            let stock = Stock { received, on_hand, sold, reserved: reserved_quantity, available };
            observed.stocks.insert(id.to_string(), ObservedStock { stock, holds: Some(holds) });
        }
        let listed = audit.read_models().position(lists::NAME);
        for (id, order) in self.orders.entities() {
            let (Some(placement), Some(status)) = (order.placement(), order.status()) else { continue };
            let on_list = audit.read_models().get(lists::NAME, &open_order_key(*id)).map_err(|error| {
                VerifyError::File { path: "the list of open orders".into(), problem: error.to_string() }
            })?;
            // A start applies again what came after the read model's position; if the log does not reach back to it,
            // the read model is rebuilt from all orders.
            let rebuilt_later = listed < audit.oldest();
            let will_be = rebuilt_later || self.placed_at.get(id).is_some_and(|at| *at > listed);
            observed
                .orders
                .insert(id.to_string(), observed_order(order, placement, status, on_list.is_some() || will_be));
        }
        Ok(observed)
    }

    /// The time of the last event of any order. An event that a clock recorded in the future is no sign that deadlines
    /// have passed.
    fn now(&self) -> Timestamp {
        let last = |order: &Order| order.history().last().map_or(Timestamp(0), |entry| entry.at);
        let latest = self.orders.entities().map(|(_, order)| last(order)).max().unwrap_or_default();
        latest.min(Clock::system().now())
    }
}

/// The refunds; `None` while the provider works on one.
fn refunded_minor(order: &Order) -> Option<u64> {
    let refunded = |refund: &&Refund| matches!(refund.state, Some(RefundState::Refunded { .. }));
    let is_settled = order.refunds().iter().all(|refund| !refund.is_pending());
    is_settled.then(|| order.refunds().iter().filter(refunded).map(|refund| refund.amount.minor).sum())
}

fn observed_order(order: &Order, placement: &Placement, status: Status, resumed: bool) -> ObservedOrder {
    let line = |line: &crate::domain::order::OrderLine| (line.product.to_string(), line.quantity);
    ObservedOrder {
        status,
        lines: placement.lines.iter().map(line).collect(),
        total: placement.total,
        refunded_minor: refunded_minor(order),
        sum: Placement::total_of(&placement.lines, placement.shipping, placement.tax).ok(),
        course: order.history().iter().map(|entry| entry.status).collect(),
        deadline: placement.deadline,
        has_issues: order.open_issues().next().is_some(),
        resumed: Some(resumed),
    }
}
