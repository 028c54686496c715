//! The words that a member may have, where it names a status, a reason or a kind: one list for each, which schemas
//! name.
//!
//! A client can branch over them. Later versions may add words, so a client keeps a way for those that it does not
//! know.
//!
//! Depends on its parent and on `domain`.

use serde_json::{Map, Value, json};

use super::{member_of, named};

/// A list of words, and the members that have one of them.
struct Vocabulary {
    name: &'static str,
    description: &'static str,
    words: &'static [&'static str],
    /// Schema and member.
    members: &'static [(&'static str, &'static str)],
}

const VOCABULARIES: [Vocabulary; 14] = [
    Vocabulary {
        name: "OrderStatus",
        description: "Where an order stands.",
        words: &[
            "placed",
            "awaiting_payment",
            "payment_pending",
            "authorised",
            "paid",
            "confirmed",
            "packed",
            "shipped",
            "delivered",
            "cancelling",
            "cancelled",
            "expired",
            "rejected",
        ],
        members: &[("OrderBody", "status"), ("HistoryBody", "status"), ("PaymentBody", "order_status")],
    },
    Vocabulary {
        name: "OrderEnd",
        description: "Why an order was rejected, cancelled or expired.",
        words: &[
            "cancelled",
            "not_paid_in_time",
            "cart_changed",
            "too_many_open_orders",
            "insufficient_stock",
            "customer_erased",
        ],
        members: &[("OrderBody", "reason")],
    },
    Vocabulary {
        name: "PaymentStatus",
        description: "The result of a payment; a failure is a problem.",
        words: &["success", "pending"],
        members: &[("PaymentBody", "status")],
    },
    Vocabulary {
        name: "AttemptStatus",
        description: "How an attempt to pay stands.",
        words: &["success", "fail", "pending", "action_required", "authorised", "voided"],
        members: &[("AttemptBody", "status")],
    },
    Vocabulary {
        name: "RefundStatus",
        description: "How a refund stands.",
        words: &["pending", "refunded", "failed", "settled_by_hand"],
        members: &[("Refund", "status")],
    },
    Vocabulary {
        name: "RefundCause",
        description: "Why there is a refund: it was asked for, a return, a cancelled order, a payment that came too late \
                          (`stray`), or it was made at the provider's own site (`elsewhere`).",
        words: &["asked", "return", "cancelled", "stray", "elsewhere"],
        members: &[("Refund", "cause")],
    },
    Vocabulary {
        name: "ReturnStatus",
        description: "How a return stands.",
        words: &["requested", "received", "rejected"],
        members: &[("Return", "status")],
    },
    Vocabulary {
        name: "IssueKind",
        description: "What an operator has to decide about.",
        words: &[
            "payment_unknown",
            "amount_mismatch",
            "refund_failed",
            "stuck",
            "differs",
            "disputed",
            "refunded_elsewhere",
            "dispute_ended",
        ],
        members: &[("IssueBody", "problem")],
    },
    Vocabulary {
        name: "LineProblem",
        description: "Why a checkout of the whole cart would refuse the line. Absent if it would not.",
        words: &["not_for_sale", "choose_variant", "other_currency", "too_large"],
        members: &[("CartItem", "problem")],
    },
    Vocabulary {
        name: "AmountProblem",
        description: "Why the payment provider would not take the total. Absent if it would.",
        words: &["amount_too_small", "amount_too_large", "amount_not_supported"],
        members: &[("CartBody", "amount_problem")],
    },
    Vocabulary {
        name: "Role",
        description: "What an account may do.",
        words: &["customer", "seller", "admin"],
        members: &[("Tokens", "role"), ("AccountBody", "role")],
    },
    Vocabulary {
        name: "StorageState",
        description: "Whether the storage takes writes.",
        words: &["writable", "read-only", "failed"],
        members: &[("Readiness", "storage")],
    },
    Vocabulary {
        name: "Completeness",
        description: "Whether everything is in it, or it is still being built from the log.",
        words: &["ready", "rebuilding"],
        members: &[("Readiness", "search"), ("Readiness", "lists")],
    },
    Vocabulary {
        name: "CircuitState",
        description: "Whether the provider is asked: yes (`closed`), not for a while (`open`), or as a trial (`half_open`).",
        words: &["closed", "open", "half_open"],
        members: &[("Readiness", "provider_circuit")],
    },
];

/// Names the words of each member.
pub(super) fn complete(schemas: &mut Map<String, Value>) {
    for Vocabulary { name, description, words, members } in VOCABULARIES {
        for (schema, member) in members {
            if let Some(property) = member_of(schemas, schema, member) {
                let said = property["description"].as_str().filter(|said| !said.contains('`')).unwrap_or(description);
                let mut reference = named(name);
                reference["description"] = said.into();
                *property = reference;
            }
        }
        let schema = json!({ "type": "string", "description": description, "enum": words, "example": words[0] });
        schemas.insert(name.to_owned(), schema);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::order::Status;

    /// Every status of an order, in the order in which one has them.
    const STATUSES: [Status; 13] = [
        Status::Placed,
        Status::AwaitingPayment,
        Status::PaymentPending,
        Status::Authorised,
        Status::Paid,
        Status::Confirmed,
        Status::Packed,
        Status::Shipped,
        Status::Delivered,
        Status::Cancelling,
        Status::Cancelled,
        Status::Expired,
        Status::Rejected,
    ];

    #[test]
    fn every_status_of_an_order_is_a_word() {
        assert_eq!(VOCABULARIES[0].words, STATUSES.map(Status::as_str));
    }
}
