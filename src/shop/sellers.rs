//! Sellers: what they are called.
//!
//! Depends on the rooms below.

use std::sync::Arc;

use super::{Error, Missing, Principal, Shop, access};
use crate::domain::{ids::SellerId, seller::Command};

/// What is shown of a seller.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct SellerPage {
    pub id: SellerId,
    /// What it is called; `None` where it has given itself no name.
    pub name: Option<Arc<str>>,
    /// Grows with every change.
    pub version: u64,
}

impl Shop {
    /// A seller that has a name.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn seller(&self, id: SellerId) -> Result<SellerPage, Error> {
        let page = self.seller_page(id).await?;
        if page.name.is_some() { Ok(page) } else { Err(Error::NotFound(Missing::Seller)) }
    }

    /// Names a seller, as its own account or an admin.
    ///
    /// # Errors
    /// The seller's rejection; [`Error::Forbidden`] for others.
    pub async fn name_seller(&self, who: &Principal, id: SellerId, name: &str) -> Result<SellerPage, Error> {
        access::name_seller(who, id)?;
        let named = self.0.runtime.entities.sellers.ask(&id, Command::Name(name.into())).await?;
        Ok(SellerPage { id, name: named.view.name, version: named.view.version })
    }

    /// What a product's page shows of its seller.
    pub(super) async fn seller_page(&self, id: SellerId) -> Result<SellerPage, Error> {
        let view = self.0.runtime.entities.sellers.read(&id).await?.view;
        Ok(SellerPage { id, name: view.name, version: view.version })
    }
}
