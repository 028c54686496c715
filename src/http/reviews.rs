//! Reviews of a product.
//!
//! May depend on `shop` and `domain`.

use axum::{
    extract::{OriginalUri, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    App,
    bodies::{ProblemBody, time},
    context::public_path,
    error::Problem,
    extract::{Caller, Id, Query},
    json::Json,
    once::{KeyHeader, Once},
    paging::{Page, PageQuery},
    responses::{JsonBody, Read, Token, Write},
};
use crate::{
    domain::{
        ids::ProductId,
        review::{Content, Purchase},
    },
    shop::Changed,
};

/// A new review. A customer has one review per product; a second one replaces it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewReview {
    #[schema(example = 5, minimum = 1, maximum = 5)]
    rating: u8,
    #[schema(example = "Does what it should", min_length = 1, max_length = 200)]
    title: String,
    #[serde(default)]
    #[schema(max_length = 3000)]
    text: String,
}

/// A review.
#[derive(Serialize, ToSchema)]
pub(super) struct ReviewBody {
    rating: u8,
    title: String,
    text: String,
    /// Whether its author bought the product here.
    verified: bool,
    /// When it was written or last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    written_at: Option<String>,
}

fn body(content: Content, written_at: Option<String>) -> ReviewBody {
    let Content { rating, title, text, purchase, .. } = content;
    ReviewBody { rating, title, text, verified: purchase == Purchase::Verified, written_at }
}

/// Lists a product's reviews, newest first.
///
/// With the stars, and whether the author bought the product here. Authors are not named.
#[utoipa::path(get, path = "/products/{product_id}/reviews", operation_id = "list_reviews", tag = "browsing",
    security((), ("bearer" = [])), params(("product_id" = String, Path), PageQuery), responses(
    Read,
    (status = 200, description = "A page of reviews", body = Page<ReviewBody>),
    (status = 404, description = "No such product", body = ProblemBody),
))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Option<Caller>,
    Id(product): Id<ProductId>,
    Query(page): Query<PageQuery>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Problem> {
    let who = caller.as_ref().map(|Caller(who)| who);
    let listed = app.shop.reviews(who, &product, page.after()?, page.limit()?).await?;
    let items = listed.items.into_iter().map(|listed| body(listed.content, Some(time(listed.at)))).collect();
    Ok(Page::new(items, listed.next.as_ref()).respond(&uri))
}

/// Writes the caller's review, or replaces it.
///
/// A customer has one review of a product. A second one replaces it.
#[utoipa::path(post, path = "/products/{product_id}/reviews", operation_id = "write_review",
    tag = "browsing", security(("bearer" = [])),
    request_body = NewReview, params(("product_id" = String, Path), KeyHeader), responses(
    Write, Token, JsonBody,
    (status = 201, description = "Written", body = ReviewBody),
    (status = 200, description = "It was there just like that", body = ReviewBody),
    (status = 403, description = "The caller sells or manages the product", body = ProblemBody),
    (status = 404, description = "No such product", body = ProblemBody),
    (status = 422, description = "A rating or text that cannot be", body = ProblemBody),
))]
pub(super) async fn write(
    Caller(who): Caller,
    Id(product): Id<ProductId>,
    Once(shop, new): Once<NewReview>,
) -> Result<Response, Problem> {
    let (written, changed) = shop.write_review(&who, &product, new.rating, new.title, new.text).await?;
    let status = match changed {
        Changed::Yes => StatusCode::CREATED,
        Changed::No | Changed::Repeat => StatusCode::OK,
    };
    let location = [(header::LOCATION, public_path(&format!("/products/{product}/reviews")))];
    Ok((status, location, Json(body(written.content.clone(), None))).into_response())
}
