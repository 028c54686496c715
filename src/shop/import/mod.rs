//! Imports rows of a catalogue file: all products and stock that a row names are changed, or nothing is.
//!
//! A row changes several entities, each of which may reject its command. So the rules of those entities check
//! everything first; then stock is set, which a reservation made meanwhile may still prevent; products come last, which
//! another seller's new product may still prevent. After such a late rejection the import undoes what the row has
//! changed.
//!
//! Every command of a row states the new value, not the difference, so that a row can be repeated: after a failure the
//! same file leads to the same state.
//!
//! Depends on the rooms below.

mod families;
mod product_locks;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

pub(super) use self::product_locks::ProductLocks;
use super::{Error, Shop};
use crate::{
    actors::{
        backoff::Backoff,
        directory::Directory,
        reply::{Answer, AskError, Changed, NotDelivered},
    },
    domain::{
        entity::{Entity, Timestamp},
        ids::{ProductId, ReceiptId},
        inventory::{self, Inventory},
        money::Money,
        product::{self, Command, Details, Editor, Kept},
    },
    identity::random_u128,
};
use serde::{Deserialize, Serialize};

/// How often a change is tried while others change the same product.
const EDITS_MAX: usize = 8;
/// The first pause after an entity was too busy, in milliseconds; it doubles.
const BUSY_MS_MIN: u64 = 5;
/// The longest pause, in milliseconds.
const BUSY_MS_MAX: u64 = 500;
/// How long a row waits for an entity that is too busy: longer than a usual overload lasts.
const BUSY_MAX: Duration = Duration::from_secs(60);

/// A product of an import with its stock, where the import states one.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Listing {
    /// The product.
    pub id: ProductId,
    pub details: Details,
    /// The pieces on hand.
    pub stock: Option<u64>,
    /// What a product keeps of what it is, where it is not stated here.
    pub keep: Vec<Kept>,
}

/// Whether an import's stock counts only for products that never had any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetStock {
    /// The file has the opening stock: a repeated import does not undo sales.
    Once,
    /// The file is a stock-taking: it replaces the units on hand.
    Always,
}

/// How rows are imported.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Who imports; the owner of new products. Nothing checks that the caller may act for them, because whoever opened
    /// the shop is its operator.
    pub by: Editor,
    /// Whether a stock in the file replaces one that was set before.
    pub set_stock: SetStock,
    /// Whether rows are only checked, and nothing is changed.
    pub dry_run: bool,
}

/// What a row changed, or would change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Imported {
    /// Products created or revised.
    pub changed: u64,
    /// Products that the row did not change.
    pub already_so: u64,
    /// Products whose stock changed.
    pub stock_changed: u64,
}

/// Why a row is refused.
#[derive(Debug)]
pub struct Refused {
    /// The product whose rule the row breaks.
    pub product: ProductId,
    /// The rule, or the fault of the shop.
    pub reason: Error,
    /// Products of the row that are changed and could not be set back.
    pub kept: Vec<ProductId>,
    /// Products of the row whose stock is changed and could not be set back.
    pub kept_stock: Vec<ProductId>,
}

impl Refused {
    fn by(product: &ProductId, reason: impl Into<Error>) -> Self {
        Self { product: product.clone(), reason: reason.into(), kept: Vec::new(), kept_stock: Vec::new() }
    }

    /// Whether the shop has failed, so that further rows would fail as well.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(self.reason, Error::NotDelivered(_) | Error::Unknown | Error::Fault(_))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.product, self.reason)?;
        for (what, kept) in [("already changed", &self.kept), ("the stock is already changed", &self.kept_stock)] {
            if !kept.is_empty() {
                let kept: Vec<&str> = kept.iter().map(ProductId::as_str).collect();
                write!(formatter, "; {what}, and could not be set back: {}", kept.join(", "))?;
            }
        }
        Ok(())
    }
}

/// A product of a row that was checked.
struct Checked {
    id: ProductId,
    /// The details that it will have.
    details: Arc<Details>,
    /// The details in the row, and what is kept beside them.
    stated: Arc<Details>,
    keep: Vec<Kept>,
    /// The product before the row.
    before: Option<product::View>,
    stock: Option<StockStep>,
}

/// A change of stock that was checked.
#[derive(Clone, Copy)]
struct StockStep {
    quantity: u64,
    set_stock: SetStock,
    /// By how much the stock is expected to change, in units.
    delta: i64,
}

/// How a row has changed the stock of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StockChange {
    None,
    /// By so many units.
    By(i64),
    /// It may have changed; the row's part cannot be told from what others did at the same time.
    Unknown,
}

/// What a row has changed so far, so that it can be undone.
#[derive(Default)]
struct Done {
    stock: Vec<(ProductId, StockChange)>,
    products: Vec<ChangedProduct>,
}

