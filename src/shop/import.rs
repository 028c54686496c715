//! Bulk changes to the catalogue: a row of a file with all the products and stock that it names, taken whole or not at
//! all.
//!
//! A row touches several entities, each of which may refuse. So everything is checked first by the rules of those
//! entities; then stock is set, which alone can still be refused when a shopper reserves in between; and products come
//! last. What was set before such a refusal is set back.
//!
//! Depends on the rooms below.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Error, Shop};
use crate::{
    actors::reply::Effect,
    domain::{
        entity::{Entity, Timestamp},
        ids::{ProductId, ReceiptId},
        inventory::{self, Inventory},
        money::Money,
        product::{self, Command, Details, Editor},
    },
    identity::random_u128,
};

/// How often a new price is tried while others edit the product.
const EDITS_MAX: usize = 8;

/// A product of an import with its stock, where the import states one.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Its id.
    pub id: ProductId,
    /// All that is said about it.
    pub details: Details,
    /// The pieces on hand.
    pub stock: Option<u64>,
}

/// Whether an import's stock counts only for products that never had any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetStock {
    /// It is the opening stock: a repeated import does not undo sales.
    Once,
    /// It is a stock-taking: from now on there are this many.
    Always,
}

/// What a row changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Imported {
    /// Products created or revised.
    pub changed: u64,
    /// Products that were already as the row says.
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
    /// Products of the row whose change could not be undone.
    pub kept: Vec<ProductId>,
}

impl Refused {
    fn by(product: &ProductId, reason: impl Into<Error>) -> Self {
        Self { product: product.clone(), reason: reason.into(), kept: Vec::new() }
    }

    /// Whether the shop could not do it, so that further rows would fare no better.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(self.reason, Error::NotDelivered(_) | Error::Unknown | Error::Fault(_))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.product, self.reason)?;
        if !self.kept.is_empty() {
            let kept: Vec<&str> = self.kept.iter().map(ProductId::as_str).collect();
            write!(formatter, "; already changed, and not undone: {}", kept.join(", "))?;
        }
        Ok(())
    }
}

/// A change of stock, and the stock before it.
struct StockStep<'a> {
    id: &'a ProductId,
    command: inventory::Command,
    before: inventory::View,
}

