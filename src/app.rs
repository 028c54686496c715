//! The running shop.
