//! The caller's own account: what they say of themselves, and their password.
//!
//! May depend on `shop` and `domain`.

use std::sync::Arc;

use axum::{Extension, extract::State, response::Response};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{
    App,
    auth::{Tokens, tokens},
    bodies::{ProblemBody, time},
    error::Problem,
    etag::{self, IfMatch},
    extract::{Body, Caller},
    peer::Peer,
    rates,
    responses::{Conditional, JsonBody, Read, Token, Write},
};
use crate::{
    domain::account::{Edit, Role, Standing},
    shop::{Error, Shop, accounts::AccountPage},
};

/// The caller's account.
#[derive(Serialize, ToSchema)]
pub(super) struct AccountBody {
    user_id: String,
    #[schema(value_type = String, example = "customer")]
    role: Role,
    /// The name by which to address the holder; null where there is none.
    #[schema(example = "Asha Rao")]
    name: Option<String>,
    /// How to reach the holder beside the e-mail address; null where nothing is said.
    #[schema(example = "+91 20 5550 1234")]
    contact: Option<String>,
    registered_at: String,
    /// Of a seller, whether it may sell.
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<StandingBody>,
    /// Why an admin has decided so, where a reason was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Whether a seller may sell: not before an admin has approved it, where the shop wants that.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum StandingBody {
    Waiting,
    Approved,
    Refused,
}

impl From<Standing> for StandingBody {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Waiting => Self::Waiting,
            Standing::Free | Standing::Approved => Self::Approved,
            Standing::Refused => Self::Refused,
        }
    }
}

/// What to change of the account (a merge patch): what is left out stays, and null removes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountPatch {
    #[serde(default, deserialize_with = "edit")]
    #[schema(value_type = Option<String>, max_length = 100, example = "Asha Rao")]
    name: Edit,
    /// A telephone number, for example.
    #[serde(default, deserialize_with = "edit")]
    #[schema(value_type = Option<String>, max_length = 200, example = "+91 20 5550 1234")]
    contact: Edit,
}

/// The old and the new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    #[schema(value_type = String, example = "correct horse battery")]
    old_password: SecretString,
    /// 8 to 128 characters, none of them a control character.
    #[schema(value_type = String, example = "battery staple horse", min_length = 8, max_length = 128)]
    new_password: SecretString,
}

fn edit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Edit, D::Error> {
    Ok(Option::<Arc<str>>::deserialize(deserializer)?.map_or(Edit::Remove, Edit::Set))
}

fn respond(page: &AccountPage) -> Response {
    let text = |part: &Option<Arc<str>>| part.as_deref().map(str::to_owned);
    let body = AccountBody {
        user_id: page.user.to_string(),
        role: page.role,
        name: text(&page.profile.name),
        contact: text(&page.profile.contact),
        registered_at: time(page.created_at),
        standing: (page.role == Role::Seller).then(|| page.standing.into()),
        note: page.decision.as_ref().and_then(|decision| text(&decision.note)),
    };
    etag::json(&format!("a{}", page.profile.version), &body)
}

/// Shows the caller's account.
///
/// With the role, the name and the contact; of a seller also whether it may sell, and why not.
#[utoipa::path(get, path = "/account", operation_id = "show_account", tag = "accounts", security(("bearer" = [])),
    responses(
    Read, Token,
    (status = 200, description = "The account", body = AccountBody),
))]
pub(super) async fn show(State(app): State<App>, Caller(who): Caller) -> Result<Response, Problem> {
    Ok(respond(&app.shop.account(&who).await?))
}

/// Changes name and contact of the caller.
///
/// What is left out stays, null or an empty text removes. With `If-Match` and its ETag, a change of an older version is
/// refused.
#[utoipa::path(patch, path = "/account", operation_id = "revise_account", tag = "accounts", security(("bearer" = [])),
    request_body = AccountPatch, params(("If-Match" = Option<String>, Header)), responses(
    Write, Token, JsonBody, Conditional,
    (status = 200, description = "The account", body = AccountBody),
))]
pub(super) async fn revise(
    State(app): State<App>,
    Caller(who): Caller,
    expected: IfMatch,
    Body(AccountPatch { name, contact }): Body<AccountPatch>,
) -> Result<Response, Problem> {
    Ok(respond(&app.shop.revise_account(&who, name, contact, expected.version('a')).await?))
}

/// Changes the caller's password.
///
/// All other sessions of the account end at once, with their access tokens and event streams. The caller's goes on with
/// the tokens of the answer; the ones of before are used up.
#[utoipa::path(put, path = "/account/password", operation_id = "change_password", tag = "accounts",
    security(("bearer" = [])), request_body = PasswordChange, responses(
    Write, Token, JsonBody,
    (status = 200, description = "Changed; the tokens with which the session goes on", body = Tokens),
    (status = 401, description = "The old password is wrong, or the token is not to be believed", body = ProblemBody),
))]
pub(super) async fn change_password(
    State(app): State<App>,
    Caller(who): Caller,
    peer: Option<Extension<Peer>>,
    Body(PasswordChange { old_password, new_password }): Body<PasswordChange>,
) -> Result<Response, Problem> {
    let peer = peer.map(|Extension(peer)| peer);
    // Before the attempt is counted: a new password that breaks a rule says nothing of the old one.
    let checked = Shop::check_password(&new_password);
    checked.map_err(|error: Error| Problem::invalid("new_password", error.to_string()))?;
    let change = app.shop.change_password_from(peer.map(Into::into), &who, old_password, new_password);
    Ok(tokens(rates::try_password(&app, peer, who.account, change).await?))
}
