//! The checker: does a shop keep the promises it lives by?
//!
//! `history` is what clients write down while they use a shop: what they asked and what they were told.
//!
//! May depend on `domain`.

pub mod history;
