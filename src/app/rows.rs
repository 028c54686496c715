//! Imports one row, whether this process or a client of the control socket has read it.
//!
//! May depend on `shop`, `catalogue` and `domain`.

use serde::{Deserialize, Serialize};

use super::failure::{Failure, FailureKind};
use crate::{
    catalogue::entry::{Change, Entry, Row},
    domain::{
        ids::SellerId,
        product::{Editor, Kept},
    },
    shop::{
        Error, Shop,
        import::{Imported, Listing, Terms},
    },
};

/// The result of a row: what it changed, or why it was refused.
pub(super) type RowResult = Result<Imported, Refusal>;

/// Why a row was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason, for the author of the file.
    pub reason: String,
    /// The kind of failure if the shop has failed, so that the next rows would fail as well.
    pub fault: Option<FailureKind>,
}

/// The owner of products that are imported without naming a seller.
const OPERATOR: Editor = Editor::Admin(SellerId(0));

/// Who imports: the seller with this e-mail address, or the operator.
///
/// # Errors
/// The seller has no account.
pub async fn importer(shop: &Shop, seller: Option<&str>) -> Result<Editor, Failure> {
    let Some(email) = seller else { return Ok(OPERATOR) };
    match shop.principal(email).await {
        Ok(principal) => Ok(Editor::Seller(SellerId::of(principal.user))),
        Err(error) => {
            let kind = if matches!(error, Error::NotFound(_)) { FailureKind::Usage } else { Failure::of(&error).kind };
            Err(Failure { reason: format!("seller {email}: {error}"), kind })
        }
    }
}

/// Imports a row. Its products keep these parts if the row does not state them.
pub(super) async fn take(shop: &Shop, terms: Terms, row: Row, keep: Vec<Kept>) -> RowResult {
    let taken = match row {
        Row::Product(entries) => {
            let listing = |Entry { id, details, stock }| Listing { id, details, stock, keep: keep.clone() };
            shop.import_products(terms, entries.into_iter().map(listing).collect()).await
        }
        Row::Change(Change { id, price, stock }) => shop.import_change(terms, &id, price, stock).await,
    };
    taken.map_err(|refused| Refusal {
        reason: refused.to_string(),
        fault: refused.is_fault().then(|| Failure::of(&refused.reason).kind),
    })
}
