//! Files of other programs that have products in them, or look as if they had, but do not describe them: stock, orders,
//! customers, and formats that are not read. Each is recognised by its header and refused with what it is.
//!
//! Depends on its neighbours.

use crate::catalogue::{error::RowError, foreign::record::Columns};

/// A kind of file.
struct Kind {
    what: &'static str,
    remedy: &'static str,
    /// The header has one column of each of these groups.
    has: &'static [&'static [&'static str]],
    /// And none of these.
    lacks: &'static [&'static str],
}

const STOCK: &str = "a file with the columns id and quantity sets the stock";
const SHOPIFY: &str = "export the products of Shopify (Products, Export)";
const WOOCOMMERCE: &str = "export the products of WooCommerce (Products, Export)";
const GOOGLE: &str = "import the main feed, which has id, title and link";
const OTHER: &str = "write a file with the columns of docs/CATALOGUE.md";

/// The columns of Google's feeds that an own file cannot have.
const GOOGLE_FIELDS: &[&str] = &[
    "availability",
    "image link",
    "google product category",
    "product type",
    "gtin",
    "custom label 0",
    "custom label 1",
    "custom label 2",
    "custom label 3",
    "custom label 4",
    "shipping label",
    "excluded destination",
    "included destination",
    "item group id",
    "promotion id",
];

const KINDS: &[Kind] = &[
    Kind {
        what: "an inventory export of Shopify",
        remedy: STOCK,
        has: &[&["handle"], &["title"], &["option1 name"], &["sku", "location", "hs code", "coo", "on hand"]],
        lacks: &["variant price", "price", "variant sku", "variant inventory qty", "body (html)", "image src"],
    },
    Kind {
        what: "an inventory export of Shopify",
        remedy: STOCK,
        has: &[
            &["handle", "url handle", "sku"],
            &["on hand (new)", "on hand (current)", "on hand", "available (not editable)", "available (new)"],
        ],
        lacks: &[],
    },
    Kind { what: "an export of orders", remedy: SHOPIFY, has: &[&["financial status", "lineitem name"]], lacks: &[] },
    Kind {
        what: "an export of orders",
        remedy: WOOCOMMERCE,
        has: &[&["order number", "order id", "order total", "order status"]],
        lacks: &[],
    },
    Kind {
        what: "an export of customers",
        remedy: SHOPIFY,
        has: &[&["accepts email marketing", "accepts marketing", "total spent", "total orders"]],
        lacks: &[],
    },
    Kind {
        what: "an export of customers",
        remedy: WOOCOMMERCE,
        has: &[
            &["email", "e-mail", "billing email", "customer email"],
            &["username", "first name", "last name", "name"],
        ],
        lacks: &["title"],
    },
    Kind {
        what: "a list of redirects of Shopify",
        remedy: SHOPIFY,
        has: &[&["redirect from"], &["redirect to"]],
        lacks: &[],
    },
    Kind { what: "a local inventory of Google Merchant", remedy: STOCK, has: &[&["store code"]], lacks: &[] },
    Kind {
        what: "a supplemental feed of Google Merchant",
        remedy: GOOGLE,
        has: &[&["id"], GOOGLE_FIELDS],
        lacks: &["title", "name", "sku"],
    },
    Kind {
        what: "an export of Magento",
        remedy: OTHER,
        has: &[&["attribute set code", "store view code", "product websites"]],
        lacks: &[],
    },
    Kind {
        what: "an export of PrestaShop",
        remedy: OTHER,
        has: &[&["active (0/1)", "name *", "categories (x,y,z...)", "price tax excluded", "price tax included"]],
        lacks: &[],
    },
    Kind {
        what: "an export of BigCommerce",
        remedy: OTHER,
        has: &[&["product code/sku", "product uuid", "product custom fields"]],
        lacks: &[],
    },
    Kind {
        what: "an export of Square",
        remedy: OTHER,
        has: &[&["item name"], &["variation name", "token"]],
        lacks: &[],
    },
    Kind { what: "a file of Amazon", remedy: OTHER, has: &[&["item sku"], &["item name"]], lacks: &[] },
    Kind { what: "an export of Etsy", remedy: OTHER, has: &[&["currency code"], &["image1"]], lacks: &[] },
    Kind {
        what: "an export of Wix",
        remedy: OTHER,
        has: &[&["handleid"], &["fieldtype", "productimageurl"]],
        lacks: &[],
    },
];

/// Refuses a header of a file that does not describe products.
pub(super) fn check(columns: &Columns) -> Result<(), RowError> {
    let has = |names: &&[&str]| names.iter().any(|name| columns.has(name));
    let is = |kind: &&Kind| kind.has.iter().all(has) && !has(&kind.lacks);
    match KINDS.iter().find(is) {
        Some(Kind { what, remedy, .. }) => Err(RowError::NotProducts { what, remedy }),
        None => Ok(()),
    }
}
