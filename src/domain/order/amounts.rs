//! How much money is refunded: the arithmetic of refunds.
//!
//! A refund names units of lines, shipping, or both. Its amount is the value of everything that is refunded including
//! this refund, less the value of what was refunded before. So rounding errors do not add up, and the refunds of all
//! parts are the order's total to the last cent. Tax is shared by value, rounded down until everything is refunded.
//! Depends on its neighbours.

use super::{Attempt, Order, Placement, Refund, RefundCause, RefundState, Rejection, Restock, Shipping, Units};
use crate::domain::{entity::Timestamp, money::Money};

impl Order {
    /// The money that was refunded to the customer or is being refunded.
    #[must_use]
    pub fn refunded(&self) -> Option<Money> {
        let placement = self.placement.as_ref()?;
        let minor = self.refunds.iter().filter(|refund| !refund.has_failed()).map(|refund| refund.amount.minor).sum();
        Some(Money { minor, ..placement.total })
    }

    /// The units of each line that were refunded or are being refunded.
    #[must_use]
    pub fn refunded_units(&self) -> Vec<u32> {
        self.units_of(self.live_refunds().flat_map(|refund| &refund.lines))
    }

    pub(super) fn units_of<'a>(&self, units: impl Iterator<Item = &'a (u16, u32)>) -> Vec<u32> {
        let mut sum = vec![0; self.placement.as_ref().map_or(0, |placement| placement.lines.len())];
        for (index, quantity) in units {
            sum[usize::from(*index)] += quantity;
        }
        sum
    }

    /// How much of an attempt's money was refunded or is being refunded, in minor units.
    pub(super) fn refunded_of(&self, attempt: u32) -> u64 {
        let of_attempt = self.live_refunds().filter(|refund| refund.attempt == attempt);
        of_attempt.map(|refund| refund.amount.minor).sum()
    }

    /// What the provider has given back of an attempt's money, or works on, in minor units: not what an operator has
    /// given back otherwise.
    #[must_use]
    pub fn refunded_by_provider(&self, attempt: u32) -> u64 {
        let of_attempt = self.live_refunds().filter(|refund| refund.attempt == attempt);
        let by_provider = of_attempt.filter(|refund| refund.state != Some(RefundState::ByHand));
        by_provider.map(|refund| refund.amount.minor).sum()
    }

    /// How much of an attempt's money is not refunded, in minor units.
    pub(super) fn left_of(&self, attempt: u32) -> u64 {
        let captured = self.attempt(attempt).and_then(Attempt::captured).map_or(0, |(_, amount)| amount.minor);
        captured.saturating_sub(self.refunded_of(attempt))
    }

    pub(super) fn live_refunds(&self) -> impl Iterator<Item = &Refund> {
        self.refunds.iter().filter(|refund| !refund.has_failed())
    }

    /// The units of each line that can still be refunded, and whether the shipping is refunded already.
    pub(super) fn refundable(&self, placement: &Placement) -> (Vec<u32>, Shipping) {
        let refunded = self.refunded_units();
        let left = placement.lines.iter().zip(refunded).map(|(line, refunded)| line.quantity - refunded).collect();
        let has_shipping = self.live_refunds().any(|refund| refund.shipping == Shipping::Included);
        (left, if has_shipping { Shipping::Included } else { Shipping::Excluded })
    }

    /// The refund of these units, or why it is not possible. `Ok(None)` if nothing is left to refund.
    pub(super) fn refund_of(
        &self,
        lines: &Units,
        shipping: Shipping,
        restock: Restock,
        now: Timestamp,
    ) -> Result<Option<Refund>, Rejection> {
        let (placement, status) = self.placed()?;
        let paying = self.paying_attempt().ok_or(Rejection::WrongStatus { status })?.number;
        let (left, shipping_before) = self.refundable(placement);
        let everything = lines.is_empty() && shipping == Shipping::Excluded;
        let units = if everything { left.clone() } else { self.checked_units(lines, &left)? };
        if (shipping, shipping_before) == (Shipping::Included, Shipping::Included) {
            return Err(Rejection::NothingToRefund);
        }
        let before: Vec<u32> = placement.lines.iter().zip(&left).map(|(line, left)| line.quantity - left).collect();
        let after: Vec<u32> = before.iter().zip(&units).map(|(before, units)| before + units).collect();
        let complete = placement.lines.iter().zip(&after).all(|(line, units)| line.quantity == *units);
        // Shipping that costs nothing is refunded with the last unit, so that the sum is the total.
        let completes = complete && (everything || placement.shipping.minor == 0);
        let shipping = if completes && shipping_before == Shipping::Excluded { Shipping::Included } else { shipping };
        let shipping_after = if shipping == Shipping::Included { shipping } else { shipping_before };
        let minor = Self::worth(placement, &after, shipping_after) - Self::worth(placement, &before, shipping_before);
        if minor == 0 && units.iter().all(|units| *units == 0) {
            return Ok(None);
        }
        // Money that was refunded at the provider's own site cannot be refunded again.
        let minor = minor.min(self.left_of(paying));
        let named = |units: Vec<u32>| -> Units { (0..).zip(units).filter(|(_, units)| *units > 0).collect() };
        let restocked = self.units_of(self.refunds.iter().flat_map(|refund| &refund.restock));
        let not_restocked = placement.lines.iter().zip(restocked).map(|(line, restocked)| line.quantity - restocked);
        let back = units
            .iter()
            .zip(not_restocked)
            .map(|(units, most)| if restock == Restock::Yes { most.min(*units) } else { 0 });
        let (restock, lines) = (named(back.collect()), named(units));
        let amount = Money { minor, ..placement.total };
        Ok(Some(Refund { lines, shipping, restock, ..self.new_refund(paying, amount, RefundCause::Asked, now) }))
    }

    /// The value of units and shipping as a part of the total, tax included, in minor units.
    pub(super) fn worth(placement: &Placement, units: &[u32], shipping: Shipping) -> u64 {
        let goods = |units: &mut dyn Iterator<Item = u32>| -> u128 {
            placement.lines.iter().zip(units).map(|(line, n)| u128::from(line.unit_price.minor) * u128::from(n)).sum()
        };
        let shipping_minor = u128::from(placement.shipping.minor);
        let all = goods(&mut placement.lines.iter().map(|line| line.quantity)) + shipping_minor;
        let part = goods(&mut units.iter().copied()) + if shipping == Shipping::Included { shipping_minor } else { 0 };
        let has_shipping = shipping == Shipping::Included;
        let everything = has_shipping && placement.lines.iter().zip(units).all(|(line, units)| line.quantity == *units);
        if everything {
            return placement.total.minor;
        }
        let tax = (u128::from(placement.tax.minor) * part).checked_div(all).unwrap_or(0);
        u64::try_from(part + tax).expect("a part of the total fits where the total does")
    }

    /// The units by line. Rejected if a line has fewer left.
    pub(super) fn checked_units(&self, lines: &Units, left: &[u32]) -> Result<Vec<u32>, Rejection> {
        let mut units = vec![0_u32; left.len()];
        for (index, quantity) in lines {
            let slot = units.get_mut(usize::from(*index)).ok_or(Rejection::NothingToRefund)?;
            *slot = slot.checked_add(*quantity).ok_or(Rejection::NothingToRefund)?;
            if *quantity == 0 || *slot > left[usize::from(*index)] {
                return Err(Rejection::MoreThanLeft { left: left[usize::from(*index)] });
            }
        }
        Ok(units)
    }

    /// A refund of money only, to which the caller adds lines.
    pub(super) fn new_refund(&self, attempt: u32, amount: Money, cause: RefundCause, at: Timestamp) -> Refund {
        Refund {
            number: self.next_refund(),
            attempt,
            lines: Vec::new(),
            shipping: Shipping::Excluded,
            amount,
            restock: Vec::new(),
            cause,
            reason: String::new(),
            by: None,
            key: None,
            at,
            state: None,
            retries: None,
            restocked: false,
            needs_refresh: false,
        }
    }

    pub(super) fn next_refund(&self) -> u32 {
        u32::try_from(self.refunds.len()).unwrap_or(u32::MAX - 1) + 1
    }
}
