//! Extractors: bodies, queries, ids and callers. Malformed input gets a typed 4xx.
//!
//! May depend on `shop` and `domain`.

use std::str::FromStr;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
};
use serde::de::DeserializeOwned;
use utoipa::{IntoParams, ToSchema};

use super::{
    App, context,
    error::Problem,
    json, query,
    request_body::{RawBody, check_media_type},
    schema::ReadBody,
};
use crate::{
    domain::ids::{OrderId, ProductId, SellerId},
    shop::Principal,
};

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + ToSchema> FromRequest<App> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (value, _) = Self::read(request, app).await?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned + ToSchema> Body<T> {
    /// The body, and the text that it was read from.
    pub(super) async fn read(request: Request, app: &App) -> Result<(T, Bytes), Problem> {
        check_media_type(request.headers())?;
        let RawBody(bytes) = RawBody::from_request(request, app).await?;
        let value = json::parse(&bytes)?;
        // Where the handler refuses a field, the problem tells the other faults, too.
        context::keep_body(ReadBody::of::<T>(bytes.clone()));
        Ok((value, bytes))
    }
}

/// The parameters of the query. Those without a value count as absent; unknown ones are refused.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned + IntoParams> FromRequestParts<App> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        query::read(&parts.uri).map(Self)
    }
}

/// The parameters in the path. What they name need not exist.
pub(super) struct Names<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Names<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = <axum::extract::Path<T> as FromRequestParts<App>>::from_request_parts(parts, app).await;
        let axum::extract::Path(names) = path.map_err(|rejection| Problem::invalid_path(rejection.body_text()))?;
        Ok(Self(names))
    }
}

/// An id in the path. A malformed id is answered like one that does not exist.
pub(super) struct Id<T>(pub(super) T);

/// A type of ids in paths.
pub(super) trait PathId: FromStr {
    /// What it identifies, for "there is no such …".
    const NAMES: &'static str;
}

impl PathId for OrderId {
    const NAMES: &'static str = "order";
}

impl PathId for ProductId {
    const NAMES: &'static str = "product";
}

impl PathId for SellerId {
    const NAMES: &'static str = "seller";
}

impl<T: PathId> FromRequestParts<App> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Names(text) = Names::<String>::from_request_parts(parts, app).await?;
        text.parse().map(Self).map_err(|_| Problem::not_found(T::NAMES))
    }
}

/// The sender of the request. As `Option<Caller>`, where the answer is for everybody: `None` also where the token has
/// expired, or where the header is the login of a proxy.
#[derive(Clone)]
pub(super) struct Caller(pub(super) Principal);

impl Caller {
    /// The sender of a request with these headers.
    pub(super) async fn of(headers: &HeaderMap, app: &App) -> Result<Option<Self>, Problem> {
        match bearer(headers)? {
            Some(token) => {
                let principal = app.shop.authenticate(token).await?;
                context::keep_role(principal.role);
                Ok(Some(Self(principal)))
            }
            None => Ok(None),
        }
    }

    async fn of_parts(parts: &Parts, app: &App) -> Result<Option<Self>, Problem> {
        // The rate limit may have asked already.
        match parts.extensions.get::<Self>() {
            Some(known) => Ok(Some(known.clone())),
            None => Self::of(&parts.headers, app).await,
        }
    }
}

/// The token of a request with these headers.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Problem::unauthorized("the Authorization header must be `Bearer` and a token"));
    }
    Ok(Some(token.trim()))
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Self::of_parts(parts, app).await?.ok_or_else(Problem::anonymous)
    }
}

impl OptionalFromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Self>, Problem> {
        match Self::of_parts(parts, app).await {
            Err(problem) if problem.is_of_login() => Ok(None),
            known => known,
        }
    }
}

/// The holder of the token, also where its session has ended: to end it again.
pub(super) struct Leaving(pub(super) Principal);

impl FromRequestParts<App> for Leaving {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let token = bearer(&parts.headers)?.ok_or_else(Problem::anonymous)?;
        Ok(Self(app.shop.leaving(token)?))
    }
}
