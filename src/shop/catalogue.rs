//! Products: looking at them, and selling them.
//!
//! Depends on the rooms below.

use std::{collections::BTreeSet, sync::Arc};

use super::{Error, Missing, Principal, Shop, access, sellers::SellerPage};
use crate::{
    domain::{
        entity::{EntityId, Kind},
        ids::ProductId,
        inventory,
        product::{self, Command, Details},
        rating::Rating,
    },
    identity::random_u128,
    storage::Fault,
};

/// What a product's page shows.
#[derive(Debug, Clone)]
pub struct ProductPage {
    /// The id of the product.
    pub id: ProductId,
    /// What is said about it.
    pub product: product::View,
    /// What is in stock.
    pub stock: inventory::View,
    /// The average of its ratings.
    pub rating: Rating,
    /// Who sells it.
    pub seller: SellerPage,
}

/// What a product's page shows of one of its variants.
#[derive(Debug, Clone)]
pub struct VariantPage {
    /// What is said about it.
    pub product: product::View,
    /// What is in stock.
    pub stock: inventory::View,
}

impl Shop {
    /// A product's page. A delisted product has one for its seller only.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn product(&self, id: &ProductId, who: Option<&Principal>) -> Result<ProductPage, Error> {
        let (product, stock, ratings) = tokio::try_join!(
            self.0.runtime.entities.products.read(id),
            self.0.runtime.entities.inventories.read(id),
            self.0.runtime.entities.ratings.read(id)
        )?;
        let product = product.view.ok_or(Error::NotFound(Missing::Product))?;
        if !product.listed {
            access::see_delisted(who, product.seller)?;
        }
        let (stock, ratings) = (stock.view, ratings.view);
        let rating = Rating::average(product.details.imported_rating, ratings);
        let seller = self.seller_page(product.seller).await?;
        Ok(ProductPage { id: id.clone(), product, stock, rating, seller })
    }

    /// What a page shows of a variant. There is nothing to show of a delisted one.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn variant(&self, id: &ProductId) -> Result<VariantPage, Error> {
        let (product, stock) =
            tokio::try_join!(self.0.runtime.entities.products.read(id), self.0.runtime.entities.inventories.read(id))?;
        let product = product.view.filter(|product| product.listed).ok_or(Error::NotFound(Missing::Product))?;
        Ok(VariantPage { product, stock: stock.view })
    }

    /// Creates a product that belongs to the caller. With [`Shop::once`] and the id of [`Shop::new_product_id`], a
    /// repeat creates no other.
    ///
    /// # Errors
    /// The product's rejection; [`Error::Forbidden`] for customers, [`Error::SellerNotApproved`].
    pub async fn create_product(
        &self,
        who: &Principal,
        id: &ProductId,
        details: Details,
    ) -> Result<ProductPage, Error> {
        let by = access::edit_products(who)?;
        self.check_may_sell(who).await?;
        // What is refused in any case leaves its key free.
        details.validate().map_err(product::Rejection::from)?;
        // The same key may come with the id of another product.
        self.note(who).await?;
        let command = Command::Create { by, details: Arc::new(details) };
        self.ask_once(&self.0.runtime.entities.products, id, command).await?;
        self.product(id, Some(who)).await.map_err(Error::after_change)
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
        self.check_may_sell(who).await?;
        self.0.runtime.entities.products.ask(id, command).await?;
        self.product(id, Some(who)).await.map_err(Error::after_change)
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
        self.0.runtime.entities.products.ask(id, command).await?;
        Ok(())
    }

    /// An id for a new product whose seller does not name one: of a request with an idempotency key always the same.
    #[must_use]
    pub fn new_product_id(&self) -> ProductId {
        let id = format!("p-{:032x}", self.request().map_or_else(random_u128, |request| request.key));
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
        Ok(read.await.map_err(Error::fault)??)
    }
}
