//! The JSON shapes of products, searches and categories.
//!
//! May depend on `shop` and `domain`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::{
        self,
        ids::ProductId,
        product::{self, Picture, PictureSource, Rule, TEXT_BYTES_MAX},
    },
    http::{
        bodies::{Money, object},
        error::Problem,
        paging,
        sellers::SellerBody,
    },
    shop::{
        CategoryCount, Hit, SearchRequest, Sort,
        catalogue::{ProductPage, VariantPage},
    },
};

/// The separator of the levels of a category in a query.
const LEVELS: char = '>';

/// A search.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct SearchQuery {
    /// Words; without them all products are listed, newest first.
    pub(in crate::http) q: Option<String>,
    /// A category and everything below it: levels separated by `>`, top level first, case-insensitive.
    category: Option<String>,
    /// A brand, case-insensitive.
    brand: Option<String>,
    /// A seller's id.
    seller: Option<String>,
    /// The least price, in minor units.
    min_price: Option<u64>,
    /// The greatest price, in minor units.
    max_price: Option<u64>,
    /// Only prices in this currency.
    currency: Option<String>,
    /// `relevance` (the default), `price_asc`, `price_desc` or `newest`.
    #[param(inline)]
    sort: Option<SortBy>,
    /// The size of the page: 1 to 100, 20 by default.
    #[param(minimum = 1, maximum = 100)]
    pub(in crate::http) limit: Option<usize>,
    /// The `next_cursor` of the previous page.
    pub(in crate::http) after: Option<String>,
}

/// The order of a list of products.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SortBy {
    Relevance,
    PriceAsc,
    PriceDesc,
    Newest,
}

impl SearchQuery {
    /// A search for words only.
    pub(in crate::http) fn words(words: String, page: paging::PageQuery) -> Self {
        Self { q: Some(words), limit: page.limit, after: page.after, ..Self::default() }
    }

    /// Converts the query.
    pub(in crate::http) fn request(self) -> Result<SearchRequest, Problem> {
        let bad = |name: &str, rule: &str| Problem::invalid_query(format!("{name} {rule}"));
        let levels = self.category.iter().flat_map(|path| path.split(LEVELS));
        let category = levels.map(|level| level.trim().to_owned()).filter(|level| !level.is_empty()).collect();
        let seller = match self.seller {
            Some(text) => Some(text.parse().map_err(|_| bad("seller", "must be a seller's id"))?),
            None => None,
        };
        let currency = match self.currency {
            Some(code) => Some(code.parse().map_err(|_| bad("currency", "must be an ISO 4217 code"))?),
            None => None,
        };
        for (name, price) in [("min_price", self.min_price), ("max_price", self.max_price)] {
            if price.is_some_and(|price| i64::try_from(price).is_err()) {
                return Err(bad(name, "must be at most 9223372036854775807"));
            }
        }
        Ok(SearchRequest {
            text: self.q,
            category,
            brand: self.brand,
            seller,
            price_minor: (self.min_price, self.max_price),
            currency,
            sort: match self.sort.unwrap_or(SortBy::Relevance) {
                SortBy::Relevance => Sort::Relevance,
                SortBy::PriceAsc => Sort::PriceAscending,
                SortBy::PriceDesc => Sort::PriceDescending,
                SortBy::Newest => Sort::Newest,
            },
            limit: paging::limit(self.limit)?,
            after: paging::cursor(self.after.as_deref())?,
        })
    }
}

/// A product in a list.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct HitBody {
    #[schema(value_type = String, example = "demo-000007")]
    id: ProductId,
    title: String,
    brand: Option<String>,
    /// Null if the product cannot be bought.
    price: Option<Money>,
    thumbnail_url: Option<String>,
    /// What that picture shows.
    thumbnail_alt: Option<String>,
}

impl From<Hit> for HitBody {
    fn from(hit: Hit) -> Self {
        Self {
            id: hit.product,
            title: hit.title,
            brand: hit.brand,
            price: hit.price.map(Money::from),
            thumbnail_url: hit.thumbnail_url,
            thumbnail_alt: hit.thumbnail_alt,
        }
    }
}

/// A category.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CategoryBody {
    /// The levels, top level first.
    path: Vec<String>,
    /// The number of products in it or below it.
    products: usize,
}

impl From<&CategoryCount> for CategoryBody {
    fn from(counted: &CategoryCount) -> Self {
        Self { path: counted.path.clone(), products: counted.count }
    }
}

