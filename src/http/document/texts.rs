//! The texts that requests may have, as patterns. The rules themselves are in `domain/text.rs`, which also takes what
//! no pattern can say: marks of direction that are closed.
//!
//! Depends on its neighbours and on `domain`.

use serde_json::{Map, Value, json};

use super::{member_of, named};
use crate::domain::{idempotency::KEY_CHARACTERS_MAX, product::TEXT_BYTES_MAX};

/// Control characters and marks of direction.
macro_rules! control {
    () => {
        r"\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069"
    };
}

/// The same without what breaks lines.
macro_rules! control_within_lines {
    () => {
        r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069"
    };
}

/// What shows nothing.
macro_rules! blank {
    () => {
        r"\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
    };
}

/// One line in which something can be seen.
const LINE: &str = concat!("^[^", control!(), "]*[^", control!(), blank!(), "][^", control!(), "]*$");
/// Lines in which something can be seen.
const LINES: &str = concat!(
    "^[^",
    control_within_lines!(),
    "]*[^",
    control_within_lines!(),
    blank!(),
    "][^",
    control_within_lines!(),
    "]*$"
);
/// One line, perhaps a blank one.
const ANY_LINE: &str = concat!("^[^", control!(), "]*$");
/// Lines, perhaps none.
const ANY_LINES: &str = concat!("^[^", control_within_lines!(), "]*$");
/// No control characters.
const PRINTABLE: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
/// The name and the domain of an e-mail address.
pub(super) const EMAIL: &str = "^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\
                                @([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\\.)+\
                                [A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$";
/// An absolute address of the web.
const WEB: &str = "^[Hh][Tt][Tt][Pp][Ss]?://([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\\.)*\
                   [A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?(:[0-9]{1,4})?([/?#][!#-;=?-\\[\\]_a-z~]*)?$";

/// A picture as sellers write it. A picture that is shown may have an address of another form.
const NEW_PICTURE: &str = "NewPicture";
/// Schemas of requests, their members, and the pattern of these.
const TEXTS: [(&str, &[&str], &str); 21] = [
    ("AccountPatch", &["name", "contact"], ANY_LINE),
    ("AddressBody", &["name", "line1", "city"], LINE),
    ("AddressBody", &["line2", "region", "postal_code", "phone"], ANY_LINE),
    ("Adjustment", &["adjustment_id"], PRINTABLE),
    ("DismissalBody", &["note"], LINE),
    (NEW_PICTURE, &["alt"], LINES),
    (NEW_PICTURE, &["url"], WEB),
    ("NewReview", &["title"], LINE),
    ("NewReview", &["text"], ANY_LINES),
    ("PasswordChange", &["new_password"], PRINTABLE),
    ("Payment", &["payment_method"], LINE),
    ("ProductFields", &["name", "thumbnail_alt"], LINES),
    ("ProductFields", &["description"], ANY_LINES),
    ("ProductFields", &["brand"], LINE),
    ("ProductFields", &["thumbnail_url"], WEB),
    ("Receipt", &["receipt_id"], PRINTABLE),
    ("Registration", &["name"], LINE),
    ("Registration", &["password"], PRINTABLE),
    ("ResolutionBody", &["note", "reference"], LINE),
    ("SellerFields", &["name"], LINE),
    ("Shipment", &["carrier", "tracking_number"], LINE),
];
/// The same of reasons and notes that others read.
const REASONS: [(&str, &str); 4] =
    [("RefundBody", "reason"), ("RefusalBody", "note"), ("RejectionBody", "note"), ("ReturnRequestBody", "reason")];

/// Adds the patterns to the schemas of requests.
pub(super) fn complete(schemas: &mut Map<String, Value>) {
    if let Some(picture) = schemas.get("PictureBody").cloned() {
        schemas.insert(NEW_PICTURE.to_owned(), picture);
    }
    let texts = TEXTS.iter().flat_map(|(schema, members, pattern)| {
        members.iter().map(move |member| (*schema, *member, json!({ "pattern": pattern })))
    });
    let reasons = REASONS.map(|(schema, member)| (schema, member, json!({ "pattern": LINE })));
    let text =
        |pattern: &str| json!({ "type": "string", "minLength": 1, "maxLength": TEXT_BYTES_MAX, "pattern": pattern });
    let pairs = || json!({ "propertyNames": text(LINE), "additionalProperties": text(LINES) });
    let others = [
        ("ProductFields", "category", json!({ "items": text(LINE) })),
        ("ProductFields", "images", json!({ "items": text(WEB) })),
        ("ProductFields", "pictures", json!({ "items": named(NEW_PICTURE) })),
        ("ProductFields", "attributes", pairs()),
        ("NewVariant", "options", pairs()),
        ("Adjustment", "adjustment_id", json!({ "minLength": 1, "maxLength": KEY_CHARACTERS_MAX })),
        ("Receipt", "receipt_id", json!({ "minLength": 1, "maxLength": KEY_CHARACTERS_MAX })),
    ];
    for (schema, member, rules) in texts.chain(reasons).chain(others) {
        if let Some(known) = member_of(schemas, schema, member).and_then(Value::as_object_mut) {
            known.extend(rules.as_object().cloned().unwrap_or_default());
        }
    }
}
