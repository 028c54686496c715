//! The issues of orders, which operators resolve, and notices that no order took.
//!
//! May depend on `shop` and `domain`.

use axum::{
    extract::{OriginalUri, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    App,
    bodies::{ProblemBody, time},
    error::Problem,
    extract::{Caller, Id, Names, Query},
    json::Json,
    once::{Act, KeyHeader, Once},
    orders::{OrderBody, order},
    paging::{Page, PageQuery},
    responses::{JsonBody, Read, Token, Write},
};
use crate::{
    domain::{
        ids::OrderId,
        order::{Issue, IssueKind, Resolution, Settled},
        unmatched_notices::Day,
    },
    shop::{
        Pass, Reconciled,
        issues::{KeptNotice, Reconciliation},
        orders::OrderPage,
    },
};

/// An issue of an order.
#[derive(Serialize, ToSchema)]
pub(super) struct IssueBody {
    /// Its number within the order.
    number: u32,
    /// `payment_unknown`, `amount_mismatch`, `refund_failed`, `stuck`, `differs`, `disputed`, `refunded_elsewhere` or
    /// `dispute_ended`.
    problem: &'static str,
    /// A description of what is known.
    known: String,
    since: String,
    /// How it was settled, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved: Option<ResolvedBody>,
}

/// How an issue was settled.
#[derive(Serialize, ToSchema)]
pub(super) struct ResolvedBody {
    /// The user id of the operator; absent if the shop saw it resolve itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    note: String,
    at: String,
}

/// An order with its issues.
#[derive(Serialize, ToSchema)]
pub(super) struct OrderWithIssues {
    order: OrderBody,
    #[serde(rename = "attention")]
    issues: Vec<IssueBody>,
}

/// A notice of the provider that matched no order.
#[derive(Serialize, ToSchema)]
pub(super) struct NoticeBody {
    /// Its id, for dismissing it.
    notice_id: String,
    /// The event in the provider's words.
    what: String,
    /// The provider's name for its subject.
    reference: String,
    /// The order that it names.
    order_id: String,
    at: String,
}

fn known(problem: &IssueKind) -> String {
    match problem {
        IssueKind::PaymentUnknown { attempt, seen } => format!("attempt {attempt}: {seen}"),
        IssueKind::AmountMismatch { attempt, reference, captured } => {
            format!("attempt {attempt}: the provider took {captured} as {reference}")
        }
        IssueKind::RefundFailed { refund, reason } => format!("refund {refund}: {reason}"),
        IssueKind::Stuck { seen } => seen.clone(),
        IssueKind::Differs { what } => what.clone(),
        IssueKind::Disputed { reference } => format!("dispute {reference}"),
        IssueKind::RefundedElsewhere { refund, amount } => {
            format!("{amount} was given back at the provider; it is refund {refund} of the order")
        }
        IssueKind::DisputeEnded { reference, outcome } => {
            format!("dispute {reference} ended: {outcome}")
        }
    }
}

impl From<&Issue> for IssueBody {
    fn from(issue: &Issue) -> Self {
        let resolved = issue.resolved.as_ref().map(|resolved| ResolvedBody {
            by: resolved.by.map(|by| by.to_string()),
            note: resolved.note.clone(),
            at: time(resolved.at),
        });
        let problem = &issue.kind;
        let (number, since) = (issue.number, time(issue.at));
        Self { number, problem: problem.as_str(), known: known(problem), since, resolved }
    }
}

impl From<KeptNotice> for NoticeBody {
    fn from(kept: KeptNotice) -> Self {
        let KeptNotice { day, id, notice } = kept;
        let at = time(notice.at);
        let (what, reference, order_id) = (notice.what, notice.reference, notice.order);
        Self { notice_id: format!("{day}-{id:032x}"), what, reference, order_id, at }
    }
}

fn with_issues(page: &OrderPage) -> Option<OrderWithIssues> {
    let issues = page.order.issues().iter().map(IssueBody::from).collect();
    Some(OrderWithIssues { order: OrderBody::of(page)?, issues })
}

/// Lists orders with open issues.
///
/// For admins. An issue is what the shop cannot settle by itself, such as a refund that failed.
#[utoipa::path(get, path = "/admin/payments/attention", operation_id = "list_attention",
    tag = "operations", security(("bearer" = [])), params(PageQuery), responses(
    Read, Token,
    (status = 200, description = "A page of orders with what is known", body = Page<OrderWithIssues>),
    (status = 403, description = "Not an admin", body = ProblemBody),
))]
pub(super) async fn list(
    State(app): State<App>,
    Caller(who): Caller,
    Query(page): Query<PageQuery>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Problem> {
    let found = app.shop.issues(&who, page.after()?, page.limit()?).await?;
    let items: Vec<_> = found.orders.iter().filter_map(with_issues).collect();
    Ok(Page::new(items, found.next.as_ref()).respond(&uri))
}

/// Shows an order with its issues, settled ones included.
///
/// For admins. The order's history says what the shop knew when.
#[utoipa::path(get, path = "/admin/payments/attention/{order_id}", operation_id = "show_attention",
    tag = "operations", security(("bearer" = [])), params(("order_id" = String, Path)), responses(
    Read, Token,
    (status = 200, description = "The order with what is known", body = OrderWithIssues),
    (status = 403, description = "Not an admin", body = ProblemBody),
    (status = 404, description = "No such order", body = ProblemBody),
))]
pub(super) async fn show(
    State(app): State<App>,
    Caller(who): Caller,
    Id(id): Id<OrderId>,
) -> Result<Json<OrderWithIssues>, Problem> {
    let page = app.shop.order_for_operator(&who, id).await?;
    Ok(Json(with_issues(&page).ok_or_else(|| Problem::not_found("order"))?))
}

