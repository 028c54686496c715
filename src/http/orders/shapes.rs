//! The JSON shapes of checkouts, payments and orders.
//!
//! May depend on `shop` and `domain`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        order::{
            self, Attempt, EndReason, HistoryEntry, PaymentState, Placement, RefundState, ReturnState, Shipping, Units,
        },
        order_number::OrderNumber,
    },
    http::{
        bodies::{Money, StatedMoney, product_id, time},
        error::Problem,
    },
    shop::{
        orders::{CheckoutItem, CheckoutRequest, OrderPage},
        payments::{PaymentPage, PaymentResult},
    },
};

/// A checkout of the cart, or of part of it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Checkout {
    /// The lines to order, all of them in the cart. By default, and without `product_ids`, the whole cart.
    items: Option<Vec<WantedItem>>,
    /// The products to order, in their quantities in the cart.
    product_ids: Option<Vec<String>>,
    /// The amount that the customer expects to pay, with shipping and tax: the `total` of `GET /cart`.
    total_price: StatedMoney,
    shipping_address: AddressBody,
}

/// A product to order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WantedItem {
    #[schema(min_length = 1, max_length = 64)]
    product_id: String,
    /// By default, the quantity in the cart.
    #[schema(minimum = 1)]
    quantity: Option<u32>,
}

/// The shipping address of an order. An optional field that is empty is like one that is left out.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct AddressBody {
    #[schema(example = "Asha Rao", min_length = 1, max_length = 200)]
    name: String,
    #[schema(example = "1 MG Road", min_length = 1, max_length = 200)]
    line1: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    line2: Option<String>,
    #[schema(example = "Pune", min_length = 1, max_length = 200)]
    city: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    region: Option<String>,
    /// By the rules of the country: a form of its own, and none where it has no postal codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "411001", max_length = 200)]
    postal_code: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[schema(example = "IN", pattern = "^[A-Z]{2}$")]
    country: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    phone: Option<String>,
}

impl AddressBody {
    /// The JSON form of an address; `None` if it is erased.
    fn of(address: &order::Address) -> Option<Self> {
        if address.is_erased() {
            return None;
        }
        let order::Address { name, line1, line2, city, region, postal_code, country, phone } = address.clone();
        let postal_code = Some(postal_code).filter(|code| !code.is_empty());
        Some(Self { name, line1, line2, city, region, postal_code, country, phone })
    }
}

impl Checkout {
    /// Converts the body.
    pub(super) fn request(self) -> Result<CheckoutRequest, Problem> {
        let is_list = self.items.is_some();
        let items = match (self.items, self.product_ids) {
            (Some(_), Some(_)) => return Err(Problem::invalid("items", "give either items or product_ids")),
            (Some(items), None) if items.is_empty() => return Err(Problem::invalid("items", "must not be empty")),
            (None, Some(ids)) if ids.is_empty() => return Err(Problem::invalid("product_ids", "must not be empty")),
            (Some(items), None) => items,
            (None, Some(ids)) => ids.into_iter().map(|product_id| WantedItem { product_id, quantity: None }).collect(),
            (None, None) => Vec::new(),
        };
        let items = items.into_iter().enumerate().map(|(index, item)| {
            let pointer = if is_list { format!("items/{index}/product_id") } else { format!("product_ids/{index}") };
            let product = product_id(&item.product_id, &pointer)?;
            Ok(CheckoutItem { product, quantity: item.quantity })
        });
        let (total_minor, currency) = match self.total_price {
            StatedMoney::Minor(minor) => (minor, None),
            StatedMoney::Money(Money { amount, currency }) => {
                let parsed = currency.parse();
                let invalid = |_| Problem::invalid("total_price/currency", "must be an ISO 4217 code");
                (amount, Some(parsed.map_err(invalid)?))
            }
        };
        let AddressBody { name, line1, line2, city, region, postal_code, country, phone } = self.shipping_address;
        let postal_code = postal_code.unwrap_or_default();
        let address = order::Address { name, line1, line2, city, region, postal_code, country, phone };
        Ok(CheckoutRequest { items: items.collect::<Result<_, Problem>>()?, total_minor, currency, address })
    }
}

