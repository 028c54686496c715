//! How an order's state was stored before.
//!
//! Depends on `serde` and its neighbours.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Attempt, EndReason, HistoryEntry, Order, PaymentState, Placement, Progress, StockAnswer, Tracking};
use crate::domain::{entity::Timestamp, ids::RequestKey};

/// The first form: payments were captured at once or declined, and nothing went back.
#[derive(Serialize, Deserialize)]
pub struct OrderV1 {
    placement: Option<Arc<Placement>>,
    taken: bool,
    stock: Vec<Option<StockAnswer>>,
    attempts: Vec<AttemptV1>,
    ending: Option<EndReason>,
    progress: Progress,
    tracking: Option<Tracking>,
    sequence: u64,
    history: Vec<HistoryEntry>,
}

#[derive(Serialize, Deserialize)]
struct AttemptV1 {
    number: u32,
    method: String,
    key: Option<RequestKey>,
    requested_at: Timestamp,
    outcome: Option<PaymentState>,
}

impl From<OrderV1> for Order {
    fn from(former: OrderV1) -> Self {
        let attempt = |former: AttemptV1| {
            let AttemptV1 { number, method, key, requested_at, outcome } = former;
            Attempt { state: outcome, ..Attempt::new(number, method, key, requested_at, super::CaptureMode::AtOnce) }
        };
        let OrderV1 { placement, taken, stock, attempts, ending, progress, tracking, sequence, history } = former;
        let attempts = attempts.into_iter().map(attempt).collect();
        Self { placement, taken, stock, attempts, ending, progress, tracking, sequence, history, ..Self::default() }
    }
}
