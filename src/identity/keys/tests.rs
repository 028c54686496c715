//! Keys are made once, refused where they are not what was written, and never shown. Depends on `keys`.

use super::*;

/// The store of the shop whose keys these are.
const STORE: u64 = 7;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn fingerprint(keys: &Keys) -> u128 {
    keys.hash_u128(Purpose::Fingerprint, &[])
}

#[test]
fn the_first_start_generates_keys_and_the_second_reads_them() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("deep/identity");
    let first = Keys::open(&directory, STORE).unwrap();
    let second = Keys::open(&directory, STORE).unwrap();
    assert_eq!(first.kid(), second.kid());
    assert_eq!(fingerprint(&first), fingerprint(&second));
    assert_eq!(mode_of(&directory), 0o700);
    let names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), 2, "no drafts stay behind: {names:?}");
    assert!(names.iter().all(|path| mode_of(path) == 0o600));

    let other = Keys::open(&data.path().join("other"), STORE).unwrap();
    assert_ne!(first.kid(), other.kid());
    assert_ne!(fingerprint(&first), fingerprint(&other));
}

#[test]
fn concurrent_starts_generate_one_set_of_keys() {
    let data = tempfile::tempdir().unwrap();
    let open = || Keys::open(&data.path().join("identity"), STORE).unwrap().kid().to_owned();
    let kids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(kids.iter().all(|kid| kid == &kids[0]));
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("identity");
    Keys::open(&directory, STORE).unwrap();
    for (path, mode) in [("secret.key", 0o640), ("signing.key", 0o604), ("signing.key", 0o622), ("", 0o755)] {
        let path = directory.join(path);
        let before = mode_of(&path);
        set_mode(&path, mode);
        match Keys::open(&directory, STORE) {
            Err(KeyError::OpenToOthers { mode: found, .. }) => assert_eq!(found, mode),
            other => panic!("{}: {other:?}", path.display()),
        }
        set_mode(&path, before);
    }
    Keys::open(&directory, STORE).unwrap();
}

#[test]
fn a_damaged_key_is_refused_and_left_alone() {
    let data = tempfile::tempdir().unwrap();
    Keys::open(data.path().join("identity").as_path(), STORE).unwrap();
    for name in ["secret.key", "signing.key"] {
        let path = data.path().join("identity").join(name);
        let good = fs::read(&path).unwrap();
        let other_file = fs::read(path.with_file_name("secret.key")).unwrap();
        let mut damages: Vec<Vec<u8>> = vec![Vec::new(), good[1..].to_vec(), good[..good.len() - 1].to_vec()];
        damages.push([&good[..], b"\n"].concat());
        damages.push(vec![0; 10_000]);
        for index in 0..good.len() {
            let mut flipped = good.clone();
            flipped[index] ^= 1;
            damages.push(flipped);
        }
        if name == "signing.key" {
            damages.push(other_file);
        }
        for damage in damages {
            fs::write(&path, &damage).unwrap();
            let opened = Keys::open(&data.path().join("identity"), STORE);
            assert!(matches!(opened, Err(KeyError::Damaged { .. })), "{name}: {opened:?}");
            assert_eq!(fs::read(&path).unwrap(), damage, "a damaged key is evidence");
        }
        fs::write(&path, &good).unwrap();
    }
    Keys::open(&data.path().join("identity"), STORE).unwrap();
}

#[test]
fn only_a_missing_signing_key_is_replaced() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("identity");
    let first = Keys::open(&directory, STORE).unwrap();
    fs::remove_file(directory.join("signing.key")).unwrap();
    let second = Keys::open(&directory, STORE).unwrap();
    assert_eq!(fingerprint(&first), fingerprint(&second));
    assert_ne!(first.kid(), second.kid());
    fs::remove_file(directory.join("secret.key")).unwrap();
    assert!(matches!(Keys::open(&directory, STORE), Err(KeyError::SecretMissing { .. })));
}

