//! The `Idempotency-Key`: a request with one takes effect once.
//!
//! The handler of a `POST` takes its shop from [`Act`], or with its body from [`Once`], and calls one function of it;
//! the layers mark the answer to a repeat. Checkouts, payments, refunds and returns hand the text of their [`Key`] on.
//! An operation whose description has no [`KeyHeader`] refuses the header instead of ignoring it.
//!
//! May depend on `shop` and `domain`.

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, request::Parts},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    App, context,
    error::Problem,
    extract::{Body, Caller},
    responses::KEY,
};
use crate::{
    domain::idempotency::{InvalidKey, check_key},
    shop::{self, Principal, Shop},
};

/// The header, for the descriptions of operations.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it describes what Key reads")]
pub(super) struct KeyHeader {
    /// Names the request, for a day: a repeat with the same key and body changes nothing, and gets the same answer as
    /// it is now, marked with `Idempotent-Replayed`. The same key with another body is refused.
    #[param(rename = "Idempotency-Key", example = "8e03978e-40d5-43dd")]
    key: Option<String>,
}

/// The text of the `Idempotency-Key` header: a structured-field string, or the bare text.
pub(super) struct Key(pub(super) Option<String>);

impl FromRequestParts<App> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        Self::of(&parts.headers)
    }
}

impl Key {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = headers.get(KEY) else { return Ok(Self(None)) };
        let invalid = || shop::Error::from(InvalidKey);
        let text = value.to_str().map_err(|_| invalid())?.trim();
        let key = match text.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"').ok_or_else(invalid)?.replace("\\\"", "\""),
            None => text.to_owned(),
        };
        check_key(&key).map_err(shop::Error::from)?;
        Ok(Self(Some(key)))
    }
}

/// The shop for a request without a body.
pub(super) struct Act(pub(super) Shop);

impl FromRequestParts<App> for Act {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Key(key) = Key::from_request_parts(parts, app).await?;
        let Some(key) = key else { return Ok(Self(app.shop.clone())) };
        let Caller(who) = Caller::from_request_parts(parts, app).await?;
        shop_for(app, &who, parts.uri.path(), &key, &[]).map(Self)
    }
}

/// The shop for a request with a JSON body, and the body.
pub(super) struct Once<T>(pub(super) Shop, pub(super) T);

impl<T: DeserializeOwned + ToSchema> FromRequest<App> for Once<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Key(key) = Key::from_request_parts(&mut parts, app).await?;
        let Some(key) = key else {
            let Body(value) = Body::from_request(Request::from_parts(parts, body), app).await?;
            return Ok(Self(app.shop.clone(), value));
        };
        let Caller(who) = Caller::from_request_parts(&mut parts, app).await?;
        let path = parts.uri.path().to_owned();
        let (value, bytes) = Body::<T>::read(Request::from_parts(parts, body), app).await?;
        Ok(Self(shop_for(app, &who, &path, &key, &canonical(&bytes))?, value))
    }
}

/// The shop for a request of this caller with a key. The operation is the path, and so what it names.
pub(super) fn shop_for(app: &App, who: &Principal, path: &str, key: &str, body: &[u8]) -> Result<Shop, Problem> {
    Ok(marking(app.shop.once(who, path, key, body)?))
}

/// Has the answer to the current request marked if the shop finds it a repeat.
pub(super) fn marking(shop: Shop) -> Shop {
    context::keep_shop(shop.clone());
    shop
}

/// A JSON text without what does not matter: a repeat may have other blanks, or its members in another order.
fn canonical(body: &[u8]) -> Vec<u8> {
    serde_json::from_slice::<Value>(body).map_or_else(|_| body.to_vec(), |value| value.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_the_order_of_members_do_not_matter() {
        let one = canonical(br#"{"b": [1, {"d": "x", "c": null}], "a": 1}"#);
        assert_eq!(one, canonical(br#"{"a":1,"b":[1,{"c":null,"d":"x"}]}"#));
        assert_ne!(one, canonical(br#"{"a":1,"b":[{"c":null,"d":"x"},1]}"#));
        assert_eq!(canonical(b""), b"");
    }
}
