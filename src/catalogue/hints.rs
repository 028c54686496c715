//! What the author of a file most likely means by a column that the format does not have.
//!
//! Depends on `std` only.

/// Other names of our columns, and what to do about them.
const HINTS: &[(&[&str], &str)] = &[
    (
        &["price", "preis", "prix", "precio", "prezzo", "preço", "prijs", "cena", "cost", "amount", "regular price"],
        "a price is price_minor, in minor units (12.99 EUR is 1299), with its currency in currency",
    ),
    (
        &[
            "name",
            "titel",
            "titre",
            "título",
            "titulo",
            "titolo",
            "nombre",
            "nom",
            "product name",
            "item name",
            "product",
        ],
        "the name of a product is title",
    ),
    (&["bestand", "lager", "menge", "qty", "inventory", "on hand", "cantidad", "quantité"], "the stock is stock"),
    (&["gtin", "upc", "barcode", "isbn", "ean13", "ean-13"], "a barcode is ean"),
    (&["colour", "farbe", "couleur"], "a colour is color"),
    (&["größe", "taille", "talla", "grösse"], "a size is size"),
    (&["image", "images url", "picture", "photo", "bild", "image_link", "img"], "the main picture is image_url"),
    (&["beschreibung", "descripción", "body", "text", "desc"], "a description is description"),
    (
        &["kategorie", "catégorie", "categories", "product_type", "type"],
        "a category is category, such as Audio > Headphones",
    ),
    (&["marke", "marque", "vendor", "manufacturer", "hersteller"], "a brand is brand"),
    (
        &["product id", "product_id", "artikelnummer", "handle", "code", "reference", "item id"],
        "the id of a product is id",
    ),
    (&["parent", "parent_id", "parent sku", "item_group_id"], "the product of a variant is variant_of"),
];

/// What to do about a column, as the end of a sentence.
pub(super) fn of_column(name: &str) -> String {
    let lower = name.trim().to_lowercase();
    if lower.starts_with('#') {
        return "; the first line names the columns, so delete the lines above it".into();
    }
    let hint = HINTS.iter().find(|(names, _)| names.contains(&lower.as_str()));
    let hint =
        hint.map_or("docs/CATALOGUE.md lists them; an attribute of a product is attribute.NAME", |(_, hint)| hint);
    format!("; {hint}")
}
