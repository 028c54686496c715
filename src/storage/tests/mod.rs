//! The tests of this room: power cuts, disk faults, guarantees of the interface, a model, retention.

mod crash;
mod faults;
mod journal;
mod model;
mod retention;
mod simulated_disk;