#[test]
fn a_key_of_another_shop_is_refused_with_its_remedy() {
    let data = tempfile::tempdir().unwrap();
    let (ours, other) = (data.path().join("ours"), data.path().join("other"));
    for directory in [&ours, &other] {
        Keys::open(directory, STORE).unwrap();
        Keys::rotate(directory).unwrap();
    }
    let stores = Keys::open(&ours, STORE + 1).unwrap_err();
    assert!(matches!(stores, KeyError::OtherShop { .. }), "{stores}");
    assert!(stores.to_string().contains("secret.key") && stores.to_string().contains("restore it"), "{stores}");
    for name in ["signing.key", "previous.key"] {
        let good = fs::read(ours.join(name)).unwrap();
        fs::copy(other.join(name), ours.join(name)).unwrap();
        let refused = Keys::open(&ours, STORE).unwrap_err();
        assert!(matches!(refused, KeyError::OtherShop { .. }), "{refused}");
        assert!(refused.to_string().contains(name) && refused.to_string().contains("delete it"), "{refused}");
        fs::write(ours.join(name), good).unwrap();
    }
    fs::copy(other.join("signing.key"), ours.join("signing.key")).unwrap();
    assert!(matches!(Keys::rotate(&ours), Err(KeyError::OtherShop { .. })), "it would become the previous key");
}

#[test]
fn the_fingerprint_is_that_of_the_secret_alone() {
    let data = tempfile::tempdir().unwrap();
    let (ours, other) = (data.path().join("ours"), data.path().join("other"));
    let of = |directory: &Path| super::fingerprint(directory).unwrap();
    assert_eq!(of(&ours), None);
    assert_eq!(of(&ours), None, "asking makes nothing");
    let keys = [&ours, &other].map(|directory| Keys::open(directory, STORE).unwrap());
    assert_eq!(of(&ours), Some(fingerprint(&keys[0])));
    assert_ne!(of(&ours), of(&other));
    fs::copy(other.join("secret.key"), ours.join("secret.key")).unwrap();
    assert_eq!(of(&ours), of(&other));
}

#[test]
fn a_link_is_not_followed() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("identity");
    Keys::open(&directory, STORE).unwrap();
    let elsewhere = data.path().join("elsewhere");
    fs::rename(directory.join("secret.key"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, directory.join("secret.key")).unwrap();
    assert!(matches!(Keys::open(&directory, STORE), Err(KeyError::Io { doing: "read", .. })));
}

#[test]
fn an_unfinished_file_of_a_crash_is_replaced() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("identity");
    DirBuilder::new().mode(0o700).create(&directory).unwrap();
    fs::write(directory.join("secret.new"), b"half").unwrap();
    Keys::open(&directory, STORE).unwrap();
    assert!(!directory.join("secret.new").exists());
}

#[test]
fn the_published_keys_are_public_and_named_by_their_thumbprints() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("identity");
    let first = Keys::open(&directory, STORE).unwrap();
    Keys::rotate(&directory).unwrap();
    let second = Keys::open(&directory, STORE).unwrap();
    let jwks = second.jwks();
    let kids: Vec<_> = jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(kids, [second.kid(), first.kid()]);
    assert_ne!(first.kid(), second.kid());
    let parsed: jsonwebtoken::jwk::JwkSet = serde_json::from_value(jwks.clone()).unwrap();
    for jwk in &parsed.keys {
        let thumbprint = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
        assert_eq!(jwk.common.key_id.as_deref(), Some(thumbprint.as_str()));
    }
    for private in ["\"d\"", "\"k\""] {
        assert!(!jwks.to_string().contains(private));
    }
}

#[test]
fn hashes_with_other_purposes_or_parts_differ() {
    let data = tempfile::tempdir().unwrap();
    let keys = Keys::open(&data.path().join("identity"), STORE).unwrap();
    let named = Purpose::Named;
    let hashes = [
        keys.hash_u128(named("a"), &[b"bc"]),
        keys.hash_u128(named("ab"), &[b"c"]),
        keys.hash_u128(named("a"), &[b"b", b"c"]),
        keys.hash_u128(named("a"), &[b"bc", b""]),
        keys.hash_u128(named("account id"), &[b"bc"]),
        keys.hash_u128(Purpose::AccountId, &[b"bc"]),
        keys.hash_u128(Purpose::RefreshToken, &[b"bc"]),
    ];
    let distinct: std::collections::HashSet<_> = hashes.iter().collect();
    assert_eq!(distinct.len(), hashes.len());
    assert_eq!(keys.hash_u128(named("a"), &[b"bc"]), hashes[0]);
}

#[test]
fn keys_are_not_in_debug_output() {
    let data = tempfile::tempdir().unwrap();
    let keys = Keys::open(&data.path().join("identity"), STORE).unwrap();
    assert_eq!(format!("{keys:?}"), format!("Keys {{ kid: {:?}, .. }}", keys.kid()));
}