/// A product. (Documents the JSON that `Shown` writes.)
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "it describes what Shown writes")]
pub(in crate::http) struct ProductBody {
    id: String,
    name: String,
    description: String,
    brand: Option<String>,
    category: Vec<String>,
    /// Null if the product cannot be bought.
    price: Option<Money>,
    /// Whether it can be added to a cart: it has a price, and no variants to choose from.
    purchasable: bool,
    thumbnail_url: Option<String>,
    /// What that picture shows.
    thumbnail_alt: Option<String>,
    /// The addresses of `pictures`.
    images: Vec<String>,
    /// The main one first.
    pictures: Vec<PictureBody>,
    attributes: BTreeMap<String, String>,
    /// Available units.
    quantity: u64,
    rating: RatingBody,
    variants: Vec<VariantBody>,
    variant_of: Option<String>,
    seller_id: String,
    seller: SellerBody,
    version: u64,
}

/// A picture.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PictureBody {
    #[schema(example = "https://images.example/teapot.jpg", min_length = 1, max_length = 1000)]
    url: String,
    /// What it shows, for those who do not see it; at most 512 characters.
    #[schema(example = "A black teapot of cast iron", min_length = 1, max_length = 512)]
    alt: Option<String>,
}

/// The average rating.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RatingBody {
    /// In stars; 0 without ratings.
    average: f64,
    count: u64,
}

/// A variant.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "it describes what Shown writes")]
struct VariantBody {
    /// The product to add to the cart.
    product_id: String,
    options: BTreeMap<String, String>,
    price: Option<Money>,
    quantity: u64,
}

/// A product page that is serialised without copying it first.
#[derive(Serialize)]
pub(in crate::http) struct Shown<'a> {
    id: &'a str,
    name: &'a str,
    description: &'a str,
    brand: Option<&'a str>,
    category: &'a [String],
    price: Option<domain::money::Money>,
    purchasable: bool,
    thumbnail_url: Option<&'a str>,
    thumbnail_alt: Option<&'a str>,
    images: Vec<&'a str>,
    pictures: Vec<ShownPicture<'a>>,
    attributes: BTreeMap<&'a str, &'a str>,
    quantity: u64,
    rating: RatingBody,
    variants: Vec<ShownVariant<'a>>,
    variant_of: Option<&'a str>,
    seller_id: String,
    seller: SellerBody,
    version: u64,
}

#[derive(Serialize)]
struct ShownPicture<'a> {
    url: &'a str,
    alt: Option<&'a str>,
}

#[derive(Serialize)]
struct ShownVariant<'a> {
    product_id: &'a str,
    options: BTreeMap<&'a str, &'a str>,
    price: Option<domain::money::Money>,
    quantity: u64,
}

impl<'a> Shown<'a> {
    /// The page of a product with its variants.
    pub(in crate::http) fn new(
        page: &'a ProductPage,
        variants: &'a [(&'a product::Variant, Option<VariantPage>)],
    ) -> Self {
        let details = &page.product.details;
        let variant = |(variant, page): &'a (&'a product::Variant, Option<VariantPage>)| ShownVariant {
            product_id: variant.product.as_str(),
            options: object(&variant.options),
            price: page.as_ref().and_then(|page| page.product.details.price),
            quantity: page.as_ref().map_or(0, |page| page.stock.available),
        };
        let picture = |picture: &'a Picture| ShownPicture { url: picture.url(), alt: picture.alt.as_deref() };
        // Hundredths of a star, so two decimal digits are exact.
        let average = f64::from(u32::try_from(page.rating.average_hundredths).unwrap_or(0)) / 100.0;
        Self {
            id: page.id.as_str(),
            name: &details.title,
            description: &details.description,
            brand: details.brand.as_deref(),
            category: &details.category,
            price: details.price,
            purchasable: details.price.is_some() && details.variants.is_empty() && page.product.listed,
            thumbnail_url: details.thumbnail.as_ref().map(Picture::url),
            thumbnail_alt: details.thumbnail_alt(),
            images: details.pictures.iter().map(Picture::url).collect(),
            pictures: details.pictures.iter().map(picture).collect(),
            attributes: object(&details.attributes),
            quantity: page.stock.available,
            rating: RatingBody { average, count: page.rating.count },
            variants: variants.iter().map(variant).collect(),
            variant_of: details.variant_of.as_ref().map(domain::ids::ProductId::as_str),
            seller_id: page.product.seller.to_string(),
            seller: SellerBody::from(&page.seller),
            version: page.product.version,
        }
    }
}

