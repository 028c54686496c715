//! What comes of one row of an import, wherever it was read.
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

/// What a row changed, or why it was refused.
pub(super) type RowResult = Result<Imported, Refusal>;

/// Why a row was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason, for whoever wrote the file.
    pub reason: String,
    /// What kind of failure it is where the shop is at fault, so that the next rows would fail as well.
    pub fault: Option<FailureKind>,
}

/// Who owns what the operator imports without naming a seller.
const OPERATOR: Editor = Editor::Admin(SellerId(0));

/// In whose name rows are taken: that of the seller with this e-mail address, or the operator's.
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

/// Does what a row says. Its products keep these parts where the row does not state them.
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