impl Shop {
    /// Creates or revises the products of a row and sets their stock; nothing of it where one of them is refused.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn import_products(
        &self,
        by: Editor,
        listings: Vec<Listing>,
        set_stock: SetStock,
    ) -> Result<Imported, Refused> {
        let mut steps = Vec::new();
        for Listing { id, details, stock } in &listings {
            let (known, before) = tokio::try_join!(
                self.0.runtime.entities.products.read(id),
                self.0.runtime.entities.inventories.read(id)
            )
            .map_err(|error| Refused::by(id, error))?;
            let before = before.view;
            if known.view.is_some_and(|view| !by.may_edit(view.seller)) {
                return Err(Refused::by(id, product::Rejection::NotOwner));
            }
            details.validate().map_err(|error| Refused::by(id, product::Rejection::from(error)))?;
            let Some(quantity) = *stock else { continue };
            let command = match set_stock {
                SetStock::Once => inventory::Command::Open { quantity },
                SetStock::Always => inventory::Command::Count { on_hand: quantity },
            };
            let refusal = match set_stock {
                // An opening stock is refused for its size alone.
                SetStock::Once => Inventory::default().decide(&command, Timestamp(0)).err(),
                SetStock::Always => before.counted(quantity).err(),
            };
            match refusal {
                Some(rejection) => return Err(Refused::by(id, rejection)),
                None => steps.push(StockStep { id, command, before }),
            }
        }
        let stock_changed = self.set_stock(steps).await?;
        let mut imported = Imported { stock_changed, ..Imported::default() };
        // A product lists its variants, so they come before it.
        let mut done = Vec::new();
        for Listing { id, details, .. } in listings.iter().rev() {
            let put = Command::Put { by, details: Arc::new(details.clone()) };
            match self.0.runtime.entities.products.ask(id, put).await {
                Ok(accepted) => {
                    imported.count(accepted.effect);
                    done.push(id.clone());
                }
                // Another seller took the id after it was checked.
                Err(error) => return Err(Refused { kept: done, ..Refused::by(id, error) }),
            }
        }
        Ok(imported)
    }

    /// Changes the price or the stock of a product that is there; nothing of it where either is refused.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn import_change(
        &self,
        by: Editor,
        id: &ProductId,
        price: Option<Money>,
        stock: Option<u64>,
    ) -> Result<Imported, Refused> {
        let refused = |reason: Error| Refused::by(id, reason);
        let (known, before) =
            tokio::try_join!(self.0.runtime.entities.products.read(id), self.0.runtime.entities.inventories.read(id))
                .map_err(|error| refused(error.into()))?;
        let mut known = known.view.ok_or_else(|| refused(product::Rejection::NotFound.into()))?;
        if !by.may_edit(known.seller) {
            return Err(refused(product::Rejection::NotOwner.into()));
        }
        let mut imported = Imported::default();
        if let Some(on_hand) = stock {
            before.view.counted(on_hand).map_err(|rejection| refused(rejection.into()))?;
            let command = inventory::Command::Count { on_hand };
            imported.stock_changed = self.set_stock(vec![StockStep { id, command, before: before.view }]).await?;
        }
        for attempt in 1.. {
            if price.is_none_or(|price| known.details.price == Some(price)) {
                break;
            }
            let details = Arc::new(Details { price, ..known.details.as_ref().clone() });
            let command = Command::Revise { by, details, expected_version: Some(known.version) };
            let error = match self.0.runtime.entities.products.ask(id, command).await.map_err(Error::from) {
                Ok(accepted) => {
                    imported.count(accepted.effect);
                    return Ok(imported);
                }
                Err(error) => error,
            };
            let changed_meanwhile = matches!(error, Error::Product(product::Rejection::VersionMismatch { .. }));
            if !changed_meanwhile || attempt == EDITS_MAX {
                let kept = if imported.stock_changed > 0 { vec![id.clone()] } else { Vec::new() };
                return Err(Refused { kept, ..refused(error) });
            }
            let read = self.0.runtime.entities.products.read(id).await.map_err(|error| refused(error.into()))?;
            known = read.view.ok_or_else(|| refused(product::Rejection::NotFound.into()))?;
        }
        imported.count(if imported.stock_changed > 0 { Effect::Changed } else { Effect::AlreadySo });
        Ok(imported)
    }

    /// Sets the stock of several products; how many changed. Where one is refused, those before it are set back.
    async fn set_stock(&self, steps: Vec<StockStep<'_>>) -> Result<u64, Refused> {
        let mut done: Vec<(&ProductId, i64)> = Vec::new();
        for StockStep { id, command, before } in steps {
            match self.0.runtime.entities.inventories.ask(id, command).await {
                Ok(accepted) if accepted.effect == Effect::Changed => {
                    // What was received changes with a stock-taking, and not with a sale.
                    let units = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
                    done.push((id, units(accepted.view.received) - units(before.received)));
                }
                Ok(_) => {}
                Err(error) => {
                    let mut refused = Refused::by(id, error);
                    for (id, delta) in done.into_iter().filter(|(_, delta)| *delta != 0) {
                        let receipt = ReceiptId(random_u128());
                        let undo = inventory::Command::Adjust { receipt, delta: -delta };
                        if self.0.runtime.entities.inventories.ask(id, undo).await.is_err() {
                            refused.kept.push(id.clone());
                        }
                    }
                    return Err(refused);
                }
            }
        }
        Ok(done.len() as u64)
    }
}

impl Imported {
    fn count(&mut self, effect: Effect) {
        match effect {
            Effect::Changed => self.changed += 1,
            Effect::AlreadySo => self.already_so += 1,
        }
    }
}
