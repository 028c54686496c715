//! Stock, for sellers and admins.
//!
//! Depends on the rooms below.

use super::{Error, Missing, Shop, access};
use crate::{
    domain::{
        ids::{ProductId, ReceiptId},
        inventory::{Command, View},
    },
    identity::{Principal, random_u128},
};

impl Shop {
    /// The stock of a product.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such product, [`Error::Forbidden`] if it is another seller's.
    pub async fn inventory(&self, who: &Principal, id: &ProductId) -> Result<View, Error> {
        self.own_product(who, id).await?;
        Ok(self.0.runtime.entities.inventories.read(id).await?.view)
    }

    /// Records received goods. The receipt's name makes a repeat harmless; without one every call counts.
    ///
    /// # Errors
    /// The inventory's rejection.
    pub async fn receive_stock(
        &self,
        who: &Principal,
        id: &ProductId,
        quantity: u64,
        receipt: Option<&str>,
    ) -> Result<View, Error> {
        let receipt = self.receipt(id, receipt);
        self.change_stock(who, id, Command::Receive { receipt, quantity }).await
    }

    /// Corrects the stock by units that were found (`delta` above zero) or lost.
    ///
    /// # Errors
    /// The inventory's rejection.
    pub async fn adjust_stock(
        &self,
        who: &Principal,
        id: &ProductId,
        delta: i64,
        receipt: Option<&str>,
    ) -> Result<View, Error> {
        let receipt = self.receipt(id, receipt);
        self.change_stock(who, id, Command::Adjust { receipt, delta }).await
    }

    /// Sets the units on hand to the result of a stock-taking.
    ///
    /// # Errors
    /// The inventory's rejection.
    pub async fn count_stock(&self, who: &Principal, id: &ProductId, on_hand: u64) -> Result<View, Error> {
        self.count_stock_if(who, id, on_hand, None).await
    }

    /// The same, if the product has still received this many units: sales since then do not matter, but another
    /// stock-taking, a receipt or an adjustment would be overwritten.
    ///
    /// # Errors
    /// The inventory's rejection.
    pub async fn count_stock_if(
        &self,
        who: &Principal,
        id: &ProductId,
        on_hand: u64,
        if_received: Option<u64>,
    ) -> Result<View, Error> {
        self.change_stock(who, id, Command::Count { on_hand, if_received }).await
    }

    async fn change_stock(&self, who: &Principal, id: &ProductId, command: Command) -> Result<View, Error> {
        self.own_product(who, id).await?;
        self.check_may_sell(who).await?;
        Ok(self.ask_once(&self.0.runtime.entities.inventories, id, command).await?.view)
    }

    async fn own_product(&self, who: &Principal, id: &ProductId) -> Result<(), Error> {
        access::edit_products(who)?;
        let product = self.0.runtime.entities.products.read(id).await?.view.ok_or(Error::NotFound(Missing::Product))?;
        access::manage_stock(who, product.seller)
    }

    fn receipt(&self, id: &ProductId, name: Option<&str>) -> ReceiptId {
        ReceiptId(match name {
            Some(name) => self.0.identity.hash_u128("receipt", &[id.as_str().as_bytes(), name.as_bytes()]),
            None => random_u128(),
        })
    }
}
