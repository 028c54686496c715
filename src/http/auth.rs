//! Accounts and sessions.
//!
//! May depend on `shop` and `domain`.

use axum::{
    Extension,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    App, DOCUMENT_RULE,
    bodies::{ProblemBody, time},
    context::public_path,
    error::Problem,
    extract::{Body, Leaving},
    json::Json,
    metrics::Login,
    once::{self, Key, KeyHeader},
    peer::Peer,
    rates,
    responses::{JsonBody, Token, Write},
};
use crate::{domain::account::Role, shop::accounts::Session};

/// A new account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Registration {
    #[schema(example = "asha@example.org", min_length = 3, max_length = 254)]
    email: String,
    /// 8 to 128 characters, none of them a control character.
    #[schema(value_type = String, example = "correct horse battery", min_length = 8, max_length = 128)]
    password: SecretString,
    /// The name by which to address you. A seller's name is shown to shoppers.
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    /// `customer` (the default) or `seller`.
    #[schema(value_type = Option<RoleName>, inline)]
    role: Option<Role>,
}

/// The roles that can be asked for.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "it describes what Role reads")]
enum RoleName {
    Customer,
    Seller,
    Admin,
}

/// E-mail address and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    #[schema(example = "customer@demo.example")]
    email: String,
    #[schema(value_type = String, example = "souk-demo-password")]
    password: SecretString,
}

/// A refresh token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    #[schema(value_type = String)]
    refresh_token: SecretString,
}

/// Who was registered.
#[derive(Serialize, ToSchema)]
pub(super) struct Registered {
    user_id: String,
}

/// Who is logged in, and the tokens.
#[derive(Serialize, ToSchema)]
pub(super) struct Tokens {
    user_id: String,
    #[schema(value_type = String)]
    role: Role,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Send it in the `Authorization` header of every request.
    access_token: String,
    access_expires_at: String,
    /// Send it to `POST /auth/refresh`; it works once.
    refresh_token: String,
    refresh_expires_at: String,
}

/// The answer with the tokens of a session.
pub(super) fn tokens(session: Session) -> Response {
    let Session { user, role, tokens } = session;
    let body = Tokens {
        user_id: user.to_string(),
        role,
        token_type: "Bearer",
        access_token: tokens.access_token.expose_secret().to_owned(),
        access_expires_at: time(tokens.access_expires_at),
        refresh_token: tokens.refresh_token.expose_secret().to_owned(),
        refresh_expires_at: time(tokens.refresh_expires_at),
    };
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Creates an account.
///
/// The role is `customer` unless `seller` is asked for. Registering logs nobody in.
#[utoipa::path(post, path = "/auth/register", tag = "accounts", request_body = Registration, params(KeyHeader),
    responses(
    Write, JsonBody,
    (status = 201, description = "Registered", body = Registered),
    (status = 403, description = "Admins do not register", body = ProblemBody),
    (status = 409, description = "The address is taken", body = ProblemBody),
))]
pub(super) async fn register(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    Key(key): Key,
    Body(body): Body<Registration>,
) -> Result<impl IntoResponse, Problem> {
    let role = body.role.unwrap_or(Role::Customer);
    let peer = peer.map(|Extension(peer)| peer.into());
    let shop = match key {
        Some(key) => {
            // Without the password, which the shop compares with the account's.
            let said = format!("{role:?} {:?}", body.name);
            once::marking(app.shop.once_of_address(&body.email, "register", &key, said.as_bytes())?)
        }
        None => app.shop,
    };
    let user = shop.register_from(peer, &body.email, body.password, body.name, role).await?;
    let location = [(header::LOCATION, public_path("/account"))];
    Ok((StatusCode::CREATED, location, Json(Registered { user_id: user.to_string() })))
}

/// Logs in.
///
/// The access token is for the `Authorization` header, the refresh token for `POST /auth/refresh`. An account has at
/// most ten sessions.
#[utoipa::path(post, path = "/auth/login", tag = "accounts", request_body = Credentials, responses(
    Write, JsonBody,
    (status = 200, description = "Logged in", body = Tokens),
    (status = 401, description = "The address or the password is wrong", body = ProblemBody),
))]
pub(super) async fn login(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    Body(body): Body<Credentials>,
) -> Result<Response, Problem> {
    let (peer, account) = (peer.map(|Extension(peer)| peer), app.shop.account_of(&body.email)?);
    let login = app.shop.login_from(peer.map(Into::into), &body.email, body.password);
    let login = rates::try_password(&app, peer, account, login).await;
    app.metrics.login(match &login {
        Ok(_) => Login::Done,
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => Login::Wrong,
        Err(_) => Login::NotTried,
    });
    Ok(tokens(login?))
}

/// Exchanges a refresh token for new tokens.
///
/// Using a token again later than some seconds after its first use ends the session.
#[utoipa::path(post, path = "/auth/refresh", operation_id = "refresh_session",
    tag = "accounts", request_body = Refresh, responses(
    Write, JsonBody,
    (status = 200, description = "New tokens", body = Tokens),
    (status = 401, description = "The token is not good (any more)", body = ProblemBody),
))]
pub(super) async fn refresh(State(app): State<App>, Body(body): Body<Refresh>) -> Result<Response, Problem> {
    Ok(tokens(app.shop.refresh(body.refresh_token.expose_secret()).await?))
}

/// Ends the caller's session at once.
///
/// Its tokens are refused from now on. Other sessions go on, and a repeat finds it ended.
#[utoipa::path(post, path = "/auth/logout", tag = "accounts", security(("bearer" = [])), params(KeyHeader), responses(
    Write, Token,
    (status = 204, description = "Logged out"),
))]
pub(super) async fn logout(
    State(app): State<App>,
    Leaving(who): Leaving,
    Key(key): Key,
) -> Result<StatusCode, Problem> {
    let shop = match key {
        Some(key) => once::shop_for(&app, &who, "logout", &key, &[])?,
        None => app.shop,
    };
    shop.logout(&who).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The public keys that verify access tokens, as a JSON Web Key Set.
///
/// With them another program can verify the shop's access tokens by itself.
#[utoipa::path(get, path = "/.well-known/jwks.json", operation_id = "show_keys",
    tag = "operations", responses((status = 200, description = "JSON Web Key Set", body = Object)))]
pub(super) async fn jwks(State(app): State<App>) -> Response {
    ([(header::CACHE_CONTROL, DOCUMENT_RULE)], Json(app.shop.jwks())).into_response()
}