/// A payment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Payment {
    pub(super) order_id: String,
    /// The provider's token of the payment method. The fake provider knows `tok_success`, `tok_decline`,
    /// `tok_insufficient_funds`, `tok_timeout_after_charge` and `tok_slow`.
    #[schema(example = "tok_success", min_length = 1, max_length = 255)]
    pub(super) payment_method: String,
}

/// A shipment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Shipment {
    #[schema(example = "India Post", min_length = 1, max_length = 100)]
    pub(super) carrier: String,
    #[schema(example = "EE123456789IN", min_length = 1, max_length = 100)]
    pub(super) tracking_number: String,
}

/// The result of a payment.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PaymentBody {
    /// `success` or `pending`; a failure is a problem.
    #[schema(example = "success")]
    status: &'static str,
    order_id: String,
    /// The order's status now.
    order_status: &'static str,
    payment: AttemptBody,
}

impl PaymentBody {
    pub(super) fn of(page: &PaymentPage) -> Self {
        Self {
            status: match page.result {
                PaymentResult::Success => "success",
                PaymentResult::Fail => "fail",
                PaymentResult::Pending => "pending",
            },
            order_id: page.order.id.to_string(),
            order_status: page.order.order.status().map_or("", order::Status::as_str),
            payment: AttemptBody::from(&page.attempt),
        }
    }
}

/// An attempt to pay.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AttemptBody {
    attempt: u32,
    /// `success`, `fail`, `pending`, `action_required`, `authorised` or `voided`.
    status: &'static str,
    requested_at: String,
    /// The provider's name for the payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    declined_reason: Option<String>,
    /// Where the customer has to go, for instance for 3-D Secure; then repeat the same payment request.
    #[serde(skip_serializing_if = "Option::is_none")]
    action_url: Option<String>,
}

impl From<&Attempt> for AttemptBody {
    fn from(attempt: &Attempt) -> Self {
        let state = attempt.state.as_ref();
        let status = state.map_or("pending", PaymentState::as_str);
        let reference = state.and_then(PaymentState::reference).map(str::to_owned);
        let (declined_reason, action_url) = match state {
            Some(PaymentState::Declined { reason }) => (Some(reason.clone()).filter(|reason| !reason.is_empty()), None),
            Some(PaymentState::ActionRequired { url, .. }) => (None, Some(url.clone())),
            _ => (None, None),
        };
        let (attempt, requested_at) = (attempt.number, time(attempt.requested_at));
        Self { attempt, status, requested_at, reference, declined_reason, action_url }
    }
}

/// An event of an order.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct HistoryBody {
    /// The sequence number; also the id in the event stream.
    sequence: u64,
    /// The order's status after it.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    at: String,
}

impl From<&HistoryEntry> for HistoryBody {
    fn from(entry: &HistoryEntry) -> Self {
        let (sequence, status) = (entry.sequence, entry.status.as_str());
        Self { sequence, status, note: entry.note.clone(), at: time(entry.at) }
    }
}

/// A line of an order.
#[derive(Serialize, ToSchema)]
struct LineBody {
    product_id: String,
    title: String,
    quantity: u32,
    unit_price: Money,
}

/// Units of a product of the order.
#[derive(Serialize, ToSchema)]
struct UnitsBody {
    product_id: String,
    quantity: u32,
}

fn units(placement: &Placement, units: &Units) -> Vec<UnitsBody> {
    let body = |(index, quantity): &(u16, u32)| {
        let line = placement.lines.get(usize::from(*index))?;
        Some(UnitsBody { product_id: line.product.to_string(), quantity: *quantity })
    };
    units.iter().filter_map(body).collect()
}

/// A refund.
#[derive(Serialize, ToSchema)]
#[schema(as = Refund)]
struct RefundBody {
    refund: u32,
    /// `pending`, `refunded`, `failed` or `settled_by_hand`.
    status: &'static str,
    amount: Money,
    items: Vec<UnitsBody>,
    shipping: bool,
    /// The units that return to stock.
    restock: Vec<UnitsBody>,
    /// Whether they have returned.
    restocked: bool,
    /// `asked`, `return`, `cancelled`, `stray` (a payment that came too late) or `elsewhere` (the provider's own site).
    cause: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    requested_at: String,
}

