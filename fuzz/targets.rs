//! What the fuzzers and `tests/it/fuzzed.rs` do with an input: one function for each parser that reads what a client, a
//! provider or a seller sends. A function returns, or it has found a fault.

use std::sync::LazyLock;

use souk::{
    domain::{address::Address, entity::Timestamp},
    internals::{
        catalogue::{
            read::{Format, Reader},
            row,
            write::Writer,
        },
        edge, identity, signature,
        stripe::{Stripe, StripeConfig},
    },
    payments::Gateway,
};

/// A name, which is that of a directory in `fuzz/seeds/`, and what is done with an input.
type Target = (&'static str, fn(&[u8]));

pub(crate) const TARGETS: [Target; 10] = [
    ("query", |input| text(input, edge::query)),
    ("cursor", |input| text(input, edge::cursor)),
    ("etag", edge::etag),
    ("idempotency_key", edge::idempotency_key),
    ("headers", edge::headers),
    ("body", edge::body),
    ("webhook", webhook),
    ("catalogue", catalogue),
    ("address", address),
    ("email", |input| text(input, email)),
];

/// Runs a target by its name.
///
/// # Panics
/// There is no such target, or it has found a fault.
pub(crate) fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.unwrap_or_else(|| panic!("there is no target {name}")).1(input);
}

fn text(input: &[u8], read: impl Fn(&str)) {
    if let Ok(text) = std::str::from_utf8(input) {
        read(text);
    }
}

/// A secret that the fuzzers know, so that they can sign.
const SECRET: &str = "whsec_fuzz";
const NOW: Timestamp = Timestamp(1_790_000_000_000);

static STRIPE: LazyLock<Stripe> = LazyLock::new(|| {
    let config = StripeConfig {
        name: "stripe",
        api_url: "http://127.0.0.1:1".to_owned(),
        key: "sk_test_fuzz".into(),
        webhook_secrets: vec![SECRET.into()],
        return_url: None,
        answer_ms_max: 1_000,
    };
    Stripe::new(config).expect("the configuration is good")
});

/// The input is a header and a body, with a line break between them; and then a body that is signed.
fn webhook(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (header, body) = input.split_at(end);
    if let Ok(header) = std::str::from_utf8(header) {
        assert!(STRIPE.notice(header, body, NOW).is_err(), "nobody signed it");
    }
    let _ = STRIPE.notice(&signature::sign(&SECRET.into(), input, NOW), input, NOW);
}

/// A file in each format. What is read of it can be written, and is read again as it was.
fn catalogue(input: &[u8]) {
    // Text in another encoding is decoded before.
    if std::str::from_utf8(input).is_err() {
        return;
    }
    for format in [Format::JsonLines, Format::Csv, Format::Xml] {
        let mut reader = Reader::new(input, format);
        for (line, read) in reader.by_ref() {
            assert!(line > 0, "lines are counted from 1");
            let Ok(entries) = read.map(|row| row.into_entries()) else { continue };
            for mut entry in entries {
                // A row names its variants by ids, and they are rows of their own.
                entry.details.variants.clear();
                let mut writer = Writer::new(Vec::new());
                writer.write(entry.clone()).expect("what was read fits into a row");
                let written = String::from_utf8(writer.finish().expect("memory has room")).expect("JSON is text");
                let again = row::parse(written.trim_end()).expect("what was written is read");
                assert_eq!(again, [entry], "{written}");
            }
        }
        drop(reader.take_warnings());
    }
}

/// An address as JSON. One that is good stays so without the blanks around its texts.
fn address(input: &[u8]) {
    let Ok(address) = serde_json::from_slice::<Address>(input) else { return };
    let faults = address.check().err().unwrap_or_default();
    assert!(faults.iter().all(|fault| !fault.to_string().is_empty()));
    let bare = address.without_blanks();
    if faults.is_empty() {
        assert_eq!(bare.check(), Ok(()), "{bare:?}");
    }
    assert_eq!(bare.clone().without_blanks(), bare);
}

/// The form to which an address is brought is its own form.
fn email(text: &str) {
    if let Ok(form) = identity::email::normalise(text) {
        assert_eq!(identity::email::normalise(&form).as_ref(), Ok(&form), "{text:?}");
    }
}
