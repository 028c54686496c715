//! The identity of a data directory's parts, so that a missing or foreign part is never taken for a shop.
//!
//! `souk.identity` names the journal's store and the fingerprint of the keys that accounts were written with, and is
//! compared at each start. Without it, a directory whose journal is not mounted would start as an empty shop, and one
//! with a journal or keys from elsewhere would start with accounts that nobody can log in to.
//!
//! Depends on `storage`, and on `provider` for its ledger's name.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::provider::LEDGER;
use crate::storage::{Journal, Position};

/// The name of the file in the data directory.
pub(super) const FILE_NAME: &str = "souk.identity";
/// Files that a shop writes only after its journal: without a journal they prove that it was lost.
const PROOFS: [&str; 4] = [FILE_NAME, SECRET, "search/meta.json", LEDGER];
/// The secret from which accounts' ids are derived.
const SECRET: &str = "identity/secret.key";

/// The result of comparing the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// The directory had no `souk.identity` yet; it now names these parts.
    New,
    /// Journal and keys are those that the directory names.
    Same,
    /// The journal is another shop's.
    OtherJournal,
    /// The keys are another shop's.
    OtherKeys,
    /// The file is damaged.
    Damaged,
}

/// A file that proves that there was a shop, although its journal is missing or empty.
pub(super) fn shop_without_journal(data: &Path) -> Option<PathBuf> {
    if Journal::is_present(&data.join("journal")) {
        return None;
    }
    PROOFS.iter().map(|proof| data.join(proof)).find(|proof| proof.exists())
}

/// Whether there are no keys beside a journal with data. An interrupted first start leaves no keys, either, but its
/// journal is empty.
pub(super) fn keys_are_missing(data: &Path, journal: &Journal) -> bool {
    journal.durable() > Position::BEGINNING && !data.join(SECRET).exists()
}