impl RefundBody {
    fn of(placement: &Placement, refund: &order::Refund) -> Self {
        Self {
            refund: refund.number,
            status: refund.state.as_ref().map_or("pending", RefundState::as_str),
            amount: refund.amount.into(),
            items: units(placement, &refund.lines),
            shipping: refund.shipping == Shipping::Included,
            restock: units(placement, &refund.restock),
            restocked: refund.restocked,
            cause: refund.cause.as_str(),
            reason: refund.reason.clone(),
            requested_at: time(refund.at),
        }
    }
}

/// A return.
#[derive(Serialize, ToSchema)]
#[schema(as = Return)]
struct ReturnBody {
    r#return: u32,
    /// `requested`, `received` or `rejected`.
    status: &'static str,
    items: Vec<UnitsBody>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    /// The refund, after the goods have been received.
    #[serde(skip_serializing_if = "Option::is_none")]
    refund: Option<u32>,
    /// Why it was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    requested_at: String,
}

impl ReturnBody {
    fn of(placement: &Placement, known: &order::Return) -> Self {
        let (status, refund, note) = match &known.state {
            ReturnState::Requested => ("requested", None, None),
            ReturnState::Received { refund } => ("received", Some(*refund), None),
            ReturnState::Rejected { note } => ("rejected", None, Some(note.clone())),
        };
        let (items, requested_at) = (units(placement, &known.lines), time(known.at));
        Self { r#return: known.number, status, items, reason: known.reason.clone(), refund, note, requested_at }
    }
}

/// Tracking of a parcel.
#[derive(Serialize, ToSchema)]
struct TrackingBody {
    carrier: String,
    tracking_number: String,
}

/// An order.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OrderBody {
    order_id: String,
    /// The order's number for people; the same order always has the same one.
    #[schema(example = "K7QZ-M3VB-2HT4")]
    number: String,
    /// `placed`, `awaiting_payment`, `payment_pending`, `authorised`, `paid`, `confirmed`, `packed`, `shipped`,
    /// `delivered`, `cancelling`, `cancelled`, `expired` or `rejected`.
    #[schema(example = "awaiting_payment")]
    status: &'static str,
    /// Why it was rejected, cancelled or expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    items: Vec<LineBody>,
    shipping: Money,
    tax: Money,
    total: Money,
    /// The sum refunded so far, pending refunds included.
    refunded: Money,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refunds: Vec<RefundBody>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    returns: Vec<ReturnBody>,
    /// Null if the customer is erased.
    #[schema(required)]
    shipping_address: Option<AddressBody>,
    placed_at: String,
    /// The deadline for its payment.
    payment_deadline: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking: Option<TrackingBody>,
    history: Vec<HistoryBody>,
}

impl OrderBody {
    /// The JSON form of an order; `None` if it was never placed.
    pub(in crate::http) fn of(page: &OrderPage) -> Option<Self> {
        let (order, placement) = (&page.order, page.order.placement()?);
        let items = placement.lines.iter().map(|line| LineBody {
            product_id: line.product.to_string(),
            title: line.title.clone(),
            quantity: line.quantity,
            unit_price: line.unit_price.into(),
        });
        let tracking = order.tracking().map(|tracking| TrackingBody {
            carrier: tracking.carrier.clone(),
            tracking_number: tracking.number.clone(),
        });
        Some(Self {
            order_id: page.id.to_string(),
            number: OrderNumber::of(page.id).to_string(),
            status: order.status()?.as_str(),
            reason: order.end_reason().map(reason),
            items: items.collect(),
            shipping: placement.shipping.into(),
            tax: placement.tax.into(),
            total: placement.total.into(),
            refunded: order.refunded()?.into(),
            refunds: order.refunds().iter().map(|refund| RefundBody::of(placement, refund)).collect(),
            returns: order.returns().iter().map(|known| ReturnBody::of(placement, known)).collect(),
            shipping_address: AddressBody::of(&placement.address),
            placed_at: time(placement.at),
            payment_deadline: time(placement.deadline),
            tracking,
            history: order.history().iter().map(HistoryBody::from).collect(),
        })
    }
}

fn reason(reason: &EndReason) -> &'static str {
    match reason {
        EndReason::Cancelled => "cancelled",
        EndReason::Expired => "not_paid_in_time",
        EndReason::CartChanged => "cart_changed",
        EndReason::TooManyOpenOrders => "too_many_open_orders",
        EndReason::InsufficientStock { .. } => "insufficient_stock",
        EndReason::CustomerErased => "customer_erased",
    }
}
