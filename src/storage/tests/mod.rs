//! The tests of this room: power cuts, faults of the disk, promises of the interface, a model, retention.

mod crash;
mod faults;
mod journal;
mod model;
mod retention;
mod simulated_disk;