/// The details of a product.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ProductFields {
    /// 1 to 64 of `A-Z a-z 0-9 . _ : -`; generated for a new product by default.
    #[schema(example = "teapot-1")]
    pub(in crate::http) id: Option<String>,
    #[schema(example = "Cast iron teapot", min_length = 1, max_length = 2000)]
    name: String,
    #[serde(default)]
    #[schema(max_length = 32768)]
    description: String,
    #[schema(min_length = 1, max_length = 1000)]
    brand: Option<String>,
    /// The category, top level first.
    #[serde(default)]
    #[schema(max_items = 10)]
    category: Vec<String>,
    /// Without a price the product is listed and found, but cannot be bought.
    price: Option<Money>,
    /// Unless given, the first picture.
    #[schema(min_length = 1, max_length = 1000)]
    thumbnail_url: Option<String>,
    /// Unless given, what the first picture shows.
    #[schema(min_length = 1, max_length = 512)]
    thumbnail_alt: Option<String>,
    /// The addresses of pictures without alternative texts. With `pictures`, they are the same addresses.
    #[schema(max_items = 20)]
    images: Option<Vec<String>>,
    /// The main one first; at most 20.
    #[schema(max_items = 20)]
    pictures: Option<Vec<PictureBody>>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    /// The product of which this is a variant.
    #[schema(min_length = 1, max_length = 64)]
    variant_of: Option<String>,
    /// The variants of this product.
    #[serde(default)]
    #[schema(max_items = 500)]
    variants: Vec<NewVariant>,
}

/// A variant on its parent's page.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewVariant {
    /// The product of the variant.
    #[schema(min_length = 1, max_length = 64)]
    product_id: String,
    /// What distinguishes it.
    options: BTreeMap<String, String>,
}

impl ProductFields {
    /// Converts the body.
    pub(in crate::http) fn details(self) -> Result<product::Details, Problem> {
        use crate::http::bodies::product_id;
        let price = match self.price {
            Some(Money { amount, currency }) => {
                let unknown = |_| Problem::invalid("price/currency", "must be an ISO 4217 code");
                let money = domain::money::Money::new(amount, currency.parse().map_err(unknown)?);
                Some(money.map_err(|error| Problem::invalid("price/amount", error.to_string()))?)
            }
            None => None,
        };
        let variants = self.variants.into_iter().enumerate().map(|(index, variant)| {
            let product = product_id(&variant.product_id, &format!("variants/{index}/product_id"))?;
            Ok(product::Variant { product, options: variant.options.into_iter().collect() })
        });
        let pictures = pictures(self.images, self.pictures)?;
        let thumbnail = thumbnail(self.thumbnail_url, self.thumbnail_alt, pictures.first())?;
        let variant_of = self.variant_of.map(|id| product_id(&id, "variant_of")).transpose()?;
        Ok(product::Details {
            title: self.name,
            description: self.description,
            brand: self.brand,
            category: self.category,
            price,
            thumbnail,
            pictures,
            attributes: self.attributes.into_iter().collect(),
            imported_rating: None,
            variant_of,
            variants: variants.collect::<Result<_, Problem>>()?,
        })
    }
}

/// Picks out the address that is none, under its name in the body.
fn check_address(picture: Picture, pointer: &str) -> Result<Picture, Problem> {
    if picture.has_web_address() {
        return Ok(picture);
    }
    Err(Problem::invalid(pointer, Rule::WebAddress(TEXT_BYTES_MAX).to_string()))
}

/// The pictures of a product: as addresses, with their alternative texts, or as both.
fn pictures(images: Option<Vec<String>>, pictures: Option<Vec<PictureBody>>) -> Result<Vec<Picture>, Problem> {
    match (images, pictures) {
        (images, None) => {
            let images = images.into_iter().flatten().enumerate();
            images.map(|(index, url)| check_address(Picture::at(url), &format!("images/{index}"))).collect()
        }
        (Some(images), Some(pictures)) if !images.iter().eq(pictures.iter().map(|picture| &picture.url)) => {
            Err(Problem::invalid("images", "must be the addresses of pictures where both are given"))
        }
        (_, Some(pictures)) => {
            let picture = |(index, PictureBody { url, alt })| {
                check_address(Picture { source: PictureSource::Address(url), alt }, &format!("pictures/{index}/url"))
            };
            pictures.into_iter().enumerate().map(picture).collect()
        }
    }
}

fn thumbnail(url: Option<String>, alt: Option<String>, main: Option<&Picture>) -> Result<Option<Picture>, Problem> {
    match (url, alt) {
        (Some(url), alt) => {
            check_address(Picture { source: PictureSource::Address(url), alt }, "thumbnail_url").map(Some)
        }
        (None, None) => Ok(main.cloned()),
        (None, Some(_)) if main.is_none() => {
            Err(Problem::invalid("thumbnail_alt", "must be left out where there is no picture"))
        }
        (None, alt @ Some(_)) => Ok(main.map(|main| Picture { alt, ..main.clone() })),
    }
}
