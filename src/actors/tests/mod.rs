//! The runtime, proved: a small entity on the real journal, directory and root, under panics, passivations, checkpoints,
//! restarts and failing disks; every row of the supervision table; every step of the checkout; the stored bytes.
//!
//! `SOUK_SEEDS` sets how many seeds the random tests run.
//!
//! Depends on the whole runtime.

mod admission;
mod disk;
mod errands;
mod following;
mod golden;
mod lists;
mod model;
mod refusals;
mod saga;
mod shop_floor;
mod specimens;
mod stage;
mod stories;
mod supervision;
mod tally;
mod views;
