//! The scenarios: each is a table of journeys with their shares.
//!
//! *marketplace* has the transaction mix of the Online Marketplace benchmark (Laigner and others, 2024). It is a
//! re-implementation against this shop's API, not that benchmark's driver, so its figures are not comparable to theirs.
//!
//! Depends on `serde`.

use serde::Serialize;

/// What customers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Product pages by Zipf's law (7 of 10) and searches (3 of 10), without a login.
    Browse,
    /// Search, view a product, fill the cart, check out, pay, read the order.
    Shop,
    /// Everybody buys one unit of the same product.
    FlashSale,
    /// Customers' sessions, deliveries, sellers' dashboards and changes of the catalogue.
    Marketplace,
    /// Mostly views, some purchases, and a few that all want the same product.
    Mix,
}

/// One visit of a customer, or one task of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Journey {
    /// One product page, or one search.
    Glance,
    /// From the search to the status of the paid order.
    Shop,
    /// One unit of the flash sale's product.
    Grab,
    /// A session of the marketplace: a full cart, checkout, payment.
    Session,
    /// The list of orders and the stock of a product.
    Dashboard,
    /// A product's price changes.
    Reprice,
    /// A product is replaced by its next edition.
    Replace,
    /// A parcel takes its next step: packed, shipped, delivered.
    Deliver,
}

impl Journey {
    /// Whether it is a task of the operator.
    pub(crate) fn is_operators(self) -> bool {
        match self {
            Self::Glance | Self::Shop | Self::Grab | Self::Session => false,
            Self::Dashboard | Self::Reprice | Self::Replace | Self::Deliver => true,
        }
    }
}

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Browse => "browse",
            Self::Shop => "shop",
            Self::FlashSale => "flash-sale",
            Self::Marketplace => "marketplace",
            Self::Mix => "mix",
        }
    }

    /// The journeys with their shares.
    pub(crate) fn journeys(self) -> &'static [(Journey, u32)] {
        match self {
            Self::Browse => &[(Journey::Glance, 1)],
            Self::Shop => &[(Journey::Shop, 1)],
            Self::FlashSale => &[(Journey::Grab, 1)],
            Self::Marketplace => &[
                (Journey::Session, 30),
                (Journey::Dashboard, 5),
                (Journey::Reprice, 3),
                (Journey::Replace, 2),
                (Journey::Deliver, 60),
            ],
            Self::Mix => &[(Journey::Glance, 80), (Journey::Shop, 18), (Journey::Grab, 2)],
        }
    }

    /// A random journey, by the shares.
    pub(crate) fn choose(self, random: &mut fastrand::Rng) -> Journey {
        let journeys = self.journeys();
        let mut point = random.u32(0..journeys.iter().map(|(_, share)| share).sum());
        for (journey, share) in journeys {
            match point.checked_sub(*share) {
                Some(rest) => point = rest,
                None => return *journey,
            }
        }
        Journey::Glance
    }

    /// Whether customers buy, for which they must be logged in.
    pub(crate) fn buys(self) -> bool {
        self.journeys().iter().any(|(journey, _)| !journey.is_operators() && *journey != Journey::Glance)
    }

    /// Whether an operator must be logged in.
    pub(crate) fn needs_an_operator(self) -> bool {
        self.journeys().iter().any(|(journey, _)| journey.is_operators())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journeys_are_chosen_by_their_shares() {
        let mut random = fastrand::Rng::with_seed(3);
        let chosen: Vec<_> = (0..100_000).map(|_| Scenario::Marketplace.choose(&mut random)).collect();
        for (journey, share) in Scenario::Marketplace.journeys() {
            let count = chosen.iter().filter(|one| *one == journey).count();
            assert!(count.abs_diff(*share as usize * 1_000) < 500, "{journey:?}: {count}");
        }
        assert_eq!(Scenario::Marketplace.journeys().iter().map(|(_, share)| share).sum::<u32>(), 100);
        assert_eq!(Scenario::Browse.choose(&mut random), Journey::Glance);
        assert!(!Scenario::Browse.buys() && !Scenario::Mix.needs_an_operator());
    }
}