/// An operator's resolution.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResolutionBody {
    action: Action,
    /// The number of the issue; by default, every open issue that this resolution can settle.
    problem: Option<u32>,
    /// The reason, or what was found out.
    #[schema(example = "called the bank", min_length = 1, max_length = 500)]
    note: String,
    /// For `settled`: what became of the payment or refund.
    outcome: Option<OutcomeBody>,
    /// For the outcome `captured`: the provider's name for the payment.
    reference: Option<String>,
}

/// What to do.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// Try the failed step again.
    Retry,
    /// Record it as settled.
    Settled,
    /// Refund everything.
    Refund,
}

/// What an operator found out.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OutcomeBody {
    /// The payment was captured in full.
    Captured,
    /// Nothing was charged, and nothing will be.
    NotCharged,
    /// The money of a failed refund was returned in another way.
    GivenBack,
}

/// Resolves issues of an order.
///
/// The order records who did it and why. `retry` tries the failed step again, `settled` records what became of it
/// elsewhere, `refund` gives everything back.
#[utoipa::path(post, path = "/admin/payments/attention/{order_id}", operation_id = "resolve_attention",
    tag = "operations", security(("bearer" = [])), request_body = ResolutionBody,
    params(("order_id" = String, Path), KeyHeader), responses(
    Write, Token, JsonBody,
    (status = 200, description = "The order", body = OrderBody),
    (status = 403, description = "Not an admin", body = ProblemBody),
    (status = 404, description = "No such order", body = ProblemBody),
    (status = 409, description = "Not as the order stands, or it settles no open problem of the order", body = ProblemBody),
))]
pub(super) async fn resolve(
    Caller(who): Caller,
    Id(id): Id<OrderId>,
    Once(shop, body): Once<ResolutionBody>,
) -> Result<Json<OrderBody>, Problem> {
    let ResolutionBody { action, problem, note, outcome, reference } = body;
    let resolution = match (action, outcome, reference) {
        (Action::Retry, None, None) => Resolution::Retry,
        (Action::Refund, None, None) => Resolution::Refund,
        (Action::Settled, None, None) => Resolution::Settled(None),
        (Action::Settled, Some(OutcomeBody::NotCharged), None) => Resolution::Settled(Some(Settled::NotCharged)),
        (Action::Settled, Some(OutcomeBody::GivenBack), None) => Resolution::Settled(Some(Settled::GivenBack)),
        (Action::Settled, Some(OutcomeBody::Captured), Some(reference)) if !reference.trim().is_empty() => {
            Resolution::Settled(Some(Settled::Captured(reference)))
        }
        (Action::Settled, Some(OutcomeBody::Captured), _) => {
            return Err(Problem::invalid("reference", "must name the captured payment"));
        }
        _ => return Err(Problem::invalid("outcome", "goes with settled only, and reference with captured only")),
    };
    order(&shop.resolve(&who, id, problem, resolution, &note).await?)
}

/// Lists the provider's notices of the last month that matched no order.
///
/// For admins. A notice may be another shop's, or of a payment that was made by hand.
#[utoipa::path(get, path = "/admin/payments/notices", operation_id = "list_notices",
    tag = "operations", security(("bearer" = [])), responses(
    Read, Token,
    (status = 200, description = "The notices, newest day first", body = Vec<NoticeBody>),
    (status = 403, description = "Not an admin", body = ProblemBody),
))]
pub(super) async fn notices(State(app): State<App>, Caller(who): Caller) -> Result<Json<Vec<NoticeBody>>, Problem> {
    Ok(Json(app.shop.kept_notices(&who).await?.into_iter().map(NoticeBody::from).collect()))
}