/// Compares journal and keys with `souk.identity`, or writes it durably if it is missing.
pub(super) fn check(data: &Path, store: u64, fingerprint: u128) -> io::Result<Match> {
    let path = data.join(FILE_NAME);
    match fs::read(&path) {
        Ok(known) => return Ok(compare(&String::from_utf8_lossy(&known), store, fingerprint)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let draft = data.join(format!("{FILE_NAME}.new"));
    let mut file = File::create(&draft)?;
    file.write_all(text(store, fingerprint).as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, &path)?;
    File::open(data)?.sync_all()?;
    Ok(Match::New)
}

/// The text of the file. The checksum distinguishes a damaged file from that of another shop.
fn text(store: u64, fingerprint: u128) -> String {
    let names = format!("store {store:016x}\nkeys {fingerprint:032x}\n");
    let checksum = crc32c::crc32c(names.as_bytes());
    format!("{names}crc32c {checksum:08x}\n")
}

fn compare(known: &str, store: u64, fingerprint: u128) -> Match {
    match parse(known) {
        Some(names) if names == (store, fingerprint) => Match::Same,
        Some((other, _)) if other != store => Match::OtherJournal,
        Some(_) => Match::OtherKeys,
        None => Match::Damaged,
    }
}

/// Parses the file; `None` unless the text is exactly as it was written.
fn parse(known: &str) -> Option<(u64, u128)> {
    let mut lines = known.lines();
    let store = u64::from_str_radix(lines.next()?.strip_prefix("store ")?, 16).ok()?;
    let fingerprint = u128::from_str_radix(lines.next()?.strip_prefix("keys ")?, 16).ok()?;
    (known == text(store, fingerprint)).then_some((store, fingerprint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        domain::{account::Role, product},
        shop::{
            OpenShopError, SearchStatus, Shop,
            import::{Listing, SetStock, Terms},
        },
    };

    async fn open(data: &Path) -> Result<Shop, OpenShopError> {
        Shop::open(Config { data_dir: data.into(), ..Config::default() }).await
    }

    async fn two_shops() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let (ours, other) = (directory.path().join("ours"), directory.path().join("other"));
        for shop in [&ours, &other] {
            open(shop).await.unwrap().close().await.unwrap();
        }
        (directory, ours, other)
    }

    fn swap(part: &str, ours: &Path, other: &Path) {
        let kept = ours.with_extension("kept");
        fs::rename(ours.join(part), &kept).unwrap();
        fs::rename(other.join(part), ours.join(part)).unwrap();
        fs::rename(&kept, other.join(part)).unwrap();
    }

    #[tokio::test]
    async fn a_missing_or_empty_journal_is_refused_beside_files_of_a_shop() {
        let (_directory, ours, other) = two_shops().await;
        let kept = ours.join("journal.kept");
        fs::rename(ours.join("journal"), &kept).unwrap();
        for _ in 0..2 {
            let refused = open(&ours).await.unwrap_err();
            assert!(matches!(refused, OpenShopError::JournalMissing { .. }), "{refused}");
            assert!(
                refused.to_string().contains("ours/journal") && refused.to_string().contains("mounted"),
                "{refused}"
            );
            // A forgotten mount leaves an empty directory.
            fs::create_dir_all(ours.join("journal")).unwrap();
        }
        fs::remove_dir(ours.join("journal")).unwrap();
        for proof in [FILE_NAME, "identity", "search"] {
            let bare = ours.with_extension(proof);
            fs::create_dir(&bare).unwrap();
            fs::rename(other.join(proof), bare.join(proof)).unwrap();
            let refused = open(&bare).await.unwrap_err();
            assert!(matches!(refused, OpenShopError::JournalMissing { .. }), "{proof}: {refused}");
        }
        fs::rename(&kept, ours.join("journal")).unwrap();
        open(&ours).await.unwrap().close().await.unwrap();
    }

    #[tokio::test]
    async fn a_journal_or_keys_of_another_shop_are_refused() {
        let (_directory, ours, other) = two_shops().await;
        for part in ["journal", "identity"] {
            swap(part, &ours, &other);
            let refused = open(&ours).await.unwrap_err();
            let right = match part {
                "journal" => matches!(refused, OpenShopError::OtherJournal { .. }),
                _ => matches!(refused, OpenShopError::OtherKeys { .. }),
            };
            assert!(right && refused.to_string().contains(part), "{part}: {refused}");
            swap(part, &ours, &other);
            open(&ours).await.unwrap().close().await.unwrap();
        }
        fs::remove_dir_all(ours.join("identity")).unwrap();
        assert!(matches!(open(&ours).await.unwrap_err(), OpenShopError::OtherKeys { .. }));
    }

    #[tokio::test]
    async fn a_journal_with_data_is_refused_without_keys_even_without_an_identity_file() {
        let (_directory, ours, _) = two_shops().await;
        let lose_keys = || {
            fs::remove_dir_all(ours.join("identity")).unwrap();
            fs::remove_file(ours.join(FILE_NAME)).unwrap();
        };
        // Nobody has an account yet: this is an interrupted first start.
        lose_keys();
        let shop = open(&ours).await.unwrap();
        shop.ensure_account("asha@example.com", "correct horse battery".into(), Role::Customer).await.unwrap();
        shop.close().await.unwrap();
        lose_keys();
        for _ in 0..2 {
            assert!(matches!(open(&ours).await.unwrap_err(), OpenShopError::OtherKeys { .. }));
        }
    }

    #[test]
    fn a_changed_byte_is_reported_as_damage_not_as_another_shop() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(FILE_NAME);
        let (store, keys) = (0x0123_4567_89ab_cdef, 0xfeed);
        assert_eq!(check(data.path(), store, keys).unwrap(), Match::New);
        assert_eq!(check(data.path(), store, keys).unwrap(), Match::Same);
        assert_eq!(check(data.path(), store + 1, keys).unwrap(), Match::OtherJournal);
        assert_eq!(check(data.path(), store, keys + 1).unwrap(), Match::OtherKeys);
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[place] ^= 1 << bit;
                fs::write(&path, &changed).unwrap();
                assert_eq!(check(data.path(), store, keys).unwrap(), Match::Damaged, "byte {place}, bit {bit}");
            }
            fs::write(&path, &whole[..place]).unwrap();
            assert_eq!(check(data.path(), store, keys).unwrap(), Match::Damaged, "cut at {place}");
        }
    }

    #[tokio::test]
    async fn a_search_index_of_another_shop_or_age_is_moved_aside_and_rebuilt() {
        let (_directory, ours, other) = two_shops().await;
        let register = async |data: &Path, name: &str| {
            let shop = open(data).await.unwrap();
            let email = format!("{name}@example.com");
            let seller = shop.ensure_account(&email, "correct horse battery".into(), Role::Seller).await.unwrap();
            let details = product::Details { title: name.into(), ..product::Details::default() };
            let listing = Listing { id: name.parse().unwrap(), details, stock: None, keep_price: false };
            let editor = product::Editor::Seller(seller);
            let terms = Terms { by: editor, set_stock: SetStock::Once, dry_run: false };
            shop.import_products(terms, vec![listing]).await.map(drop).unwrap();
            shop.close().await.unwrap();
        };
        register(&ours, "asha").await;
        register(&other, "ravi").await;
        swap("search", &ours, &other);
        let aside = ours.join("search.damaged");
        let shop = open(&ours).await.unwrap();
        assert_eq!(shop.search_status(), SearchStatus::Rebuilding);
        assert!(aside.is_dir(), "it was moved aside");
        for _ in 0..1_000 {
            if shop.search_status() == SearchStatus::Ready {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(shop.search_status(), SearchStatus::Ready);
        shop.close().await.unwrap();
        fs::remove_dir_all(&aside).unwrap();
        open(&ours).await.unwrap().close().await.unwrap();
        assert!(!aside.exists(), "the rebuilt index is this shop's");
    }
}
