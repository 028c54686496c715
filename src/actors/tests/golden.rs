//! The stored form of every event and snapshot, byte by byte, in `tests/golden/`.
//!
//! Each line is a name, the version of its form, and its bytes in hexadecimal. Nothing has been released yet, so a form
//! may change in a commit of its own: `SOUK_GOLDEN=write` writes the files again. The first release ends that; from
//! then on the lines of a released version stay, each version in a file of its own. Depends on `records` and `domain`.

use std::{fmt::Write, path::PathBuf};

use super::{account_specimens, specimens};
use crate::{
    actors::records::{
        self, EVENT_VERSION, Header, SNAPSHOT_VERSION, Stored, decode_event, encode_event, encode_snapshot,
    },
    domain::{
        account::Account,
        cart::Cart,
        entity::{Entity, Tag, Timestamp},
        idempotency::Executed,
        ids::RequestKey,
        inventory::Inventory,
        order::{Listing, Order, Stage},
        product::Product,
        ratings::Ratings,
        review::{Review, Written},
        seller::Seller,
        unmatched_notices::UnmatchedNotices,
    },
    storage::{
        Loaded, Snapshot,
        codec::{decode, encode},
    },
};

const WHAT_TO_DO: &str = "\
The stored form has changed. If that is meant, run with SOUK_GOLDEN=write, commit the change of the form with its lines alone,
\
and say in the commit what changed and why.";

/// Stands before the events, whose tags in real streams depend on the events before them.
const HEADER: Header = Header { time: Timestamp(0x0102_0304_0506), tag: Tag(0xa5), request: None };

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{file}.txt"))
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// Compares what is written today, with the version of its form, with the lines of the file.
fn compare(file: &str, today: &[(String, u16, Vec<u8>)]) {
    let mut text = format!(
        "# Stored forms of `{file}`; src/actors/tests/golden.rs says when a line may change.
"
    );
    for (name, version, bytes) in today {
        writeln!(text, "{name} v{version} {}", hex(bytes)).unwrap();
    }
    if std::env::var("SOUK_GOLDEN").as_deref() == Ok("write") {
        return std::fs::write(path(file), text).unwrap();
    }
    let golden = std::fs::read_to_string(path(file)).unwrap_or_default();
    for (known, today) in golden.lines().zip(text.lines()) {
        assert_eq!(
            known, today,
            "{file}
{WHAT_TO_DO}"
        );
    }
    assert_eq!(
        golden.lines().count(),
        text.lines().count(),
        "{file}
{WHAT_TO_DO}"
    );
}

/// Whatever has been cut off or added is refused, and so is every version that is not known.
fn only_whole<T>(newest: u16, bytes: &[u8], read: impl Fn(u16, &[u8]) -> Option<T>) {
    assert!(read(newest, bytes).is_some());
    for end in 0..bytes.len() {
        assert!(read(newest, &bytes[..end]).is_none(), "cut off after {end} of {} bytes", bytes.len());
    }
    assert!(read(newest, &[bytes, &[0]].concat()).is_none(), "a byte too many");
    for version in [0, newest + 1, u16::MAX] {
        assert!(read(version, bytes).is_none(), "version {version}");
    }
}

fn snapshot_of<E: Entity>(version: u16, bytes: &[u8]) -> Option<E> {
    let snapshot = Snapshot { sequence: 1, version, bytes: bytes.to_vec().into() };
    records::replay(&Loaded { snapshot: Some(snapshot), records: Vec::new() }).ok().map(|replayed| replayed.entity)
}

