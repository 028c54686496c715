//! The stored form of every event and snapshot, byte by byte: `tests/golden/` holds what releases have written to disks.
//!
//! Each line is a name, the version of its form, and its bytes in hexadecimal. A line is never changed. `SOUK_GOLDEN=add` adds
//! the lines that are missing. Depends on `records` and `domain`.

use std::{collections::BTreeMap, fmt::Write, path::PathBuf};

use super::specimens;
use crate::{
    actors::{
        lists::Stage,
        records::{self, EVENT_VERSION, decode_event, encode_event, encode_snapshot, snapshot_version},
    },
    domain::{
        account::Account,
        cart::Cart,
        entity::{Entity, Timestamp},
        inventory::Inventory,
        order::Order,
        product::Product,
        review::{Review, Written},
        reviews::Reviews,
        unmatched_notices::UnmatchedNotices,
    },
    storage::{
        Loaded, Snapshot,
        codec::{decode, encode},
    },
};

const WHAT_TO_DO: &str = "\
The stored form has changed: what is on the disks of running shops can no longer be read.\n\
Do not change the golden line. Fields and variants of stored types are never reordered, removed or inserted; a new variant\n\
goes to the end. Where a state itself has to change, raise its version in `src/actors/records.rs`, make its new form of the\n\
old one in `lift`, and add lines for the new version with SOUK_GOLDEN=add.";

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{file}.txt"))
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// The lines of a file: name and version, and bytes.
fn stored(file: &str) -> BTreeMap<String, Vec<u8>> {
    let text = std::fs::read_to_string(path(file)).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let parse = |line: &str| {
        let (name, bytes) = line.rsplit_once(' ').expect("a name, a version and bytes");
        (name.to_owned(), data_encoding::HEXLOWER.decode(bytes.as_bytes()).expect("hexadecimal digits"))
    };
    lines.map(parse).collect()
}

/// Holds what is written today, with the version of its form, against what was written.
fn compare(file: &str, today: &[(String, u16, Vec<u8>)]) {
    let golden = stored(file);
    let mut missing = String::new();
    for (name, version, bytes) in today {
        let name = format!("{name} v{version}");
        match golden.get(&name) {
            Some(known) => assert_eq!(hex(known), hex(bytes), "{file}: {name}\n{WHAT_TO_DO}"),
            None => writeln!(missing, "{name} {}", hex(bytes)).unwrap(),
        }
    }
    if !missing.is_empty() && std::env::var("SOUK_GOLDEN").as_deref() == Ok("add") {
        let before = std::fs::read_to_string(path(file)).unwrap_or_default();
        std::fs::write(path(file), before + &missing).unwrap();
    } else {
        assert!(missing.is_empty(), "{file}: not on record; run with SOUK_GOLDEN=add\n{missing}");
    }
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
        let bytes = encode_event::<E>(event);
        only_whole(EVENT_VERSION, &bytes, decode_event_of::<E>);
        today.push((format!("event {name}"), EVENT_VERSION, bytes));
    }
    for life in lives {
        let mut entity = E::default();
        for step in *life {
            let (_, event) = events.iter().find(|(name, _)| name == step).expect("an event of this name");
            entity.apply(event);
        }
        let bytes = encode_snapshot(&entity);
        only_whole(snapshot_version(E::KIND), &bytes, snapshot_of::<E>);
        let name = if life.is_empty() { "(never written)".to_owned() } else { life.join(",") };
        today.push((format!("snapshot {name}"), snapshot_version(E::KIND), bytes));
    }
    compare(file, &today);
    // Old lines, of whatever version, must be readable for ever, and mean the same: written again they are the same bytes.
    for (name, bytes) in stored(file) {
        let (name, version) = name.rsplit_once(" v").expect("a version");
        let version: u16 = version.parse().unwrap();
        let (newest, again) = if name.starts_with("event") {
            (EVENT_VERSION, decode_event_of::<E>(version, &bytes).map(|event| encode_event::<E>(&event)))
        } else {
            let again = snapshot_of::<E>(version, &bytes).map(|entity| encode_snapshot(&entity));
            (snapshot_version(E::KIND), again)
        };
        let again = again.unwrap_or_else(|| panic!("{file}: {name} can no longer be read\n{WHAT_TO_DO}"));
        if version == newest {
            assert_eq!(hex(&again), hex(&bytes), "{file}: {name}\n{WHAT_TO_DO}");
        }
    }
}