/// What was done about a notice.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DismissalBody {
    /// What was done.
    #[schema(min_length = 1, max_length = 500)]
    note: String,
}

/// Dismisses a notice that matched no order, with a note.
///
/// For admins. It is not listed any more; the note is kept.
#[utoipa::path(post, path = "/admin/payments/notices/{notice_id}/dismiss", operation_id = "dismiss_notice",
    tag = "operations", security(("bearer" = [])), request_body = DismissalBody,
    params(("notice_id" = String, Path), KeyHeader), responses(
    Write, Token, JsonBody,
    (status = 204, description = "It is not listed any more"),
    (status = 403, description = "Not an admin", body = ProblemBody),
    (status = 404, description = "No such notice", body = ProblemBody),
))]
pub(super) async fn dismiss(
    Caller(who): Caller,
    Names(name): Names<String>,
    Once(shop, body): Once<DismissalBody>,
) -> Result<StatusCode, Problem> {
    let named = || {
        let (day, id) = name.split_once('-')?;
        Some((Day(day.parse().ok()?), u128::from_str_radix(id, 16).ok()?))
    };
    let (day, id) = named().ok_or_else(|| Problem::not_found("notice"))?;
    shop.dismiss_notice(&who, day, id, &body.note).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The result of a pass of the reconciler.
#[derive(Serialize, ToSchema)]
pub(super) struct ReconciledBody {
    began: String,
    ended: String,
    /// The begin of the period that was compared.
    since: String,
    /// The number of payments in the provider's records.
    payments: u64,
    /// How many of them name no order of this shop.
    foreign: u64,
    /// The number of orders that were looked for at the provider.
    orders: u64,
    /// The number of differences: each is being checked with the provider, or has become an issue.
    differences: u64,
    /// Why the pass could not be finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl From<Reconciled> for ReconciledBody {
    fn from(seen: Reconciled) -> Self {
        let Reconciled { began, ended, since, payments, foreign, orders, differences, problem } = seen;
        let [began, ended, since] = [began, ended, since].map(time);
        Self { began, ended, since, payments, foreign, orders, differences, problem }
    }
}

/// The last passes of the reconciler.
#[derive(Serialize, ToSchema)]
pub(super) struct ReconciliationBody {
    /// The last pass over recent payments; made every few minutes.
    recent: Option<ReconciledBody>,
    /// The last pass over the last month; made once a day.
    full: Option<ReconciledBody>,
    /// When the pass began that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    under_way_since: Option<String>,
}

impl From<Reconciliation> for ReconciliationBody {
    fn from(state: Reconciliation) -> Self {
        let [recent, full] = [state.recent, state.full].map(|result| result.map(ReconciledBody::from));
        Self { recent, full, under_way_since: state.under_way_since.map(time) }
    }
}

/// Shows the last comparisons of the provider's records with the orders.
///
/// For admins. Differences become issues, or are settled with the provider.
#[utoipa::path(get, path = "/admin/payments/reconciliation", operation_id = "show_reconciliation",
    tag = "operations", security(("bearer" = [])), responses(
    Read, Token,
    (status = 200, description = "The last passes", body = ReconciliationBody),
    (status = 403, description = "Not an admin", body = ProblemBody),
))]
pub(super) async fn reconciliation(
    State(app): State<App>,
    Caller(who): Caller,
) -> Result<Json<ReconciliationBody>, Problem> {
    Ok(Json(app.shop.reconciliation(&who)?.into()))
}

/// Compares recent payments with the orders now.
///
/// One comparison runs at a time: a request waits for the one that is under way, and then for its own.
#[utoipa::path(post, path = "/admin/payments/reconciliation", operation_id = "reconcile",
    tag = "operations", security(("bearer" = [])), params(KeyHeader), responses(
    Write, Token,
    (status = 200, description = "The result", body = ReconciledBody),
    (status = 202, description = "It takes longer; its result will be shown by `GET`", body = ReconciliationBody),
    (status = 403, description = "Not an admin", body = ProblemBody),
))]
pub(super) async fn reconcile(Caller(who): Caller, Act(shop): Act) -> Result<Response, Problem> {
    Ok(match shop.reconcile(&who, Pass::Recent).await? {
        Some(result) => Json(ReconciledBody::from(result)).into_response(),
        None => {
            let state = ReconciliationBody::from(shop.reconciliation(&who)?);
            (StatusCode::ACCEPTED, Json(state)).into_response()
        }
    })
}