fn entity<E: Entity>(file: &str, events: &[(&'static str, E::Event)], lives: &[&[&str]]) {
    let mut today = Vec::new();
    for (name, event) in events {
        let bytes = encode_event::<E>(HEADER, event);
        only_whole(EVENT_VERSION, &bytes, decode_event_of::<E>);
        let again =
            decode_event_of::<E>(EVENT_VERSION, &bytes).map(|stored| encode_event::<E>(stored.header, &stored.value));
        assert_eq!(again.as_ref(), Some(&bytes), "{file}: {name} means something else when it is read");
        today.push((format!("event {name}"), EVENT_VERSION, bytes));
    }
    for life in lives {
        let mut entity = E::default();
        for step in *life {
            let (_, event) = events.iter().find(|(name, _)| name == step).expect("an event of this name");
            entity.apply(event);
        }
        let bytes = encode_snapshot(HEADER.time, &entity, &Executed::default());
        only_whole(SNAPSHOT_VERSION, &bytes, snapshot_of::<E>);
        let again = snapshot_of::<E>(SNAPSHOT_VERSION, &bytes)
            .map(|entity| encode_snapshot(HEADER.time, &entity, &Executed::default()));
        assert_eq!(again.as_ref(), Some(&bytes), "{file}: {life:?} means something else when it is read");
        let name = if life.is_empty() { "(never written)".to_owned() } else { life.join(",") };
        today.push((format!("snapshot {name}"), SNAPSHOT_VERSION, bytes));
    }
    compare(file, &today);
}

fn decode_event_of<E: Entity>(version: u16, bytes: &[u8]) -> Option<Stored<E::Event>> {
    decode_event::<E>(version, bytes).ok()
}

#[test]
fn products() {
    entity::<Product>("product", &specimens::product(), &[&[], &["listed"], &["bare", "delisted"]]);
}

#[test]
fn inventories() {
    // One hold and one receipt at most: the maps of an inventory are stored in no particular order.
    let lives: &[&[&str]] = &[
        &[],
        &["opened", "adjusted", "reserved"],
        &["opened", "counted", "reserved", "released"],
        &["opened", "adjusted", "reserved", "fulfilled"],
    ];
    entity::<Inventory>("inventory", &specimens::inventory(), lives);
}

#[test]
fn carts() {
    let lives: &[&[&str]] = &[
        &[],
        &["added", "quantity_set", "removed"],
        &["added", "taken"],
        &["added", "taken", "returned"],
        &["added", "taken", "closed"],
        &["added", "erased"],
    ];
    entity::<Cart>("cart", &specimens::cart(), lives);
}

#[test]
fn orders() {
    let paid = ["placed", "cart_taken", "reserved", "payment_requested", "declined", "payment_requested", "captured"];
    let delivered = [&paid[..], &["fulfilled", "packed", "shipped", "delivered"]].concat();
    let held = ["placed", "cart_taken", "reserved", "authorisation_requested"];
    let lives: &[&[&str]] = &[
        &[],
        &["placed"],
        &["placed", "cart_taken", "refused"],
        &["placed", "cart_taken", "too_late", "ended"],
        &["placed", "cancelled", "ended"],
        &["placed", "expired", "ended"],
        &["placed", "cart_changed", "ended"],
        &["placed", "too_many_open_orders", "ended"],
        &["placed", "customer_erased", "ended"],
        &paid,
        &delivered[..8],
        &delivered[..9],
        &delivered,
        &[&delivered[..], &["erased"]].concat(),
        &[&held[..], &["authorised", "capture_requested", "captured_later", "fulfilled"]].concat(),
        &[&held[..], &["action_required", "notice_of_first", "nothing_new_of_first", "void_requested", "voided"]]
            .concat(),
        &[
            &held[..],
            &["processing", "payment_unknown", "voided_unheard", "resolved_by_itself", "stray", "refund_of_stray"],
        ]
        .concat(),
        &[
            &paid[..],
            &["fulfilled", "cancelled", "refund_of_cancelled", "refund_pending", "refunded", "restocked", "ended"],
        ]
        .concat(),
        &[
            &delivered[..],
            &["return_requested", "return_received", "notice_of_refund", "refunded", "nothing_new_of_refund"],
        ]
        .concat(),
        &[
            &delivered[..],
            &[
                "return_requested",
                "return_rejected",
                "refund_requested",
                "refund_failed",
                "refund_by_hand",
                "resolved_by_operator",
            ],
        ]
        .concat(),
        &[&delivered[..], &["amount_mismatch", "stuck", "differs", "disputed"]].concat(),
    ];
    entity::<Order>("order", &specimens::order(), lives);
}

#[test]
fn accounts() {
    let lives: &[&[&str]] = &[
        &[],
        &["registered", "session_started", "rotated"],
        &["nameless", "session_started", "reuse_detected"],
        &["registered", "session_started", "session_ended", "role_granted_seller"],
        &["registered", "session_started", "password_changed", "role_granted_admin"],
        &["registered", "session_started", "own_password_changed", "revised"],
        &["waiting", "approved", "refused"],
        &["registered", "erasure_begun"],
        &["registered", "erasure_begun", "erased"],
        &["registered", "erasure_begun", "erased", "nameless"],
    ];
    entity::<Account>("account", &account_specimens::account(), lives);
}

#[test]
fn each_review() {
    let lives: &[&[&str]] = &[&[], &["written"], &["written", "rewritten"], &["written", "erased"]];
    entity::<Review>("review", &specimens::review(), lives);
}

#[test]
fn ratings() {
    let lives: &[&[&str]] = &[&[], &["rated"], &["rated", "forgotten"]];
    entity::<Ratings>("reviews", &specimens::ratings(), lives);
}

#[test]
fn sellers() {
    entity::<Seller>("seller", &specimens::seller(), &[&[], &["named"], &["named", "erased"]]);
}

#[test]
fn unmatched_notices() {
    let lives: &[&[&str]] = &[
        &[],
        &["kept"],
        &["kept", "dismissed"],
        &["kept", "dismissed", "forgotten"],
        &["kept_to_look_up"],
        &["kept_to_look_up", "looked_up"],
    ];
    entity::<UnmatchedNotices>("unmatched_notices", &specimens::unmatched_notices(), lives);
}

/// The request with a key that an event executed stands in its header, and behind the state that it leads to.
#[test]
fn requests() {
    let request = RequestKey { key: 0x4444, fingerprint: 0x5555 };
    let header = Header { request: Some(request), ..HEADER };
    let mut executed = Executed::default();
    executed.add(request, HEADER.time, u64::MAX);
    let event = encode_event::<Account>(header, &crate::domain::account::Event::RequestNoted);
    assert_eq!(decode_event_of::<Account>(EVENT_VERSION, &event).map(|stored| stored.header), Some(header));
    let snapshot = encode_snapshot(HEADER.time, &Account::default(), &executed);
    let stored = Snapshot { sequence: 1, version: SNAPSHOT_VERSION, bytes: snapshot.clone().into() };
    let loaded = Loaded { snapshot: Some(stored), records: Vec::new() };
    assert_eq!(records::replay::<Account>(&loaded).unwrap().executed, executed);
    let today = [("event".to_owned(), EVENT_VERSION, event), ("snapshot".to_owned(), SNAPSHOT_VERSION, snapshot)];
    compare("requests", &today);
}

/// The values of the lists are stored, too. They can be built again, but not by a shop that cannot read them.
#[test]
fn lists() {
    let [(_, crate::domain::review::Event::Written { written, .. }), ..] = specimens::review() else {
        panic!("the first specimen is a review that is written");
    };
    let mut today = vec![("review".to_owned(), 1, encode(written.as_ref()))];
    for stage in Stage::ALL {
        let listing = Listing { stage, is_open: true, has_issues: false };
        today.push((format!("place {}", stage as u8), 3, encode(&(Timestamp(7), listing, 2_u32))));
    }
    for (name, _, bytes) in &today {
        let readable = match name.starts_with("review") {
            true => decode::<Written>(bytes).is_ok(),
            false => decode::<(Timestamp, Listing, u32)>(bytes).is_ok(),
        };
        assert!(readable, "{name}");
    }
    compare("lists", &today);
}
