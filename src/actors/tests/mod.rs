//! Tests of the runtime: a small entity on the real journal, directory and root, under panics, passivations,
//! checkpoints, restarts and failing disks; every row of the supervision table; every step of the checkout; the stored
//! bytes.
//!
//! `SOUK_SEEDS` sets how many seeds the random tests run.
//!
//! Depends on the whole runtime.

mod account_specimens;
mod admission;
mod append_list;
pub(crate) mod disk;
mod erasure;
mod following;
mod golden;
mod headers;
mod issues;
mod lists;
mod model;
mod once;
mod reconciling;
mod refusals;
mod runtime;
mod saga;
mod specimens;
mod stories;
mod supervision;
mod test_shop;
mod views;
mod wrong_clock;