fn decode_event_of<E: Entity>(version: u16, bytes: &[u8]) -> Option<E::Event> {
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
        &[&held[..], &["processing", "payment_unknown", "voided_unheard", "come_right", "stray", "refund_of_stray"]]
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
            &["return_requested", "return_rejected", "refund_requested", "refund_failed", "refund_by_hand", "resolved"],
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
        &["registered", "session_started", "revoked_all", "role_granted_admin"],
        &["registered", "session_started", "password_changed"],
        &["registered", "erasure_begun"],
        &["registered", "erasure_begun", "erased"],
        &["registered", "erasure_begun", "erased", "nameless"],
    ];
    entity::<Account>("account", &specimens::account(), lives);
}

#[test]
fn each_review() {
    let lives: &[&[&str]] = &[&[], &["written"], &["written", "rewritten"], &["written", "erased"]];
    entity::<Review>("review", &specimens::review(), lives);
}

#[test]
fn reviews() {
    let lives: &[&[&str]] =
        &[&[], &["written"], &["written", "rewritten"], &["written", "rated"], &["rated", "forgotten"]];
    entity::<Reviews>("reviews", &specimens::reviews(), lives);
}

#[test]
fn unmatched_notices() {
    let lives: &[&[&str]] = &[&[], &["kept"], &["kept", "dismissed"], &["kept", "dismissed", "forgotten"]];
    entity::<UnmatchedNotices>("unmatched_notices", &specimens::unmatched_notices(), lives);
}

/// The state of an older release means the same in today's form.
#[test]
fn states_of_version_1_are_lifted() {
    fn lifted<E: Entity>(file: &str, name: &str) -> Vec<u8> {
        let bytes = &stored(file)[&format!("snapshot {name} v1")];
        encode_snapshot(&snapshot_of::<E>(1, bytes).expect("it can be lifted"))
    }
    fn today<E: Entity>(events: &[(&'static str, E::Event)], life: &[&str]) -> Vec<u8> {
        let mut entity = E::default();
        for step in life {
            entity.apply(&events.iter().find(|(name, _)| name == step).unwrap().1);
        }
        encode_snapshot(&entity)
    }
    let life = ["registered", "session_started", "rotated"];
    assert_eq!(lifted::<Account>("account", &life.join(",")), today::<Account>(&specimens::account(), &life));
    let life = ["added", "taken", "closed"];
    assert_eq!(lifted::<Cart>("cart", &life.join(",")), today::<Cart>(&specimens::cart(), &life));
    let life = ["written", "rewritten"];
    assert_eq!(lifted::<Reviews>("reviews", &life.join(",")), today::<Reviews>(&specimens::reviews(), &life));
}

/// The values of the lists are stored, too; they can be built again, but not by a shop that cannot read them.
#[test]
fn lists() {
    let [(_, crate::domain::review::Event::Written { written, .. }), ..] = specimens::review() else {
        panic!("the first specimen is a review that is written");
    };
    let stages =
        [Stage::Open, Stage::Paid, Stage::Confirmed, Stage::Packed, Stage::Shipped, Stage::Delivered, Stage::Ended];
    let mut today = vec![("review".to_owned(), 1, encode(written.as_ref()))];
    for stage in stages {
        today.push((format!("place {}", stage as u8), 1, encode(&(Timestamp(7), stage))));
    }
    compare("lists", &today);
    for (name, bytes) in stored("lists") {
        let readable = match name.starts_with("review") {
            true => decode::<Written>(&bytes).is_ok(),
            false => decode::<(Timestamp, Stage)>(&bytes).is_ok(),
        };
        assert!(readable, "{name}\n{WHAT_TO_DO}");
    }
}
