//! Products: search, product pages, and editing.
//!
//! May depend on `shop` and `domain`.

mod rendered;
mod shapes;

use axum::{
    extract::{OriginalUri, Path, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, Uri, header},
    response::Response,
};

use self::{
    rendered::Rendered,
    shapes::{CategoryBody, HitBody, ProductBody},
};
pub(super) use self::{
    rendered::RenderedPages,
    shapes::{ProductFields, SearchQuery},
};
use super::{
    App,
    bodies::{ProblemBody, product_id},
    context::public_path,
    error::Problem,
    etag::IfMatch,
    extract::{Body, Caller, Id, Query},
    json::Json,
    once::{KeyHeader, Once},
    paging::{Page, PageQuery},
    responses::{Conditional, JsonBody, Read, Token, Write},
};
use crate::{
    domain::ids::ProductId,
    shop::{SearchRequest, catalogue::ProductPage},
};

/// The prefix of the search path.
const SEARCH_PREFIX: &str = "search_item=";

async fn search(app: &App, request: &SearchRequest, uri: &Uri) -> Result<Response, Problem> {
    let found = app.shop.search(request).await?;
    let items = found.hits.into_iter().map(HitBody::from).collect();
    Ok(Page::new(items, found.next.as_ref()).with_total(found.total).respond(uri))
}

/// Searches products by keywords (an alias of `GET /products?q=`).
///
/// Percent-encode the words, a `/` as `%2F`. An empty search lists all products.
#[utoipa::path(get, path = "/products/search_item={*keywords}", operation_id = "search_products", tag = "browsing",
    params(("keywords" = String, Path, description = "Percent-encoded words"), PageQuery), responses(
    Read,
    (status = 200, description = "A page of products", body = Page<HitBody>),
))]
pub(super) async fn search_by_path(
    State(app): State<App>,
    keywords: Result<Path<String>, PathRejection>,
    Query(page): Query<PageQuery>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Problem> {
    let Path(keywords) = keywords.map_err(|rejection| Problem::invalid_path(rejection.body_text()))?;
    let query = SearchQuery::words(keywords, page);
    search(&app, &query.request()?, &uri).await
}

/// Searches and lists products: by words, category, brand, seller, price.
///
/// Filters can be combined. Without words the newest products come first, with words the most relevant.
#[utoipa::path(get, path = "/products", operation_id = "list_products",
    tag = "browsing", params(SearchQuery), responses(
    Read,
    (status = 200, description = "A page of products", body = Page<HitBody>),
))]
pub(super) async fn list(
    State(app): State<App>,
    Query(query): Query<SearchQuery>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Problem> {
    search(&app, &query.request()?, &uri).await
}

/// The categories of the catalogue with their numbers of products, two levels deep.
///
/// A category counts everything below it, too. The list is short, so it has no pages.
#[utoipa::path(get, path = "/categories", operation_id = "list_categories", tag = "browsing", responses(
    Read,
    (status = 200, description = "Categories", body = Vec<CategoryBody>),
))]
pub(super) async fn categories(State(app): State<App>) -> Result<Json<Vec<CategoryBody>>, Problem> {
    let counts = app.shop.categories().await?;
    Ok(Json(counts.iter().map(CategoryBody::from).collect()))
}