struct ChangedProduct {
    id: ProductId,
    by: Editor,
    before: Option<product::View>,
    /// The version of the product after the change.
    version: u64,
}

impl Shop {
    /// Creates or revises the products of a row and sets their stock; changes nothing if one of them is refused.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn import_products(&self, terms: Terms, listings: Vec<Listing>) -> Result<Imported, Refused> {
        let _guard = self.0.import_locks.lock(listings.iter().map(|listing| listing.id.clone()).collect()).await;
        let mut row = Vec::with_capacity(listings.len());
        for listing in listings {
            row.push(self.check_listing(terms, listing).await?);
        }
        self.check_families(&row).await?;
        if terms.dry_run {
            return Ok(row.iter().fold(Imported::default(), |sum, checked| sum.and(checked.forecast())));
        }
        let mut done = Done::default();
        let result = self.take_row(terms.by, &row, &mut done).await;
        self.or_set_back(result, done).await
    }

    /// Changes the price or the stock of an existing product; changes nothing if either is refused.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn import_change(
        &self,
        terms: Terms,
        id: &ProductId,
        price: Option<Money>,
        stock: Option<u64>,
    ) -> Result<Imported, Refused> {
        let _guard = self.0.import_locks.lock(vec![id.clone()]).await;
        let known = self.product_before(terms.by, id).await?;
        let known = known.ok_or_else(|| Refused::by(id, product::Rejection::NotFound))?;
        let step = match stock {
            Some(quantity) => Some(self.check_quantity(id, quantity, SetStock::Always).await?),
            None => None,
        };
        let mut imported = Imported::default();
        let same_price = price.is_none_or(|price| known.details.price == Some(price));
        if terms.dry_run {
            imported.stock_changed = u64::from(step.is_some_and(|step| step.delta != 0));
            imported.count(!same_price || imported.stock_changed > 0);
            return Ok(imported);
        }
        let mut done = Done::default();
        if let Some(step) = step {
            match self.set_stock(id, step, &mut done).await {
                Ok(StockChange::None) => {}
                Ok(StockChange::By(_) | StockChange::Unknown) => imported.stock_changed = 1,
                Err(refused) => return self.or_set_back(Err(refused), done).await,
            }
        }
        let result = match price.filter(|_| !same_price) {
            Some(price) => self.set_price(terms.by, id, price).await,
            None => Ok(Changed::No),
        };
        let priced = result.map(|changed| {
            imported.count(changed == Changed::Yes || imported.stock_changed > 0);
            imported
        });
        self.or_set_back(priced, done).await
    }

    /// The current state of a product, which the importer must be allowed to edit; `None` for a new one.
    async fn product_before(&self, by: Editor, id: &ProductId) -> Result<Option<product::View>, Refused> {
        let read = self.0.runtime.entities.products.read(id).await.map_err(|error| Refused::by(id, error))?;
        match read.view {
            Some(view) if !by.may_edit(view.seller) => Err(Refused::by(id, product::Rejection::NotOwner)),
            view => Ok(view),
        }
    }

    async fn check_listing(&self, terms: Terms, listing: Listing) -> Result<Checked, Refused> {
        let Listing { id, details: stated, stock, keep } = listing;
        let before = self.product_before(terms.by, &id).await?;
        let stated = Arc::new(stated);
        let details = before.as_ref().map_or_else(|| Arc::clone(&stated), |before| kept(&stated, &keep, before));
        details.validate().map_err(|error| Refused::by(&id, product::Rejection::from(error)))?;
        let stock = match stock {
            Some(quantity) => Some(self.check_quantity(&id, quantity, terms.set_stock).await?),
            None => None,
        };
        Ok(Checked { id, details, stated, keep, before, stock })
    }

    async fn check_quantity(&self, id: &ProductId, quantity: u64, set_stock: SetStock) -> Result<StockStep, Refused> {
        let read = self.0.runtime.entities.inventories.read(id).await.map_err(|error| Refused::by(id, error))?;
        let delta = match set_stock {
            // An opening stock can only be refused for its size.
            SetStock::Once => {
                let open = inventory::Command::Open { quantity };
                Inventory::default().decide(&open, Timestamp(0)).map(|_| {
                    let untouched = read.view.received == 0 && read.view.sold == 0;
                    if untouched { units(quantity) } else { 0 }
                })
            }
            SetStock::Always => read.view.counted(quantity),
        };
        let delta = delta.map_err(|rejection| Refused::by(id, rejection))?;
        Ok(StockStep { quantity, set_stock, delta })
    }

    /// Sets the stock of a checked row, then puts its products.
    async fn take_row(&self, by: Editor, row: &[Checked], done: &mut Done) -> Result<Imported, Refused> {
        let mut imported = Imported::default();
        for Checked { id, stock, .. } in row {
            let Some(step) = stock else { continue };
            if self.set_stock(id, *step, done).await? != StockChange::None {
                imported.stock_changed += 1;
            }
        }
        // A product lists its variants, so they come before it.
        for checked in row.iter().rev() {
            let Asked { answer, was_unknown } = self.put_product(by, checked).await;
            let accepted = match answer {
                Ok(accepted) => accepted,
                Err(error) => {
                    let kept = if error == AskError::Unknown { vec![checked.id.clone()] } else { Vec::new() };
                    return Err(Refused { kept, ..Refused::by(&checked.id, error) });
                }
            };
            let before = checked.before.as_ref().map_or(0, |before| before.version);
            let version = accepted.view.as_ref().map_or(0, |view| view.version);
            // If an answer was lost, the lost attempt may have changed the product, and the repeat changed nothing.
            let is_changed = accepted.changed == Changed::Yes || (was_unknown && version > before);
            imported.count(is_changed);
            if is_changed {
                let (id, before) = (checked.id.clone(), checked.before.clone());
                done.products.push(ChangedProduct { id, by, before, version });
            }
        }
        Ok(imported)
    }

    /// Sets the stock of a product and adds the change to `done`.
    async fn set_stock(&self, id: &ProductId, step: StockStep, done: &mut Done) -> Result<StockChange, Refused> {
        let set = match step.set_stock {
            SetStock::Once => self.set_opening(id, step).await,
            SetStock::Always => self.set_counted(id, step.quantity).await,
        };
        let change = match &set {
            Ok(change) => *change,
            Err(Error::Unknown) => StockChange::Unknown,
            Err(_) => StockChange::None,
        };
        if change != StockChange::None {
            done.stock.push((id.clone(), change));
        }
        set.map_err(|error| Refused::by(id, error))
    }

    async fn set_opening(&self, id: &ProductId, step: StockStep) -> Result<StockChange, Error> {
        let StockStep { quantity, delta, .. } = step;
        let asked = ask(&self.0.runtime.entities.inventories, id, inventory::Command::Open { quantity }).await;
        let opened = asked.answer?;
        Ok(match opened.changed {
            Changed::Yes => StockChange::By(units(quantity)),
            // An answer was lost, and the lost attempt may have opened the stock.
            Changed::No if asked.was_unknown && delta != 0 => {
                if opened.view.received == quantity {
                    StockChange::By(units(quantity))
                } else {
                    StockChange::Unknown
                }
            }
            Changed::No | Changed::Repeat => StockChange::None,
        })
    }

    async fn set_counted(&self, id: &ProductId, quantity: u64) -> Result<StockChange, Error> {
        let inventories = &self.0.runtime.entities.inventories;
        // Deliveries change the number of received units, sales do not. The command counts only if that number is the
        // one that was read, so it changes the stock by exactly the difference and can be undone.
        let mut before = inventories.read(id).await?.view;
        let (mut received, mut was_unknown, mut attempts) = (before.received, false, 0);
        loop {
            attempts += 1;
            let count = inventory::Command::Count { on_hand: quantity, if_received: Some(received) };
            let asked = ask(inventories, id, count).await;
            was_unknown |= asked.was_unknown;
            match asked.answer {
                Ok(accepted) => {
                    let change = units(accepted.view.received) - units(before.received);
                    // If an answer was lost, the difference may be the row's own or a delivery.
                    let is_own = !was_unknown || before.counted(quantity) == Ok(change);
                    return Ok(match change {
                        0 => StockChange::None,
                        _ if is_own => StockChange::By(change),
                        _ => StockChange::Unknown,
                    });
                }
                Err(AskError::Rejected(inventory::Rejection::ReceivedChanged)) if attempts < EDITS_MAX => {
                    let now = inventories.read(id).await?.view;
                    received = now.received;
                    if !was_unknown {
                        before = now;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn put_product(&self, by: Editor, checked: &Checked) -> Asked<product::Product> {
        let products = &self.0.runtime.entities.products;
        let mut details = Arc::clone(&checked.details);
        let (false, Some(before)) = (checked.keep.is_empty(), &checked.before) else {
            return ask(products, &checked.id, Command::Put { by, details }).await;
        };
        let mut expected_version = Some(before.version);
        let (mut was_unknown, mut attempts) = (false, 0);
        loop {
            attempts += 1;
            let revise = Command::Revise { by, details: Arc::clone(&details), expected_version };
            let asked = ask(products, &checked.id, revise).await;
            was_unknown |= asked.was_unknown;
            match asked.answer {
                Err(AskError::Rejected(product::Rejection::VersionMismatch { .. })) if attempts < EDITS_MAX => {}
                answer => return Asked { answer, was_unknown },
            }
            // Somebody has edited the product, perhaps what is kept.
            let Ok(read) = products.read(&checked.id).await else { continue };
            expected_version = read.view.as_ref().map(|view| view.version);
            details = read.view.map_or(details, |now| kept(&checked.stated, &checked.keep, &now));
        }
    }

    async fn set_price(&self, by: Editor, id: &ProductId, price: Money) -> Result<Changed, Refused> {
        let products = &self.0.runtime.entities.products;
        let (mut was_unknown, mut attempts) = (false, 0);
        loop {
            attempts += 1;
            let known = self.product_before(by, id).await?;
            let known = known.ok_or_else(|| Refused::by(id, product::Rejection::NotFound))?;
            if known.details.price == Some(price) {
                return Ok(if was_unknown { Changed::Yes } else { Changed::No });
            }
            let details = Arc::new(Details { price: Some(price), ..known.details.as_ref().clone() });
            let revise = Command::Revise { by, details, expected_version: Some(known.version) };
            let asked = ask(products, id, revise).await;
            was_unknown |= asked.was_unknown;
            match asked.answer {
                Err(AskError::Rejected(product::Rejection::VersionMismatch { .. })) if attempts < EDITS_MAX => {}
                answer => return answer.map(|accepted| accepted.changed).map_err(|error| Refused::by(id, error)),
            }
        }
    }

    /// The result. If it is a refusal, what was done before it is undone.
    async fn or_set_back(&self, result: Result<Imported, Refused>, done: Done) -> Result<Imported, Refused> {
        let mut refused = match result {
            Ok(imported) => return Ok(imported),
            Err(refused) => refused,
        };
        for ChangedProduct { id, by, before, version } in done.products.into_iter().rev() {
            let expected_version = Some(version);
            let command = match before.filter(|before| before.listed) {
                Some(before) => Command::Revise { by, details: before.details, expected_version },
                None => Command::Delist { by, expected_version },
            };
            if ask(&self.0.runtime.entities.products, &id, command).await.answer.is_err() {
                refused.kept.push(id);
            }
        }
        for (id, change) in done.stock.into_iter().rev() {
            let is_set_back = match change {
                StockChange::None => true,
                StockChange::By(delta) => {
                    let command = inventory::Command::Adjust { receipt: ReceiptId(random_u128()), delta: -delta };
                    ask(&self.0.runtime.entities.inventories, &id, command).await.answer.is_ok()
                }
                StockChange::Unknown => false,
            };
            if !is_set_back {
                refused.kept_stock.push(id);
            }
        }
        Err(refused)
    }
}

/// The answer to a command.
struct Asked<E: Entity> {
    answer: Answer<E>,
    /// Whether the answer to an earlier attempt was lost, so that the command may have been executed then.
    was_unknown: bool,
}

/// Sends a command, and repeats it while the entity is too busy: bulk changes give way to shoppers. The commands here
/// may be repeated, so it also repeats one whose outcome is unknown.
async fn ask<E: Entity>(directory: &Directory<E>, id: &E::Id, command: E::Command) -> Asked<E>
where
    E::Command: Clone,
{
    let begun = Instant::now();
    let mut backoff = Backoff::default();
    let mut was_unknown = false;
    loop {
        let answer = directory.ask(id, command.clone()).await;
        #[cfg(test)]
        let answer = tests::or_lost::<E>(answer);
        match answer {
            Err(error @ (AskError::NotDelivered(NotDelivered::Busy) | AskError::Unknown))
                if begun.elapsed() < BUSY_MAX =>
            {
                was_unknown |= error == AskError::Unknown;
                let pause = backoff.after_failure(BUSY_MS_MIN, BUSY_MS_MAX);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            answer => return Asked { answer, was_unknown },
        }
    }
}

/// The details in a row, with what is kept of the product as it is.
fn kept(stated: &Arc<Details>, keep: &[Kept], before: &product::View) -> Arc<Details> {
    if keep.is_empty() {
        return Arc::clone(stated);
    }
    let mut details = stated.as_ref().clone();
    details.keep(keep, &before.details);
    Arc::new(details)
}

fn units(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Checked {
    /// What importing it would change.
    fn forecast(&self) -> Imported {
        let stock_changed = u64::from(self.stock.is_some_and(|step| step.delta != 0));
        let mut imported = Imported { stock_changed, ..Imported::default() };
        imported.count(!self.before.as_ref().is_some_and(|before| before.listed && before.details == self.details));
        imported
    }
}

impl Imported {
    /// The sum of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            changed: self.changed + other.changed,
            already_so: self.already_so + other.already_so,
            stock_changed: self.stock_changed + other.stock_changed,
        }
    }

    fn count(&mut self, is_changed: bool) {
        self.changed += u64::from(is_changed);
        self.already_so += u64::from(!is_changed);
    }
}
