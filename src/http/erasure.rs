//! Erases customers.
//!
//! May depend on `shop`.

use axum::{Extension, extract::State, http::StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    App,
    bodies::ProblemBody,
    error::Problem,
    extract::{Body, Caller},
    peer::Peer,
    rates,
    responses::{JsonBody, Token, Write},
};
use crate::shop::Finished;

/// The confirmation that the caller wants to be erased.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmation {
    /// The account's password.
    #[schema(value_type = String, example = "correct horse battery")]
    password: SecretString,
}

/// The customer to be erased.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EraseCustomer {
    /// The e-mail address of the account.
    #[schema(example = "asha@example.org")]
    email: String,
}

fn status(finished: Finished) -> StatusCode {
    match finished {
        Finished::Yes => StatusCode::NO_CONTENT,
        Finished::No => StatusCode::ACCEPTED,
    }
}

/// Erases the caller, a customer: name, password, sessions, cart, addresses and reviews.
///
/// All tokens are revoked at once.
#[utoipa::path(delete, path = "/account", tag = "accounts", security(("bearer" = [])), request_body = Confirmation,
    responses(
    Write, Token, JsonBody,
    (status = 204, description = "Erased"),
    (status = 202, description = "Begun, and it will be finished"),
    (status = 403, description = "Sellers and admins are not erased", body = ProblemBody),
    (status = 409, description = "Orders are neither delivered nor ended", body = ProblemBody),
))]
pub(super) async fn erase_account(
    State(app): State<App>,
    Caller(who): Caller,
    peer: Option<Extension<Peer>>,
    Body(Confirmation { password }): Body<Confirmation>,
) -> Result<StatusCode, Problem> {
    let (peer, erasure) = (peer.map(|Extension(peer)| peer), app.shop.erase_account(&who, password));
    Ok(status(rates::try_password(&app, peer, who.account, erasure).await?))
}

/// Erases the customer with this e-mail address, as `DELETE /account` does.
///
/// A repeated request continues an unfinished erasure.
#[utoipa::path(delete, path = "/admin/customers", tag = "accounts", security(("bearer" = [])),
    request_body = EraseCustomer, responses(
    Write, Token, JsonBody,
    (status = 204, description = "Erased, now or before"),
    (status = 202, description = "Begun, and it will be finished"),
    (status = 403, description = "Not an admin; or a seller or an admin, who are not erased", body = ProblemBody),
    (status = 404, description = "Nobody ever registered with this address", body = ProblemBody),
    (status = 409, description = "Orders are neither delivered nor ended", body = ProblemBody),
))]
pub(super) async fn erase_customer(
    State(app): State<App>,
    Caller(who): Caller,
    Body(EraseCustomer { email }): Body<EraseCustomer>,
) -> Result<StatusCode, Problem> {
    Ok(status(app.shop.erase_customer(&who, &email).await?))
}
