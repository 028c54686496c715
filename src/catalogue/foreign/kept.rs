//! Which parts of a product a file of another program does not state, because it has no column for them. An import
//! keeps these, so that a file with some of the columns changes nothing else.
//!
//! Depends on `domain` and its neighbours.

use crate::{catalogue::foreign::Program, domain::product::Kept};

/// The columns of each part; a part without a column is kept.
type Parts = &'static [(&'static str, &'static [&'static str])];

const SHOPIFY: Parts = &[
    ("price", &["variant price", "price"]),
    ("description", &["body (html)", "description"]),
    ("brand", &["vendor"]),
    ("category", &["product category", "type"]),
    ("pictures", &["image src", "product image url"]),
    ("sku", &["variant sku", "sku"]),
    ("ean", &["variant barcode", "barcode"]),
    ("tags", &["tags"]),
];
const WOOCOMMERCE: Parts = &[
    ("price", &["regular price", "sale price"]),
    ("description", &["description", "short description"]),
    ("brand", &["brands"]),
    ("category", &["categories"]),
    ("categories", &["categories"]),
    ("pictures", &["images"]),
    ("sku", &["sku"]),
    ("ean", &["gtin, upc, ean, or isbn"]),
    ("tags", &["tags"]),
];
const GOOGLE: Parts = &[
    ("price", &["price", "sale_price"]),
    ("description", &["description"]),
    ("brand", &["brand"]),
    ("category", &["product_type", "google_product_category"]),
    ("pictures", &["image_link", "additional_image_link"]),
    ("ean", &["gtin"]),
    ("mpn", &["mpn"]),
    ("size", &["size"]),
    ("color", &["color"]),
    ("material", &["material"]),
    ("pattern", &["pattern"]),
    ("gender", &["gender"]),
    ("age_group", &["age_group"]),
    ("condition", &["condition"]),
    ("size_system", &["size_system"]),
];

/// What products keep of what they are. None of these files states ratings.
pub(super) fn of(program: Program, lacks_currency: bool, has: impl Fn(&str) -> bool) -> Vec<Kept> {
    let parts = match program {
        Program::Shopify => SHOPIFY,
        Program::WooCommerce => WOOCOMMERCE,
        Program::Google => GOOGLE,
    };
    let without = parts.iter().filter(|(_, columns)| !columns.iter().any(|column| has(column)));
    let mut keep: Vec<Kept> = without.map(|(part, _)| kept(part)).chain([Kept::Rating]).collect();
    if lacks_currency && !keep.contains(&Kept::Price) {
        keep.push(Kept::Price);
    }
    keep
}

fn kept(part: &str) -> Kept {
    match part {
        "price" => Kept::Price,
        "description" => Kept::Description,
        "brand" => Kept::Brand,
        "category" => Kept::Category,
        "pictures" => Kept::Pictures,
        attribute => Kept::Attribute(attribute.to_owned()),
    }
}
