//! A variant belongs to one page: a row may not take it away from the page that lists it.
//!
//! Depends on `domain` and the room's `mod.rs`.

use super::{Checked, Refused};
use crate::{
    domain::product::{self, Details},
    shop::Shop,
};

impl Shop {
    /// Refuses a row with a product that another page lists as its variant, and goes on to list after the row.
    pub(super) async fn check_families(&self, row: &[Checked]) -> Result<(), Refused> {
        for checked in row {
            let Some(before) = checked.before.as_ref().filter(|before| before.listed) else { continue };
            let Some(parent) = before.details.variant_of.clone() else { continue };
            if checked.details.variant_of.as_ref() == Some(&parent) {
                continue;
            }
            let lists = |details: &Details| details.variants.iter().any(|variant| variant.product == checked.id);
            let is_listed = match row.iter().find(|other| other.id == parent) {
                Some(page) => lists(&page.details),
                None => {
                    let page = self.0.runtime.entities.products.read(&parent).await;
                    let page = page.map_err(|error| Refused::by(&parent, error))?.view;
                    page.is_some_and(|page| page.listed && lists(&page.details))
                }
            };
            if is_listed {
                return Err(Refused::by(&checked.id, product::Rejection::VariantOfOther { parent }));
            }
        }
        Ok(())
    }
}
