//! All errors of the shop in one enum. The edge maps it to status codes in one place.
//!
//! Depends on the rooms below.

use crate::{
    actors::{
        lists::PageError,
        reply::{AskError, NotDelivered},
    },
    domain::{
        account::{self, Standing},
        cart,
        cursor::InvalidCursor,
        idempotency::InvalidKey,
        ids::{OrderId, ProductId},
        inventory,
        money::{Currency, Money},
        order, product, ratings, review, seller, unmatched_notices,
    },
    identity::{TokenError, email::InvalidEmail, passwords::PasswordError},
    payments::{AmountRefused, NoticeRefused, UnknownMethod},
    search::SearchError,
    storage::{Fault, LoadError},
};

/// Why the shop did not execute a call.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The thing does not exist, or it is somebody else's; the error does not tell which.
    #[error("there is no such {}", .0.as_str())]
    NotFound(Missing),
    /// The caller's role does not allow it.
    #[error("only {} may do this", .0.as_str())]
    Forbidden(Allowed),
    /// The caller sells the product, or manages it as an admin, and so does not review it.
    #[error("nobody reviews a product that they sell or manage")]
    OwnProduct,
    /// An admin has not approved the seller, or has refused it.
    #[error("{}", told(*standing))]
    SellerNotApproved {
        /// Where the seller stands.
        standing: Standing,
    },
    /// The token is not valid.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The e-mail address or the password is wrong; the error does not tell which.
    #[error("the e-mail address or the password is wrong")]
    WrongCredentials,
    /// The refresh token was already used; its whole session is revoked.
    #[error("the refresh token has been used before; the session is revoked")]
    RefreshReused,
    /// The text is not an e-mail address.
    #[error(transparent)]
    Email(#[from] InvalidEmail),
    /// The password has a wrong length, or there are too many logins at once.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A rule of the product.
    #[error(transparent)]
    Product(#[from] product::Rejection),
    /// A rule of the inventory.
    #[error(transparent)]
    Inventory(#[from] inventory::Rejection),
    /// A rule of the cart.
    #[error(transparent)]
    Cart(#[from] cart::Rejection),
    /// A rule of the order.
    #[error(transparent)]
    Order(#[from] order::Rejection),
    /// The lines, amounts or address of an order break a rule.
    #[error(transparent)]
    Placement(#[from] order::InvalidPlacement),
    /// A rule of the review.
    #[error(transparent)]
    Review(#[from] review::Rejection),
    /// A rule of a product's ratings.
    #[error(transparent)]
    Ratings(#[from] ratings::Rejection),
    /// A seller's rule.
    #[error(transparent)]
    Seller(#[from] seller::Rejection),
    /// A rule of unmatched notices.
    #[error(transparent)]
    UnmatchedNotices(#[from] unmatched_notices::Rejection),
    /// The notice is not authentic, or cannot be read.
    #[error(transparent)]
    Notice(NoticeRefused),
    /// A rule of the account.
    #[error(transparent)]
    Account(#[from] account::Rejection),
    /// The query breaks a rule, or the search index failed.
    #[error(transparent)]
    Search(SearchError),
    /// The product is listed, but has no price.
    #[error("{product} has no price, so it cannot be bought")]
    NotForSale { product: ProductId },
    /// The product has variants, and one of them must be chosen.
    #[error("{product} comes in variants; choose one of them")]
    ChooseVariant {
        product: ProductId,
        /// The variants to choose from.
        variants: Vec<ProductId>,
    },
    /// The cart is empty.
    #[error("the cart is empty")]
    EmptyCart,
    /// The checkout asks for more than the cart contains.
    #[error("{product}: {requested} requested, {in_cart} in the cart")]
    NotInCart {
        product: ProductId,
        /// In units.
        requested: u32,
        /// In units.
        in_cart: u32,
    },
    #[error("{product} is named twice")]
    NamedTwice { product: ProductId },
    /// Two lines have different currencies.
    #[error("one order has one currency; {left} and {right} were given")]
    MixedCurrencies { left: Currency, right: Currency },
    /// The total differs from the one that the client stated.
    #[error("the total is {computed}, not {stated}")]
    TotalMismatch {
        /// The total that the shop computes.
        computed: Money,
        /// The total that the client stated.
        stated: Money,
    },
    /// The payment provider cannot take the total.
    #[error("the order cannot be paid: {0}")]
    Amount(AmountRefused),
    /// The payment provider knows no such payment method.
    #[error("{0}")]
    PaymentMethod(UnknownMethod),
    /// There are too few available units of a product.
    #[error("{product}: {requested} requested, {available} available")]
    InsufficientStock {
        product: ProductId,
        /// In units.
        requested: u32,
        /// In units.
        available: u64,
        /// The order that was rejected for it, if one was placed.
        order: Option<OrderId>,
    },
    /// The cart changed while the order was being placed.
    #[error("the cart has changed; read it again")]
    CartChanged,
    /// The order is still being placed: ask again in a moment.
    #[error("the order {0} is still being placed")]
    CheckoutInProgress(OrderId),
    /// The customer has unfinished orders, whose delivery needs the address.
    #[error("the customer has orders that are neither delivered nor ended")]
    OrdersUnfinished {
        /// The latest of these orders.
        orders: Vec<OrderId>,
    },
    /// The idempotency key breaks a rule.
    #[error(transparent)]
    InvalidKey(#[from] InvalidKey),
    /// The idempotency key was used with another request.
    #[error("the idempotency key was used with another request")]
    KeyReused,
    /// Another request with this key is in flight: repeat this one when it has been answered.
    #[error("a request with this idempotency key is in flight")]
    KeyInUse,
    /// The cursor belongs to another list, filter, product or search, or is none.
    #[error(transparent)]
    InvalidCursor(#[from] InvalidCursor),
    /// The page would be empty, or too large.
    #[error("the limit is {limit}, not between 1 and {max}")]
    InvalidLimit { limit: usize, max: usize },
    /// Certainly not executed: try again.
    #[error("not executed: {0}")]
    NotDelivered(#[from] NotDelivered),
    /// Perhaps executed: repeat the call with the same identity.
    #[error("the outcome is unknown; repeat the request with the same Idempotency-Key")]
    Unknown,
    /// A fault of the shop itself, logged where it happened.
    #[error("{0}")]
    Fault(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What does not exist.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    Account,
    Customer,
    Order,
    Product,
    ProductInOrder,
    Provider,
    Seller,
}

impl Missing {
    /// As it stands after "there is no such".
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Customer => "customer",
            Self::Order => "order",
            Self::Product => "product",
            Self::ProductInOrder => "product in the order",
            Self::Provider => "provider",
            Self::Seller => "seller",
        }
    }
}

/// Who may do what the caller may not.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Allowed {
    Admins,
    /// Who runs the program.
    Operator,
    Sellers,
    SellerItself,
    SellerOfProduct,
    SellerOfAllLines,
    CustomerOfOrder,
    OwnerOfCart,
}

impl Allowed {
    /// As it stands between "only" and "may do this".
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admins => "admins",
            Self::Operator => "the operator, with `souk admin create`,",
            Self::Sellers => "sellers and admins",
            Self::SellerItself => "the seller itself and admins",
            Self::SellerOfProduct => "its seller and admins",
            Self::SellerOfAllLines => "the seller of all its lines and admins",
            Self::CustomerOfOrder => "its customer and admins",
            Self::OwnerOfCart => "its owner",
        }
    }
}

impl Error {
    pub(super) fn fault(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Fault(Box::new(cause))
    }

    /// The error to report where an earlier step of the call is durable: to say that it was not executed would be
    /// wrong, and a repeat completes it.
    pub(super) fn after_change(self) -> Self {
        match self {
            Self::NotDelivered(_) => Self::Unknown,
            other => other,
        }
    }
}

impl From<SearchError> for Error {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::InvalidCursor(invalid) => invalid.into(),
            other => Self::Search(other),
        }
    }
}

impl From<PageError> for Error {
    fn from(error: PageError) -> Self {
        match error {
            PageError::InvalidCursor(invalid) => invalid.into(),
            PageError::Storage(fault) => fault.into(),
        }
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
            AskError::KeyReused => Self::KeyReused,
            AskError::NotDelivered(refused) => Self::NotDelivered(refused),
            AskError::Unknown => Self::Unknown,
        }
    }
}

fn told(standing: Standing) -> &'static str {
    match standing {
        Standing::Refused => "an admin has refused this seller: GET /account says why",
        Standing::Waiting | Standing::Free | Standing::Approved => "an admin has to approve this seller first",
    }
}
