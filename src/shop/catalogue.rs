//! Products: looking at them, and selling them.
//!
//! Depends on the rooms below.

use std::{collections::BTreeSet, sync::Arc};

use super::{Error, Principal, Shop, access};
use crate::{
    actors::reply::Effect,
    domain::{
        entity::{EntityId, Kind},
        ids::ProductId,
        inventory,
        product::{self, Command, Details, Editor},
    },
    identity::random_u128,
    storage::Fault,
};

/// What a product's page shows.
#[derive(Debug, Clone)]
pub struct ProductPage {
    /// Its id.
    pub id: ProductId,
    /// What is said about it.
    pub product: product::View,
    /// What is in stock.
    pub stock: inventory::View,
    /// What customers think.
    pub rating: Rating,
}

/// The average of all ratings, those brought along by an import included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rating {
    /// How many.
    pub count: u64,
    /// Their average, in hundredths of a star, rounded half up; 0 where there are none.
    pub average_hundredths: u64,
}

impl Shop {
    /// A product's page. A delisted product has one for its seller only.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn product(&self, id: &ProductId, who: Option<&Principal>) -> Result<ProductPage, Error> {
        let (product, stock, reviews) =
            tokio::try_join!(self.0.products.read(id), self.0.inventories.read(id), self.0.ratings.read(id))?;
        let product = product.view.ok_or(Error::NotFound("product"))?;
        if !product.listed {
            access::see_delisted(who, product.seller)?;
        }
        let (stock, reviews) = (stock.view, reviews.view);
        let imported = product.details.imported_rating;
        let (count, stars_hundredths) = imported.map_or((0, 0), |imported| {
            (u64::from(imported.count), u64::from(imported.count) * u64::from(imported.average_hundredths))
        });
        let count = count + u64::from(reviews.count);
        let stars_hundredths = stars_hundredths + reviews.stars * 100;
        let average_hundredths = (stars_hundredths + count / 2).checked_div(count).unwrap_or(0);
        Ok(ProductPage { id: id.clone(), product, stock, rating: Rating { count, average_hundredths } })
    }

    /// Creates a product that belongs to the caller.
    ///
    /// # Errors
    /// The product's rejection; [`Error::Forbidden`] for customers.
    pub async fn create_product(
        &self,
        who: &Principal,
        id: &ProductId,
        details: Details,
    ) -> Result<ProductPage, Error> {
        let command = Command::Create { by: access::edit_products(who)?, details: Arc::new(details) };
        self.0.products.ask(id, command).await?;
        self.product(id, Some(who)).await
    }

    /// Replaces what is said about a product.
    ///
    /// # Errors
    /// The product's rejection, among them a version that is not the expected one.
    pub async fn revise_product(
        &self,
        who: &Principal,
        id: &ProductId,
        details: Details,
        expected_version: Option<u64>,
    ) -> Result<ProductPage, Error> {
        let command = Command::Revise { by: access::edit_products(who)?, details: Arc::new(details), expected_version };
        self.0.products.ask(id, command).await?;
        self.product(id, Some(who)).await
    }

    /// Takes a product out of the shop.
    ///
    /// # Errors
    /// The product's rejection.
    pub async fn delist_product(
        &self,
        who: &Principal,
        id: &ProductId,
        expected_version: Option<u64>,
    ) -> Result<(), Error> {
        let command = Command::Delist { by: access::edit_products(who)?, expected_version };
        self.0.products.ask(id, command).await?;
        Ok(())
    }

    /// An id for a new product whose seller does not name one.
    #[must_use]
    pub fn new_product_id(&self) -> ProductId {
        let id = format!("p-{:032x}", random_u128());
        id.parse().expect("a letter, a dash and hexadecimal digits are a product id")
    }

    /// The ids of all products that ever were, sorted.
    ///
    /// # Errors
    /// A fault of the storage.
    pub async fn product_ids(&self) -> Result<BTreeSet<ProductId>, Error> {
        let journal = self.0.journal.clone();
        let read = tokio::task::spawn_blocking(move || {
            let streams = journal.scan(Kind::Product as u8)?;
            let ids = streams.filter_map(|stream| stream.map(|stream| ProductId::from_key(stream.key())).transpose());
            ids.collect::<Result<_, Fault>>()
        });
        Ok(read.await.map_err(|error| Error::fault(error))??)
    }

    /// Puts a product of an import into the catalogue, created or revised, with its first stock. With `SetStock::Yes` the
    /// stock is set also where sales have been made.
    ///
    /// # Errors
    /// The rejection of the product or of its inventory.
    pub async fn import_product(
        &self,
        by: Editor,
        id: &ProductId,
        details: Details,
        stock: Option<u64>,
        set_stock: SetStock,
    ) -> Result<Imported, Error> {
        let put = Command::Put { by, details: Arc::new(details) };
        let effect = self.0.products.ask(id, put).await?.effect;
        if let Some(quantity) = stock {
            let command = match set_stock {
                SetStock::Once => inventory::Command::Open { quantity },
                SetStock::Always => inventory::Command::Count { on_hand: quantity },
            };
            self.0.inventories.ask(id, command).await?;
        }
        Ok(match effect {
            Effect::Changed => Imported::Changed,
            Effect::AlreadySo => Imported::AlreadySo,
        })
    }
}

/// Whether an import's stock counts only for products that never had any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetStock {
    /// It is the opening stock: a repeated import does not undo sales.
    Once,
    /// It is a stock-taking: from now on there are this many.
    Always,
}

/// What an import of a product did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It was created or revised.
    Changed,
    /// It was there just like that.
    AlreadySo,
}
