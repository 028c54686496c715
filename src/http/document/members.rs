//! What a member of a JSON object means and which form it has, by its name: the same wherever it occurs.
//!
//! A description that stands beside the field goes before; a form here is that of every field of the name.
//!
//! Depends on its neighbours and on `domain`.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::{add, member_of, named, texts};
use crate::domain::{
    cart::{LINE_QUANTITY_MAX, LINES_MAX},
    inventory::QUANTITY_MAX,
    money::{Currency, Money},
    order,
    product::ATTRIBUTES_MAX,
};

pub(super) const PRODUCT_ID: &str = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$";
pub(super) const HEX_ID: &str = "^[0-9a-f]{32}$";
/// With or without hyphens, in any case; the letters I, L, O and U are not used.
pub(super) const ORDER_NUMBER: &str = "^[0-9A-Za-z]{4}-?[0-9A-Za-z]{4}-?[0-9A-Za-z]{4}$";
/// The schema of a generic page is named after its items.
const PAGE: &str = "Page_";

/// What the name says, where no description stands beside the field.
const DESCRIPTIONS: [(&str, &str); 80] = [
    ("access_expires_at", "When the access token ends."),
    ("action", "What to do."),
    ("amount", "The amount of money."),
    ("amount_limit", "The least or the greatest amount that can be paid."),
    ("at", "When it happened."),
    ("attempt", "The number of the attempt to pay."),
    ("attention", "What an operator has to decide, or has decided."),
    ("attributes", "Names and values, such as a colour."),
    ("began", "When it began."),
    ("brand", "The brand; null if it has none."),
    ("carrier", "Who carries the parcel."),
    ("category", "The levels of its category, top level first."),
    ("city", "The city or town."),
    ("code", "Identifies the type."),
    ("contact", "How to reach the holder beside the e-mail address; null where nothing is said."),
    ("count", "How many there are."),
    ("currency", "The currency."),
    ("decision", "The last decision, if there was one."),
    ("declined_reason", "Why the provider declined the payment."),
    ("description", "A text of several lines."),
    ("email", "The e-mail address, in any case."),
    ("ended", "When it ended."),
    ("expires_at", "Until when it can be used."),
    ("full", "The last pass over a month."),
    ("history", "What has happened, oldest first."),
    ("id", "Its id."),
    ("items", "The lines, or the items of the page."),
    ("line1", "Street and number."),
    ("line2", "A second line: floor, flat, company."),
    ("name", "The name."),
    ("new_password", "The new password, 8 to 128 characters."),
    ("note", "What people should know of it."),
    ("old_password", "The password until now."),
    ("options", "What distinguishes it from the other variants."),
    ("order", "The order."),
    ("order_id", "The id of the order."),
    ("outcome", "What was found out."),
    ("password", "The password, 8 to 128 characters when it is chosen."),
    ("payment", "The attempt to pay."),
    ("phone", "A telephone number, as people write it."),
    ("placed_at", "When the order was placed."),
    ("postal_code", "The postal code."),
    ("price", "The price of one unit; null if it cannot be bought."),
    ("product_id", "The id of the product."),
    ("quantity", "A number of units."),
    ("rating", "Stars, 1 to 5; of a product, their average."),
    ("reason", "Why."),
    ("registered_at", "When the account was made."),
    ("recent", "The last pass over recent payments."),
    ("refresh_expires_at", "When the refresh token ends."),
    ("refresh_token", "The refresh token of the last login or refresh."),
    ("refund", "The number of the refund within its order."),
    ("refunds", "Its refunds."),
    ("region", "State, province or region."),
    ("requested_at", "When it was asked for."),
    ("resolved", "How it was settled."),
    ("return", "The number of the return within its order."),
    ("returns", "Its returns."),
    ("role", "The role of the account."),
    ("seller", "Who sells it."),
    ("seller_id", "The id of the seller."),
    ("shipping", "What shipping costs; of a refund, whether it is refunded."),
    ("shipping_address", "Where the order goes."),
    ("since", "Since when."),
    ("standing", "Whether a seller may sell."),
    ("subtotal", "The sum of the lines."),
    ("tax", "The tax."),
    ("text", "The text of the review; may be empty."),
    ("thumbnail_url", "The address of its small picture; null if it has none."),
    ("ticket", "In place of a token, for one order."),
    ("title", "Its title."),
    ("total", "What it costs with shipping and tax."),
    ("tracking", "Where the parcel is."),
    ("tracking_number", "The number under which the carrier knows the parcel."),
    ("unit_price", "The price of one unit."),
    ("url", "An absolute address, http or https."),
    ("user_id", "The id of the user."),
    ("variant_of", "The product of which it is a variant; null if of none."),
    ("variants", "The variants to choose from."),
    ("version", "Grows with every change."),
];

