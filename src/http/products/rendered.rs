//! Cached product pages as bytes: rendering one as JSON costs more than the rest of the request.
//!
//! A page is cached with the versions of everything on it, and is rendered again when one of them has changed. For its
//! variants, a checksum represents their versions, as in the ETag.
//!
//! May depend on `shop` and `domain`.

use std::fmt;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use quick_cache::{Weighter, sync::Cache};

use super::shapes::Shown;
use crate::{
    domain::{ids::ProductId, product::Variant},
    http::{error::Problem, json, responses::JSON},
    shop::catalogue::{ProductPage, VariantPage},
};

/// The size of this cache as a fraction of the view cache of one kind: a quarter, by default some ten thousand pages.
const SHARE_OF_VIEWS: usize = 4;
/// The approximate memory of a page beside its text, in bytes.
const PAGE_OVERHEAD_BYTES: usize = 256;
/// About how many headers an answer has.
const HEADERS: usize = 12;
/// The approximate length of a page's JSON beside the description, in bytes: the initial capacity.
const JSON_BYTES: usize = 1_024;

/// A variant with its page; `None` if it cannot be seen.
pub(super) type SeenVariant<'a> = (&'a Variant, Option<VariantPage>);

/// The versions of everything on a page, which its ETag contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Versions {
    product: u64,
    on_hand: u64,
    reserved: u64,
    ratings: u64,
    average_hundredths: u64,
    /// A checksum over the versions of the variants; 0 without any.
    variants: u32,
    seller: u64,
}

impl Versions {
    fn of(page: &ProductPage, variants: &[SeenVariant<'_>]) -> Self {
        let variants = variants.iter().fold(0, |checksum, (_, variant)| {
            let seen = variant.as_ref().map_or((0, 0), |variant| (variant.product.version, variant.stock.available));
            let checksum = crc32c::crc32c_append(checksum, &seen.0.to_le_bytes());
            crc32c::crc32c_append(checksum, &seen.1.to_le_bytes())
        });
        Self {
            product: page.product.version,
            on_hand: page.stock.on_hand,
            reserved: page.stock.reserved_quantity,
            ratings: page.rating.count,
            average_hundredths: page.rating.average_hundredths,
            variants,
            seller: page.seller.version,
        }
    }
}

/// An ETag: the product part, with which edits are compared, then the parts of the stock, the rating, the variants and
/// the seller.
impl fmt::Display for Versions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { product, on_hand, reserved, ratings, average_hundredths, variants, seller } = self;
        write!(
            formatter,
            "\"p{product}-s{on_hand}.{reserved}-r{ratings}.{average_hundredths}-v{variants:x}-n{seller}\""
        )
    }
}

/// A rendered page.
#[derive(Clone)]
pub(super) struct Rendered {
    versions: Versions,
    etag: HeaderValue,
    body: Bytes,
}

impl Rendered {
    fn new(page: &ProductPage, variants: &[SeenVariant<'_>], versions: Versions) -> Result<Self, Problem> {
        let about = JSON_BYTES + page.product.details.description.len();
        let body = json::bytes(&Shown::new(page, variants), about)?;
        let etag = HeaderValue::try_from(versions.to_string()).map_err(|_| Problem::fault())?;
        Ok(Self { versions, etag, body: body.into() })
    }

    /// The response with the page.
    pub(super) fn respond(self, status: StatusCode) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = status;
        // Room for the headers of the layers, too, so that the map is made once.
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
        headers.insert(header::ETAG, self.etag);
        *response.headers_mut() = headers;
        response
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<ProductId, Rendered> for ByBytes {
    fn weight(&self, id: &ProductId, rendered: &Rendered) -> u64 {
        (PAGE_OVERHEAD_BYTES + id.as_str().len() + rendered.body.len()) as u64
    }
}

/// The cache of rendered pages.
pub(in crate::http) struct RenderedPages(Cache<ProductId, Rendered, ByBytes>);

impl RenderedPages {
    /// An empty cache, sized after the view cache of each kind.
    pub(in crate::http) fn beside(views_bytes_max: usize) -> Self {
        let bytes_max = views_bytes_max / SHARE_OF_VIEWS;
        Self(Cache::with_weighter(bytes_max / JSON_BYTES, bytes_max as u64, ByBytes))
    }

    /// The rendered page, from the cache if it is current.
    pub(super) fn get(&self, page: &ProductPage, variants: &[SeenVariant<'_>]) -> Result<Rendered, Problem> {
        let versions = Versions::of(page, variants);
        if let Some(rendered) = self.0.get(&page.id).filter(|rendered| rendered.versions == versions) {
            return Ok(rendered);
        }
        let rendered = Rendered::new(page, variants, versions)?;
        self.0.insert(page.id.clone(), rendered.clone());
        Ok(rendered)
    }
}
