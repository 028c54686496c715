//! The rating of a product: the average over imported ratings and reviews.
//!
//! Depends on its neighbours.

use crate::domain::{product::ImportedRating, ratings};

/// The average rating of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rating {
    /// The number of ratings in the average.
    pub count: u64,
    /// The average in hundredths of a star, rounded half up; 0 without ratings.
    pub average_hundredths: u64,
}

impl Rating {
    /// The average over imported and counted ratings; each rating has the same weight.
    #[must_use]
    pub fn average(imported: Option<ImportedRating>, counted: ratings::View) -> Self {
        let (imported_count, imported_hundredths) = imported.map_or((0, 0), |imported| {
            (u64::from(imported.count), u64::from(imported.count) * u64::from(imported.average_hundredths))
        });
        let count = imported_count + u64::from(counted.count);
        let hundredths = imported_hundredths + counted.stars * 100;
        let average_hundredths = (hundredths + count / 2).checked_div(count).unwrap_or(0);
        Self { count, average_hundredths }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn average(imported: Option<(u16, u32)>, count: u32, stars: u64) -> (u64, u64) {
        let imported = imported.map(|(average_hundredths, count)| ImportedRating { average_hundredths, count });
        let rating = Rating::average(imported, ratings::View { count, stars });
        (rating.count, rating.average_hundredths)
    }

    #[test]
    fn without_ratings_the_average_is_zero() {
        assert_eq!(average(None, 0, 0), (0, 0));
        assert_eq!(average(Some((431, 0)), 0, 0), (0, 0), "an imported average of no ratings");
    }

    #[test]
    fn an_imported_rating_weighs_as_much_as_one_given_here() {
        assert_eq!(average(Some((431, 77)), 0, 0), (77, 431));
        assert_eq!(average(Some((400, 3)), 1, 5), (4, 425));
    }

    #[test]
    fn halves_are_rounded_up() {
        assert_eq!(average(None, 8, 25), (8, 313), "312.5");
        assert_eq!(average(None, 3, 10), (3, 333), "333.3");
    }

    #[test]
    fn the_largest_ratings_do_not_overflow() {
        let most = u64::from(u32::MAX);
        assert_eq!(average(Some((500, u32::MAX)), u32::MAX, 5 * most), (2 * most, 500));
    }
}