/// The currencies that amounts may have.
static CURRENCIES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let letters = || 'A'..='Z';
    let codes = letters().flat_map(|one| letters().flat_map(move |two| letters().map(move |three| [one, two, three])));
    codes.map(String::from_iter).filter(|code| code.parse::<Currency>().is_ok()).collect()
});

/// Completes the schemas of a document.
pub(super) fn complete(schemas: &mut Map<String, Value>) {
    schemas.insert(
        "Currency".to_owned(),
        json!({ "type": "string", "description": "An ISO 4217 code of a currency in use.", "enum": *CURRENCIES, "example": "INR" }),
    );
    let mut countries: Vec<&str> = order::countries().collect();
    countries.sort_unstable();
    schemas.insert(
        "Country".to_owned(),
        json!({ "type": "string", "description": "A country's two letters (ISO 3166-1 alpha-2).", "enum": countries, "example": "IN" }),
    );
    name_the_items_of_pages(schemas);
    for (schema_name, schema) in schemas.iter_mut() {
        rule_out(schema_name, schema);
        let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { continue };
        for (name, property) in properties {
            complete_member(schema_name, name, property);
        }
    }
    for (schema, member, rules) in rules() {
        if let Some(known) = member_of(schemas, schema, member).and_then(Value::as_object_mut) {
            known.extend(rules.as_object().cloned().unwrap_or_default());
        }
    }
    texts::complete(schemas);
    if let Some(minor) = schemas.get_mut("StatedMoney").map(|schema| &mut schema["oneOf"][1]) {
        minor["maximum"] = Money::AMOUNT_MAX.into();
    }
}

/// The rules of single members that the domain has, and no form by name.
fn rules() -> [(&'static str, &'static str, Value); 13] {
    let delta = QUANTITY_MAX.cast_signed();
    [
        ("Money", "amount", json!({ "maximum": Money::AMOUNT_MAX })),
        ("Addition", "items", json!({ "minItems": 1, "maxItems": LINES_MAX })),
        ("Addition", "quantity", json!({ "maximum": LINE_QUANTITY_MAX })),
        ("Checkout", "items", json!({ "minItems": 1, "maxItems": LINES_MAX })),
        ("Checkout", "product_ids", json!({ "minItems": 1, "maxItems": LINES_MAX, "uniqueItems": true })),
        ("WantedItem", "quantity", json!({ "maximum": LINE_QUANTITY_MAX })),
        ("ItemBody", "quantity", json!({ "maximum": LINE_QUANTITY_MAX })),
        ("Receipt", "quantity", json!({ "maximum": QUANTITY_MAX })),
        ("Count", "on_hand", json!({ "maximum": QUANTITY_MAX })),
        ("Adjustment", "delta", json!({ "minimum": -delta, "maximum": delta, "not": { "const": 0 } })),
        ("ResolutionBody", "problem", json!({ "maximum": u32::MAX })),
        ("ProductFields", "attributes", json!({ "maxProperties": ATTRIBUTES_MAX })),
        ("SettingsBody", "settings", json!({ "additionalProperties": true })),
    ]
}

/// The items of a page are written into its schema; their own schema is named instead.
fn name_the_items_of_pages(schemas: &mut Map<String, Value>) {
    let known: Vec<String> = schemas.keys().cloned().collect();
    for (name, schema) in schemas {
        if let Some(of) = name.strip_prefix(PAGE).filter(|of| known.iter().any(|name| name == of)) {
            schema["properties"]["items"]["items"] = named(of);
            schema["description"] = "A page of a list.".into();
        }
    }
}

fn complete_member(schema: &str, name: &str, property: &mut Value) {
    // Where a reference or nothing is allowed, the description stands within.
    let inner = property["oneOf"].as_array().into_iter().flatten().find_map(|branch| branch.get("description"));
    let described = inner.cloned().or_else(|| {
        let known = DESCRIPTIONS.iter().find(|(known, _)| *known == name);
        known.map(|(_, description)| Value::from(*description))
    });
    if let (Some(described), Some(property)) = (described, property.as_object_mut()) {
        property.entry("description").or_insert(described);
    }
    if let Some(text) = property["description"].as_str() {
        property["description"] = text.replace('\n', " ").into();
    }
    let is_list = property["items"].is_object();
    let target = if is_list { &mut property["items"] } else { property };
    // What a payment provider calls an order may be any text.
    if schema == "NoticeBody" && name == "order_id" {
        return;
    }
    let of_type = |known: &str| match &target["type"] {
        Value::String(one) => one == known,
        Value::Array(several) => several.iter().any(|one| one == known),
        _ => false,
    };
    if of_type("string") && target["enum"].is_null() {
        let list = match name {
            "currency" => Some("Currency"),
            "country" => Some("Country"),
            _ => None,
        };
        if let Some(list) = list {
            let description = target["description"].clone();
            *target = named(list);
            target["description"] = description;
        } else if let (Some(form), Some(target)) = (form(name), target.as_object_mut()) {
            add(target, form);
        }
    }
}

