//! Everything that can go wrong for whoever uses the shop, in one enum. The edge maps it to status codes in one place.
//!
//! Depends on the rooms below.

use crate::{
    actors::reply::{AskError, NotDelivered},
    domain::{
        account, cart,
        idempotency::InvalidKey,
        ids::{OrderId, ProductId},
        inventory,
        money::{Currency, Money},
        order, product, review, reviews, unmatched_notices,
    },
    identity::{TokenError, email::InvalidEmail, passwords::PasswordError},
    payments::NoticeRefused,
    search::SearchError,
    storage::{Fault, LoadError},
};

/// How many items a page of a list may have: each is read for itself.
pub const PAGE_ITEMS_MAX: usize = 1_000;

/// Why the shop did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such thing, or it is somebody else's: the two are not told apart.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The caller's role does not allow it.
    #[error("only {0} may do this")]
    Forbidden(&'static str),
    /// The token is not to be believed.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The e-mail address or the password is wrong; which of the two is not told.
    #[error("the e-mail address or the password is wrong")]
    WrongCredentials,
    /// The refresh token has been used; its whole session is revoked.
    #[error("the refresh token has been used before; the session is revoked")]
    RefreshReused,
    /// Not an e-mail address.
    #[error(transparent)]
    Email(#[from] InvalidEmail),
    /// A password that cannot be, or too many logins at once.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A product's rule.
    #[error(transparent)]
    Product(#[from] product::Rejection),
    /// An inventory's rule.
    #[error(transparent)]
    Inventory(#[from] inventory::Rejection),
    /// A cart's rule.
    #[error(transparent)]
    Cart(#[from] cart::Rejection),
    /// An order's rule.
    #[error(transparent)]
    Order(#[from] order::Rejection),
    /// What an order is made of.
    #[error(transparent)]
    Placement(#[from] order::InvalidPlacement),
    /// A review's rule.
    #[error(transparent)]
    Review(#[from] review::Rejection),
    /// A rule of a product's reviews.
    #[error(transparent)]
    Reviews(#[from] reviews::Rejection),
    /// A rule of unmatched notices.
    #[error(transparent)]
    UnmatchedNotices(#[from] unmatched_notices::Rejection),
    /// A notice that is not to be believed, or cannot be read.
    #[error(transparent)]
    Notice(NoticeRefused),
    /// An account's rule.
    #[error(transparent)]
    Account(#[from] account::Rejection),
    /// A query that cannot be searched for.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The product is listed, but has no price.
    #[error("{product} has no price, so it cannot be bought")]
    NotForSale {
        /// Which.
        product: ProductId,
    },
    /// The product comes in variants; one of them must be chosen.
    #[error("{product} comes in variants; choose one of them")]
    ChooseVariant {
        /// Which.
        product: ProductId,
        /// What there is to choose from.
        variants: Vec<ProductId>,
    },
    /// There is nothing to order.
    #[error("the cart is empty")]
    EmptyCart,
    /// The order asks for what is not in the cart.
    #[error("{product}: {requested} requested, {in_cart} in the cart")]
    NotInCart {
        /// Which.
        product: ProductId,
        /// Units asked for.
        requested: u32,
        /// Units in the cart.
        in_cart: u32,
    },
    /// A product is named twice.
    #[error("{product} is named twice")]
    NamedTwice {
        /// Which.
        product: ProductId,
    },
    /// Lines in different currencies.
    #[error("one order has one currency; {left} and {right} were given")]
    MixedCurrencies {
        /// One.
        left: Currency,
        /// Another.
        right: Currency,
    },
    /// The total differs from what the client expects.
    #[error("the total is {computed}, not {stated}")]
    TotalMismatch {
        /// What the shop computes.
        computed: Money,
        /// What was stated.
        stated: Money,
    },
    /// Not enough of a product.
    #[error("{product}: {requested} requested, {available} available")]
    InsufficientStock {
        /// Which.
        product: ProductId,
        /// Units asked for.
        requested: u32,
        /// Units available.
        available: u64,
        /// The order that was refused for it, where one was placed.
        order: Option<OrderId>,
    },
    /// The cart changed while the order was being placed.
    #[error("the cart has changed; read it again")]
    CartChanged,
    /// The order is still being placed: ask again in a moment.
    #[error("the order {0} is still being placed")]
    CheckoutInProgress(OrderId),
    /// A customer with orders on their way is not erased: they need an address, and may need an answer.
    #[error("the customer has orders that are neither delivered nor ended")]
    OrdersUnfinished {
        /// The latest of them.
        orders: Vec<OrderId>,
    },
    /// An idempotency key that cannot be.
    #[error(transparent)]
    InvalidKey(#[from] InvalidKey),
    /// A cursor that no page of this list has given.
    #[error("the cursor is not valid for this list")]
    InvalidCursor,
    /// A page with no items, or with too many.
    #[error("the limit is {limit}, not between 1 and {PAGE_ITEMS_MAX}")]
    InvalidLimit {
        /// What was given.
        limit: usize,
    },
    /// Surely not done: try again.
    #[error("not executed: {0}")]
    NotDelivered(#[from] NotDelivered),
    /// Perhaps done: repeat it with the same identity.
    #[error("the outcome is unknown; repeat the request with the same Idempotency-Key")]
    Unknown,
    /// A fault of the shop itself; logged where it happened.
    #[error("{0}")]
    Fault(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    pub(super) fn fault(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Fault(Box::new(cause))
    }
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Fault(fault) => fault.into(),
            LoadError::Damaged(_) => Self::fault(error),
        }
    }
}

impl From<Fault> for Error {
    fn from(error: Fault) -> Self {
        match error {
            Fault::Closed => Self::NotDelivered(NotDelivered::Closed),
            _ => Self::fault(error),
        }
    }
}

impl<R: Into<Error>> From<AskError<R>> for Error {
    fn from(error: AskError<R>) -> Self {
        match error {
            AskError::Rejected(rejection) => rejection.into(),
            AskError::NotDelivered(refused) => Self::NotDelivered(refused),
            AskError::Unknown => Self::Unknown,
        }
    }
}