/// Shows a product.
///
/// With its price, pictures, stock, rating and variants. A product that was removed is shown to its seller and to
/// admins only.
#[utoipa::path(get, path = "/products/{product_id}", operation_id = "show_product", tag = "browsing",
    security((), ("bearer" = [])),
    params(("product_id" = String, Path)), responses(
    Read,
    (status = 200, description = "The product", body = ProductBody),
    (status = 404, description = "No such product", body = ProblemBody),
))]
pub(super) async fn show(
    State(app): State<App>,
    caller: Option<Caller>,
    path: Result<Path<String>, PathRejection>,
    Query(query): Query<PageQuery>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Problem> {
    let Path(text) = path.map_err(|rejection| Problem::invalid_path(rejection.body_text()))?;
    // The router sends `search_item=` without a word, or with an encoded `=`, to this handler.
    if let Some(words) = text.strip_prefix(SEARCH_PREFIX) {
        let query = SearchQuery::words(words.to_owned(), query);
        return search(&app, &query.request()?, &uri).await;
    }
    if query.limit.is_some() || query.after.is_some() {
        return Err(Problem::invalid_query("a product takes no query parameters"));
    }
    let id: ProductId = text.parse().map_err(|_| Problem::not_found("product"))?;
    let page = app.shop.product(&id, caller.as_ref().map(|Caller(who)| who)).await?;
    Ok(render(&app, &page).await?.respond(StatusCode::OK))
}

async fn render(app: &App, page: &ProductPage) -> Result<Rendered, Problem> {
    let mut variants = Vec::with_capacity(page.product.details.variants.len());
    for variant in &page.product.details.variants {
        variants.push((variant, app.shop.variant(&variant.product).await.ok()));
    }
    app.pages.get(page, &variants)
}

/// Creates a product of the caller.
///
/// For sellers and admins. The product is in the shop at once, and soon in searches; it has no stock yet.
#[utoipa::path(post, path = "/products", operation_id = "create_product",
    tag = "selling", security(("bearer" = [])), request_body = ProductFields, params(KeyHeader), responses(
    Write, Token, JsonBody,
    (status = 201, description = "Created", body = ProductBody),
    (status = 403, description = "Not a seller", body = ProblemBody),
    (status = 409, description = "The id is taken", body = ProblemBody),
))]
pub(super) async fn create(
    State(app): State<App>,
    Caller(who): Caller,
    Once(shop, fields): Once<ProductFields>,
) -> Result<Response, Problem> {
    let id = match &fields.id {
        Some(id) => product_id(id, "id")?,
        None => shop.new_product_id(),
    };
    let page = shop.create_product(&who, &id, fields.details()?).await?;
    let mut response = render(&app, &page).await?.respond(StatusCode::CREATED);
    if let Ok(location) = HeaderValue::from_str(&public_path(&format!("/products/{id}"))) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Replaces a product's details.
///
/// Fields that are left out become empty. With `If-Match` and its ETag, an edit of an older version is refused.
#[utoipa::path(put, path = "/products/{product_id}", operation_id = "revise_product",
    tag = "selling", security(("bearer" = [])),
    request_body = ProductFields, params(("product_id" = String, Path), ("If-Match" = Option<String>, Header)), responses(
    Write, Token, JsonBody, Conditional,
    (status = 200, description = "Replaced", body = ProductBody),
    (status = 403, description = "Another seller's", body = ProblemBody),
    (status = 404, description = "No such product", body = ProblemBody),
))]
pub(super) async fn revise(
    State(app): State<App>,
    Caller(who): Caller,
    Id(id): Id<ProductId>,
    expected: IfMatch,
    Body(fields): Body<ProductFields>,
) -> Result<Response, Problem> {
    if fields.id.as_deref().is_some_and(|named| named != id.as_str()) {
        return Err(Problem::invalid("id", "must be the id in the path"));
    }
    let version = expected.version('p');
    let page = app.shop.revise_product(&who, &id, fields.details()?, version).await?;
    Ok(render(&app, &page).await?.respond(StatusCode::OK))
}

/// Removes a product from the shop; past orders keep its data.
///
/// Carts show it as not for sale, and open orders go on.
#[utoipa::path(delete, path = "/products/{product_id}", operation_id = "delist_product",
    tag = "selling", security(("bearer" = [])),
    params(("product_id" = String, Path), ("If-Match" = Option<String>, Header)), responses(
    Write, Token, Conditional,
    (status = 204, description = "It is not in the shop (any more)"),
    (status = 403, description = "Another seller's", body = ProblemBody),
    (status = 404, description = "No such product", body = ProblemBody),
))]
pub(super) async fn delist(
    State(app): State<App>,
    Caller(who): Caller,
    Id(id): Id<ProductId>,
    expected: IfMatch,
) -> Result<StatusCode, Problem> {
    app.shop.delist_product(&who, &id, expected.version('p')).await?;
    Ok(StatusCode::NO_CONTENT)
}
