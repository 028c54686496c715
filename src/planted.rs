//! Bugs that are planted for the tests of the checker: a checker that cannot fail proves nothing.
//!
//! They exist in builds with the feature `planted-bugs` only, which no release can have; elsewhere [`planted`] is `false` at
//! compile time and nothing of them is left. One process has at most one, named by the variable `PLANTED_BUG`. Which invariant
//! is to catch which bug stands in `tests/planted.rs` and docs/VERIFY.md.
//!
//! A leaf: depends on nothing of the crate.

#[cfg(all(feature = "planted-bugs", not(debug_assertions)))]
compile_error!("planted bugs are for tests: a release must not have them");

/// A bug, at the one place in the code that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A reservation may take one more than there is.
    ReservesOneTooMany,
    /// A release gives the pieces back and takes them out of the reservation twice: it makes stock.
    ReleaseMakesStock,
    /// An order that comes to nothing keeps its reservations.
    ReservationLeaks,
    /// A line counts as reserved although the inventory was never asked.
    ReservationSkipped,
    /// What a customer adds to a product that is in the cart already is acknowledged and dropped.
    CartChangeLost,
    /// What a cancelled order had taken does not come back.
    CartLinesLost,
    /// A request with a key is done again when it is repeated.
    KeyForgotten,
    /// A key used for another request gives the first answer.
    KeyReuseAccepted,
    /// Each checkout makes a new order, whatever its key.
    CheckoutIgnoresKey,
    /// The total that the customer agreed to is not compared.
    TotalNotCompared,
    /// A shipped order shows as confirmed again.
    OrderGoesBack,
    /// An order's deadline ends it while its payment is unknown.
    ExpiresWhileUnknown,
    /// Each repetition of a charge has a new key.
    NewKeyOnRetry,
    /// Half of the total is charged, and believed.
    WrongAmountCharged,
    /// A notice is acknowledged and dropped.
    NoticeDropped,
    /// A decline counts as a capture.
    DeclineIsSuccess,
    /// Everybody may see every order.
    OrdersOfOthers,
    /// An open order is not on the list from which a start resumes.
    OrderNotListed,
    /// Search does not hear of products that are taken out of the shop.
    SearchKeepsDelisted,
    /// An entity that goes to rest leaves an empty snapshot.
    SnapshotEmpty,
    /// The batch that seals an idle log has a wrong checksum.
    WrongChecksum,
    /// Replies leave before the batch is written.
    ReplyBeforeWrite,
}

/// Is this bug planted in this process?
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn planted(_: Bug) -> bool {
    false
}

/// Is this bug planted in this process?
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn planted(bug: Bug) -> bool {
    static NAME: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var("PLANTED_BUG").unwrap_or_default());
    !NAME.is_empty() && *NAME == format!("{bug:?}")
}
