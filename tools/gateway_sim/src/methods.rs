//! The outcome of a payment by its payment method: Stripe's test methods, and the tokens of the shop's demo.
//!
//! | payment method | what happens |
//! |---|---|
//! | `pm_card_visa` and other brands, `tok_success` | captured, or held |
//! | `pm_card_chargeDeclined`, `tok_decline` | declined: `generic_decline` |
//! | `pm_card_chargeDeclinedInsufficientFunds`, `tok_insufficient_funds` | declined: `insufficient_funds` |
//! | `pm_card_chargeDeclinedExpiredCard`, `…IncorrectCvc`, `…ProcessingError` | declined with that code |
//! | `pm_card_chargeDeclinedLostCard`, `…StolenCard`, `…Fraudulent` | declined with that reason |
//! | `pm_card_threeDSecure2Required`, `pm_card_authenticationRequired`, `tok_3ds` | waits for the customer's action |
//! | `pm_card_createDispute`, `pm_card_createDisputeInquiry`, `tok_dispute` | captured, and disputed |
//! | `pm_card_refundFail` | captured; a refund succeeds, and fails two seconds later |
//! | `tok_refund_fails` | captured, but every refund fails at once |
//! | `pm_card_pendingRefund` | captured; a refund is pending for two seconds |
//! | `tok_processing` | processed for two seconds, then captured |
//! | `tok_slow` | captured; the first answer takes two seconds |
//! | `tok_timeout_after_charge` | captured; the first answer is lost |
//! | any other | refused: `resource_missing` |
//!
//! As at Stripe, methods may also begin with `pm_card_visa_`. Depends on nothing of its crate.

/// How long `tok_slow`, `tok_processing`, and a refund that is pending or will fail take, in milliseconds: longer than
/// a shopper should wait.
pub(crate) const SLOW_MS: u64 = 2_000;

/// Why a refund fails whose payment method says so.
pub(crate) const EXPIRED: &str = "expired_or_canceled_card";

/// The brands that are accepted.
const BRANDS: [&str; 10] = [
    "visa",
    "visa_debit",
    "mastercard",
    "mastercard_debit",
    "mastercard_prepaid",
    "amex",
    "discover",
    "diners",
    "jcb",
    "unionpay",
];
const DECLINED: [(&str, &str); 8] = [
    ("chargeDeclined", "generic_decline"),
    ("chargeDeclinedInsufficientFunds", "insufficient_funds"),
    ("chargeDeclinedLostCard", "lost_card"),
    ("chargeDeclinedStolenCard", "stolen_card"),
    ("chargeDeclinedFraudulent", "fraudulent"),
    ("chargeDeclinedExpiredCard", "expired_card"),
    ("chargeDeclinedIncorrectCvc", "incorrect_cvc"),
    ("chargeDeclinedProcessingError", "processing_error"),
];

/// The outcome of a confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Taken,
    Waits,
    Processing,
    /// With the reason.
    Declined(&'static str),
}

/// The outcome of a payment with this method; `None` if there is no such method.
pub(crate) fn outcome(method: &str) -> Option<Outcome> {
    let taken = matches!(method, "tok_success" | "tok_slow" | "tok_timeout_after_charge");
    let refunds = fails_refunds(method) || fails_refunds_later(method) || delays_refunds(method);
    if taken || refunds || disputes(method).is_some() {
        return Some(Outcome::Taken);
    }
    match method {
        "tok_decline" => return Some(Outcome::Declined("generic_decline")),
        "tok_insufficient_funds" => return Some(Outcome::Declined("insufficient_funds")),
        "tok_3ds" => return Some(Outcome::Waits),
        "tok_processing" => return Some(Outcome::Processing),
        _ => {}
    }
    let card = method.strip_prefix("pm_card_")?;
    if BRANDS.contains(&card) {
        return Some(Outcome::Taken);
    }
    match card.strip_prefix("visa_").unwrap_or(card) {
        "threeDSecure2Required" | "threeDSecureRequired" | "authenticationRequired" => Some(Outcome::Waits),
        // Stripe accepts the details of this one, and declines the charge.
        "chargeCustomerFail" => Some(Outcome::Declined("generic_decline")),
        card => DECLINED.iter().find(|(name, _)| *name == card).map(|(_, reason)| Outcome::Declined(reason)),
    }
}

/// Whether every refund of a payment with this method fails at once.
pub(crate) fn fails_refunds(method: &str) -> bool {
    method == "tok_refund_fails"
}

/// Whether every refund of a payment with this method fails after it has succeeded.
pub(crate) fn fails_refunds_later(method: &str) -> bool {
    method == "pm_card_refundFail"
}

/// Whether refunds of a payment with this method are pending for a while.
pub(crate) fn delays_refunds(method: &str) -> bool {
    method == "pm_card_pendingRefund"
}

/// The status of the dispute about a payment with this method, if there is one.
pub(crate) fn disputes(method: &str) -> Option<&'static str> {
    match method {
        "tok_dispute" | "pm_card_createDispute" => Some("needs_response"),
        "pm_card_createDisputeInquiry" => Some("warning_needs_response"),
        _ => None,
    }
}

/// The code of a card error with this reason, and whether the reason is also its decline code.
pub(crate) fn code_of(reason: &str) -> (&str, bool) {
    match reason {
        "expired_card" | "incorrect_cvc" | "processing_error" => (reason, true),
        "payment_intent_authentication_failure" => (reason, false),
        _ => ("card_declined", true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_their_outcomes() {
        let cases = [
            ("pm_card_visa", Some(Outcome::Taken)),
            ("pm_card_mastercard_debit", Some(Outcome::Taken)),
            ("tok_success", Some(Outcome::Taken)),
            ("pm_card_refundFail", Some(Outcome::Taken)),
            ("pm_card_createDispute", Some(Outcome::Taken)),
            ("pm_card_chargeDeclined", Some(Outcome::Declined("generic_decline"))),
            ("pm_card_visa_chargeDeclinedLostCard", Some(Outcome::Declined("lost_card"))),
            ("pm_card_authenticationRequired", Some(Outcome::Waits)),
            ("tok_processing", Some(Outcome::Processing)),
            ("pm_card", None),
            ("pm_card_", None),
            ("", None),
            ("tok_x", None),
        ];
        for (method, wanted) in cases {
            assert_eq!(outcome(method), wanted, "{method}");
        }
        assert_eq!(code_of("lost_card"), ("card_declined", true));
        assert_eq!(code_of("expired_card"), ("expired_card", true));
    }
}
