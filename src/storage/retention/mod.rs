//! How much of the past is kept: the base that replaces the beginning of the log, the removal of what it replaces, and
//! copies of both.
//!
//! ```text
//! log     [--------|========|========|===   ]     base: every stream as of C, read from the state while the shop runs
//!         removable C               durable       base + log from C = all data
//! ```
//!
//! Past events exist in the log and in the base only. So what an erasure has replaced in the state is gone when the
//! older segments are.
//!
//! Depends on its neighbours in `storage`.

pub(super) mod base;
pub(super) mod compactor;
pub(super) mod copy;
pub(super) mod rebuild;
pub(super) mod shared;
