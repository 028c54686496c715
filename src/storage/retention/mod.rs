//! How much of the past is kept: the base that replaces the beginning of the log, the removal of what it replaces, and
//! copies of both in another place.
//!
//! ```text
//! log     [--------|========|========|===   ]        base: every stream as of C, read from the state while the shop runs
//!         may go   C                 durable         base + log from C = everything
//! ```
//!
//! An event of the past lives in the log and in the base only; so what an erasure replaced in the state is gone when the
//! segments from before it are.

pub(super) mod base;
pub(super) mod compactor;
pub(super) mod copy;
pub(super) mod rebuild;
pub(super) mod shared;
