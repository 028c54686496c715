//! How many units of a product a customer may have in orders that are not paid, so that nobody empties the shop for the
//! time of a payment deadline. Accounts cost nothing, so new ones may have fewer.
//!
//! Depends on the rooms below.

use super::{Error, Principal, Shop, access};
use crate::domain::{cart, order::OrderLine};

/// An hour, in milliseconds.
const HOUR_MS: u64 = 3_600_000;

impl Shop {
    /// Checks the lines of an order that is to take them from this version of the cart. The cart gives them only while
    /// it has that version, so two checkouts at once cannot exceed the limit together.
    pub(super) async fn check_unpaid_units(
        &self,
        who: &Principal,
        cart: &cart::View,
        lines: &[OrderLine],
    ) -> Result<(), Error> {
        let limits = &self.config().limits;
        let units = || lines.iter().map(|line| (&line.product, line.quantity));
        // Nearly all orders are within the limit of a new account, so nothing else is read for them.
        let Err(too_many) = cart.check_unpaid(units(), limits.new_account_unpaid_units_max) else { return Ok(()) };
        let holder = self.0.runtime.entities.accounts.read(&who.account).await?.view.holder;
        let age_ms = self.0.clock.now().ms_since(access::hold_account(who, holder)?.created_at);
        if age_ms < limits.new_account_hours.saturating_mul(HOUR_MS) {
            return Err(too_many.into());
        }
        Ok(cart.check_unpaid(units(), limits.unpaid_units_max)?)
    }
}
