//! Reads the body of a request, decodes it from its content coding, and has the request admitted.
//!
//! Depends on its neighbours.

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{FromRequest, Request},
    http::{HeaderMap, header, request::Parts},
};

use super::{
    App,
    admission::{Admitted, Ticket},
    coding::{Coding, Undecoded},
    error::Problem,
    json,
};

/// The raw body, decoded from its content coding. When it is here, the request is admitted.
pub(super) struct RawBody(pub(super) Bytes);

impl FromRequest<App> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let coding = coding_of(&parts.headers)?;
        let bytes = app.arriving.read(body, &parts.headers, parts.extensions.get().copied()).await?;
        match parts.extensions.get::<Ticket>() {
            Some(ticket) if ticket.admit(&app.admission) == Admitted::No => Err(Problem::too_many_requests()),
            _ => decode(app, bytes, coding).map(Self),
        }
    }
}

/// Both as it is sent and decoded, a body has at most `body_bytes_max` bytes.
fn decode(app: &App, bytes: Bytes, coding: Option<Coding>) -> Result<Bytes, Problem> {
    let Some(coding) = coding else { return Ok(bytes) };
    let bytes_max = app.shop.config().limits.body_bytes_max;
    coding.decode(&bytes, bytes_max).map(Bytes::from).map_err(|undecoded| match undecoded {
        Undecoded::TooLarge => Problem::body_too_large(bytes_max),
        Undecoded::Malformed => Problem::undecodable_body(coding),
    })
}

/// Refuses a body that is neither empty nor `{}`, for operations that take none: what its sender wants would not
/// happen.
pub(super) async fn expect_none(app: &App, parts: &Parts, body: Body) -> Result<(), Problem> {
    let coding = coding_of(&parts.headers)?;
    if body.size_hint().lower() > 0 {
        check_media_type(&parts.headers)?;
    }
    let bytes = app.arriving.read(body, &parts.headers, parts.extensions.get().copied()).await?;
    let bytes = decode(app, bytes, coding)?;
    if bytes.is_empty() {
        return Ok(());
    }
    check_media_type(&parts.headers)?;
    json::parse::<NoMembers>(&bytes).map(|NoMembers {}| ())
}

/// An object without members.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NoMembers {}

/// The content type must be JSON.
pub(super) fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(Problem::unsupported_media_type()) }
}

/// The content coding of the body. Several, one over the other, are refused like unknown ones.
fn coding_of(headers: &HeaderMap) -> Result<Option<Coding>, Problem> {
    let values = headers.get_all(header::CONTENT_ENCODING).into_iter();
    let names = values.flat_map(|value| value.to_str().unwrap_or("?").split(',')).map(str::trim);
    let mut coded = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"));
    match (coded.next(), coded.next()) {
        (None, _) => Ok(None),
        (Some(name), None) => Coding::named(name).map(Some).ok_or_else(Problem::unsupported_encoding),
        (Some(_), Some(_)) => Err(Problem::unsupported_encoding()),
    }
}
