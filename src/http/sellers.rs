//! Sellers: their names.
//!
//! May depend on `shop` and `domain`.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    App,
    bodies::ProblemBody,
    error::Problem,
    extract::{Body, Caller, Id},
    json::Json,
    responses::{JsonBody, Read, Token, Write},
};
use crate::{domain::ids::SellerId, shop::sellers::SellerPage};

/// A seller.
#[derive(Serialize, ToSchema)]
pub(super) struct SellerBody {
    id: String,
    /// Null where it has none.
    #[schema(example = "Teapots of Pune")]
    name: Option<String>,
}

impl From<&SellerPage> for SellerBody {
    fn from(page: &SellerPage) -> Self {
        Self { id: page.id.to_string(), name: page.name.as_deref().map(str::to_owned) }
    }
}

/// What a seller is to be called.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SellerFields {
    /// 1 to 100 printable characters.
    #[schema(example = "Teapots of Pune", min_length = 1, max_length = 100)]
    name: String,
}

/// A seller.
///
/// Who sells a product is named on its page; this is the same.
#[utoipa::path(get, path = "/sellers/{seller_id}", operation_id = "show_seller", tag = "browsing",
    params(("seller_id" = String, Path)), responses(
    Read,
    (status = 200, description = "The seller", body = SellerBody),
    (status = 404, description = "No seller with a name has this id", body = ProblemBody),
))]
pub(super) async fn show(State(app): State<App>, Id(id): Id<SellerId>) -> Result<Json<SellerBody>, Problem> {
    Ok(Json(SellerBody::from(&app.shop.seller(id).await?)))
}

/// Names a seller, for its own account and admins.
///
/// Shoppers see the name on product pages. Only the seller itself and admins may set it.
#[utoipa::path(put, path = "/sellers/{seller_id}", operation_id = "name_seller", tag = "selling",
    security(("bearer" = [])), request_body = SellerFields, params(("seller_id" = String, Path)), responses(
    Write, Token, JsonBody,
    (status = 200, description = "Named", body = SellerBody),
    (status = 403, description = "Another seller", body = ProblemBody),
    (status = 404, description = "The seller is erased", body = ProblemBody),
))]
pub(super) async fn name(
    State(app): State<App>,
    Caller(who): Caller,
    Id(id): Id<SellerId>,
    Body(fields): Body<SellerFields>,
) -> Result<Json<SellerBody>, Problem> {
    Ok(Json(SellerBody::from(&app.shop.name_seller(&who, id, &fields.name).await?)))
}
