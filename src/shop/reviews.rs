//! Reviews of products by customers.
//!
//! Depends on the rooms below.

use std::sync::Arc;

use super::{Error, Shop, access};
use crate::{
    actors::{lists::Listed, reply::Changed},
    domain::{
        cursor::Cursor,
        ids::ProductId,
        review::{Command, Content, Purchase, ReviewId, Written},
    },
    identity::Principal,
};

/// How many of a customer's latest orders are searched for a purchase. It bounds the work of one review.
const ORDERS_SEARCHED_MAX: usize = 200;

impl Shop {
    /// Writes the caller's review of a product, or replaces it. It is verified if one of the caller's paid orders has
    /// the product or a variant of it.
    ///
    /// # Errors
    /// The review's rejection; [`Error::NotFound`] for the product, [`Error::OwnProduct`] for its seller and admins.
    pub async fn write_review(
        &self,
        who: &Principal,
        id: &ProductId,
        rating: u8,
        title: String,
        text: String,
    ) -> Result<(Arc<Written>, Changed), Error> {
        let page = self.product(id, Some(who)).await?;
        access::review_product(who, page.product.seller)?;
        let variants = page.product.details.variants.iter().map(|variant| variant.product.clone());
        let sold_as: Vec<ProductId> = variants.chain([id.clone()]).collect();
        let purchase = self.purchase(who, &sold_as).await?;
        let content = Content { customer: who.user, rating, title, text, purchase };
        let (shop, who, id) = (self.clone(), *who, ReviewId { product: id.clone(), customer: who.user });
        // In a task, so that a caller that stops waiting leaves neither a review half written nor an erasure that
        // misses it.
        let writing = tokio::spawn(async move { shop.write_review_under_way(&who, &id, content).await });
        writing.await.map_err(Error::fault)?
    }

    /// First the review, then its rating. The rating counter adds one that cannot be added now.
    async fn write_review_under_way(
        &self,
        who: &Principal,
        id: &ReviewId,
        content: Content,
    ) -> Result<(Arc<Written>, Changed), Error> {
        let _under_way = self.0.runtime.erasure.review_under_way().await;
        let holder = self.0.runtime.entities.accounts.read(&who.account).await?.view.holder;
        access::hold_account(who, holder)?;
        let accepted = self.ask_once(&self.0.runtime.entities.reviews, id, Command::Write(content)).await?;
        self.0.runtime.rating_counter.count_now(id, &accepted.view).await?;
        Ok((accepted.view.written.ok_or(Error::Unknown)?, accepted.changed))
    }

    /// A product's reviews, newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the product, [`Error::InvalidCursor`], [`Error::InvalidLimit`].
    pub async fn reviews(
        &self,
        who: Option<&Principal>,
        id: &ProductId,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Listed<Written>, Error> {
        self.product(id, who).await?;
        let id = id.clone();
        self.list_page(limit, move |lists| lists.reviews(&id, after.as_ref(), limit)).await
    }

    async fn purchase(&self, who: &Principal, sold_as: &[ProductId]) -> Result<Purchase, Error> {
        let orders = self.orders(who, None, ORDERS_SEARCHED_MAX).await?.orders;
        let bought = orders.iter().filter(|page| page.order.status().is_some_and(|status| status.is_paid()));
        let mut lines = bought.filter_map(|page| page.order.placement()).flat_map(|placement| &placement.lines);
        Ok(if lines.any(|line| sold_as.contains(&line.product)) { Purchase::Verified } else { Purchase::Unknown })
    }
}
