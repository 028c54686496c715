//! Sellers, and the decisions of admins whether they may sell.
//!
//! May depend on `shop` and `domain`.

use axum::{
    extract::{OriginalUri, State},
    response::Response,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    App,
    account::StandingBody,
    bodies::{ProblemBody, time},
    error::Problem,
    extract::{Caller, Id, Query},
    json::Json,
    once::{Act, KeyHeader, Once},
    paging::{Page, cursor, limit},
    responses::{JsonBody, Read, Token, Write},
};
use crate::{
    domain::{
        account::{Approval, Standing},
        ids::SellerId,
    },
    shop::accounts::AccountPage,
};

/// Which sellers to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ApplicationsQuery {
    /// Where they stand; `waiting` by default.
    #[param(inline)]
    standing: Option<StandingBody>,
    /// The size of the page: 1 to 100, 20 by default.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
    /// The `next_cursor` of the previous page.
    after: Option<String>,
}

/// A seller, as admins see it.
#[derive(Serialize, ToSchema)]
pub(super) struct ApplicationBody {
    seller_id: String,
    standing: StandingBody,
    /// The name of the account; null where it has none.
    #[schema(example = "Teapots of Pune")]
    name: Option<String>,
    /// How to reach the seller; null where nothing is said.
    contact: Option<String>,
    registered_at: String,
    /// The last decision, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<DecisionBody>,
}

/// Who decided, when and why.
#[derive(Serialize, ToSchema)]
pub(super) struct DecisionBody {
    /// The user id of the admin.
    by: String,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Why a seller is refused.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefusalBody {
    /// The seller reads it, too.
    #[schema(example = "no address was given", min_length = 1, max_length = 500)]
    note: String,
}

impl From<&AccountPage> for ApplicationBody {
    fn from(page: &AccountPage) -> Self {
        let decision = page.decision.as_deref().map(|decision| DecisionBody {
            by: decision.by.to_string(),
            at: time(decision.at),
            note: decision.note.as_deref().map(str::to_owned),
        });
        Self {
            seller_id: SellerId::of(page.user).to_string(),
            standing: page.standing.into(),
            name: page.profile.name.as_deref().map(str::to_owned),
            contact: page.profile.contact.as_deref().map(str::to_owned),
            registered_at: time(page.created_at),
            decision,
        }
    }
}

/// Lists the sellers who stand so, those who registered first before the others.
///
/// For admins. By default those who wait; whom nobody had to approve is listed with those who are approved.
#[utoipa::path(get, path = "/admin/sellers", operation_id = "list_applications", tag = "operations",
    security(("bearer" = [])), params(ApplicationsQuery), responses(
    Read, Token,
    (status = 200, description = "A page of sellers", body = Page<ApplicationBody>),
    (status = 403, description = "Not an admin", body = ProblemBody),
))]
pub(super) async fn list(
    State(app): State<App>,
    Caller(who): Caller,
    Query(query): Query<ApplicationsQuery>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Problem> {
    let standing = match query.standing {
        None | Some(StandingBody::Waiting) => Standing::Waiting,
        Some(StandingBody::Approved) => Standing::Approved,
        Some(StandingBody::Refused) => Standing::Refused,
    };
    let (after, limit) = (cursor(query.after.as_deref())?, limit(query.limit)?);
    let listed = app.shop.applications(&who, standing, after, limit).await?;
    let items: Vec<_> = listed.items.iter().map(ApplicationBody::from).collect();
    Ok(Page::new(items, listed.next.as_ref()).respond(&uri))
}

/// Approves a seller, who may sell from now on.
///
/// For admins. The seller reads it in `GET /account`.
#[utoipa::path(post, path = "/admin/sellers/{seller_id}/approve", operation_id = "approve_seller", tag = "operations",
    security(("bearer" = [])), params(("seller_id" = String, Path), KeyHeader), responses(
    Write, Token,
    (status = 200, description = "Approved, now or before", body = ApplicationBody),
    (status = 403, description = "Not an admin", body = ProblemBody),
    (status = 404, description = "No seller has this id", body = ProblemBody),
    (status = 409, description = "The account is no seller's any more", body = ProblemBody),
))]
pub(super) async fn approve(
    Caller(who): Caller,
    Id(id): Id<SellerId>,
    Act(shop): Act,
) -> Result<Json<ApplicationBody>, Problem> {
    let page = shop.decide_seller(&who, id, Approval::Approved, None).await?;
    Ok(Json(ApplicationBody::from(&page)))
}

/// Refuses a seller, also one who was approved, or whom nobody had to approve: no more products and stock of theirs
/// come into the shop, and their products do not change.
///
/// What is in the shop stays on sale until an admin removes it (`GET /products?seller=` lists it); what was ordered is
/// sent.
#[utoipa::path(post, path = "/admin/sellers/{seller_id}/refuse", operation_id = "refuse_seller", tag = "operations",
    security(("bearer" = [])), request_body = RefusalBody, params(("seller_id" = String, Path), KeyHeader),
    responses(
    Write, Token, JsonBody,
    (status = 200, description = "Refused, now or before", body = ApplicationBody),
    (status = 403, description = "Not an admin", body = ProblemBody),
    (status = 404, description = "No seller has this id", body = ProblemBody),
    (status = 409, description = "The account is no seller's any more", body = ProblemBody),
))]
pub(super) async fn refuse(
    Caller(who): Caller,
    Id(id): Id<SellerId>,
    Once(shop, RefusalBody { note }): Once<RefusalBody>,
) -> Result<Json<ApplicationBody>, Problem> {
    let page = shop.decide_seller(&who, id, Approval::Refused, Some(&note)).await?;
    Ok(Json(ApplicationBody::from(&page)))
}