/// The form of a text.
fn form(name: &str) -> Option<Value> {
    Some(match name {
        "at" | "since" | "began" | "ended" | "payment_deadline" | "under_way_since" => {
            json!({ "format": "date-time", "example": "2026-11-30T12:00:00.000Z" })
        }
        name if name.ends_with("_at") => json!({ "format": "date-time", "example": "2026-11-30T12:00:00.000Z" }),
        "email" => json!({ "format": "email", "pattern": texts::EMAIL, "maxLength": 254 }),
        "password" | "new_password" => json!({ "format": "password", "maxLength": 128 }),
        "url" | "thumbnail_url" | "action_url" | "images" => json!({ "format": "uri" }),
        "product_id" | "product_ids" | "variant_of" => json!({ "pattern": PRODUCT_ID, "example": "demo-000007" }),
        "order_id" => json!({ "pattern": HEX_ID, "example": "b60817f7dca5c2961aa3865d07460622" }),
        "user_id" | "seller_id" => json!({ "pattern": HEX_ID, "example": "5f0c7c2a9d3e4b1f8a6e0d2c4b7a9e13" }),
        "number" => json!({ "pattern": ORDER_NUMBER }),
        "phone" => json!({ "example": "+91 20 5550 1234" }),
        _ => return None,
    })
}

/// States which members exclude each other: what the handlers check beside the schema.
fn rule_out(name: &str, schema: &mut Value) {
    let given = |member: &str| json!({ "required": [member], "properties": { member: { "not": { "type": "null" } } } });
    let both = |one: Value, two: Value| json!({ "allOf": [one, two] });
    let excluded = match name {
        "Addition" => vec![
            both(given("items"), given("product_id")),
            both(given("items"), given("quantity")),
            json!({ "not": { "anyOf": [given("items"), given("product_id")] } }),
        ],
        "Checkout" => vec![both(given("items"), given("product_ids"))],
        "ProductFields" => {
            let some = |member: &str| {
                let filled = json!({ "minItems": 1, "not": { "type": "null" } });
                json!({ "required": [member], "properties": { member: filled } })
            };
            let is_shown = json!({ "anyOf": [given("thumbnail_url"), some("images"), some("pictures")] });
            vec![both(given("thumbnail_alt"), json!({ "not": is_shown })), both(some("variants"), given("variant_of"))]
        }
        "ResolutionBody" => {
            let is =
                |member: &str, word: &str| json!({ "required": [member], "properties": { member: { "const": word } } });
            vec![
                both(given("outcome"), json!({ "not": is("action", "settled") })),
                both(given("reference"), json!({ "not": is("outcome", "captured") })),
                both(is("outcome", "captured"), json!({ "not": given("reference") })),
            ]
        }
        _ => return,
    };
    schema["not"] = match <[Value; 1]>::try_from(excluded) {
        Ok([only]) => only,
        Err(several) => json!({ "anyOf": several }),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_the_form_of_their_names() {
        let mut schemas = json!({
            "Body": { "properties": {
                "placed_at": { "type": "string" },
                "currency": { "type": "string", "description": "ISO 4217 code." },
                "product_ids": { "type": "array", "items": { "type": "string" } },
                "price": { "oneOf": [{ "$ref": "#/m", "description": "Null if free." }, { "type": "null" }] },
            } },
            "Page_Body": { "properties": { "items": { "type": "array", "items": { "type": "object" } } } },
        });
        complete(schemas.as_object_mut().unwrap());
        let members = &schemas["Body"]["properties"];
        assert_eq!(members["placed_at"]["format"], "date-time");
        assert_eq!(
            members["currency"],
            json!({ "$ref": "#/components/schemas/Currency", "description": "ISO 4217 code." })
        );
        assert_eq!(members["product_ids"]["items"]["pattern"], PRODUCT_ID);
        assert_eq!(members["price"]["description"], "Null if free.");
        assert_eq!(schemas["Page_Body"]["properties"]["items"]["items"], named("Body"));
    }

    #[test]
    fn currencies_are_those_in_use() {
        assert!(CURRENCIES.iter().any(|code| code == "INR") && !CURRENCIES.iter().any(|code| code == "XAU"));
        assert!((100..200).contains(&CURRENCIES.len()), "{}", CURRENCIES.len());
    }
}
