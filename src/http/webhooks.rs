//! Webhooks of the payment provider. Their signature is the only authentication, so the body is read raw.
//!
//! May depend on `shop`.

use axum::{
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts},
};

use super::{App, bodies::ProblemBody, error::Problem, extract::Names, request_body::RawBody, responses::Write};

/// Receives a notice of the payment provider, signed over the raw body.
///
/// The signature over the raw body is the only authentication. The notice is durable before the answer, and no more
/// than a reason to ask the provider.
#[utoipa::path(post, path = "/webhooks/{provider}", operation_id = "take_notice", tag = "operations",
    params(("provider" = String, Path, description = "`stripe` or `simulator`"),
        ("Stripe-Signature" = Option<String>, Header, description = "The time `t`, and the HMAC-SHA256 `v1` of time and body",
            example = "t=1790000000,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd")),
    request_body(content = Object, description = "The provider's event, as it is signed"), responses(
    Write,
    (status = 204, description = "Taken, or nothing new"),
    (status = 400, description = "The signature is not valid, or the body cannot be read", body = ProblemBody),
    (status = 404, description = "Not the provider of this shop, or its notices are not set up", body = ProblemBody),
    (status = 408, description = "The body did not arrive in time", body = ProblemBody),
    (status = 413, description = "The body is too large", body = ProblemBody),
))]
pub(super) async fn take(
    State(app): State<App>,
    Signed { provider, signature }: Signed,
    RawBody(body): RawBody,
) -> Result<StatusCode, Problem> {
    app.shop.take_notice(&provider, &signature, &body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The provider and its signature. Anybody may send to this route, so another provider is refused before the body.
pub(super) struct Signed {
    provider: String,
    signature: String,
}

impl FromRequestParts<App> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Names(provider) = Names::<String>::from_request_parts(parts, app).await?;
        let header = app.shop.signature_header(&provider)?;
        let signature = parts.headers.get(header).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        Ok(Self { provider, signature })
    }
}
