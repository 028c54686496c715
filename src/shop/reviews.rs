//! Reviews: what customers say about products.
//!
//! Depends on the rooms below.

use std::time::Duration;

use super::{Error, Shop};
use crate::{
    actors::{
        entity_actor::Effect,
        lists::{Listed, ListedReview},
    },
    domain::{
        ids::ProductId,
        reviews::{Command, Purchase, Review},
    },
    identity::Principal,
};

/// How many of a customer's latest orders are searched for a purchase, in orders: a bound on the work of one review.
const ORDERS_SEARCHED_MAX: usize = 200;

impl Shop {
    /// Writes the caller's review of a product, or replaces it. It counts as verified when one of the caller's paid orders has
    /// the product, or a variant of it.
    ///
    /// # Errors
    /// The reviews' rejection; [`Error::NotFound`] for the product.
    pub async fn write_review(
        &self,
        who: &Principal,
        id: &ProductId,
        rating: u8,
        title: String,
        text: String,
    ) -> Result<(Review, Effect), Error> {
        let page = self.product(id, Some(who)).await?;
        let variants = page.product.details.variants.iter().map(|variant| variant.product.clone());
        let sold_as: Vec<ProductId> = variants.chain([id.clone()]).collect();
        let purchase = self.purchase(who, &sold_as).await?;
        let review = Review { customer: who.user, rating, title, text, purchase };
        let effect = self.0.reviews.ask(id, Command::Write(review.clone())).await?.effect;
        Ok((review, effect))
    }

    /// A product's reviews, newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the product.
    pub async fn reviews(
        &self,
        who: Option<&Principal>,
        id: &ProductId,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Listed<ListedReview>, Error> {
        self.product(id, who).await?;
        self.0.lists_progress.catch_up(Duration::from_millis(self.config().limits.list_wait_ms_max)).await;
        let (lists, id) = (self.0.lists.clone(), id.clone());
        let listed = tokio::task::spawn_blocking(move || lists.reviews(&id, after.as_deref(), limit)).await;
        Ok(listed.map_err(|error| Error::Fault(error.to_string()))??)
    }

    async fn purchase(&self, who: &Principal, sold_as: &[ProductId]) -> Result<Purchase, Error> {
        let orders = self.orders(who, None, ORDERS_SEARCHED_MAX).await?.orders;
        let bought = orders.iter().filter(|page| page.order.status().is_some_and(|status| status.is_paid()));
        let mut lines = bought.filter_map(|page| page.order.placement()).flat_map(|placement| &placement.lines);
        Ok(if lines.any(|line| sold_as.contains(&line.product)) { Purchase::Verified } else { Purchase::Unknown })
    }
}
