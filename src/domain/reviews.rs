//! The reviews.
