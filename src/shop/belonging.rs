//! Whether the keys belong to the data: a data directory remembers whose secret its accounts were written with.
//!
//! Without this, a backup restored without its `identity/` would start with new keys, and every account would be out of reach.
//!
//! Depends on `std`.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Its name in the data directory.
pub(super) const FILE_NAME: &str = "souk.identity";

/// Whether keys and data belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belonging {
    /// They do, or the data is new.
    Together,
    /// The data was written with other keys.
    Apart,
}

/// Holds the keys' fingerprint against the data directory's; a directory without one takes it on, durably.
pub(super) fn check(data: &Path, fingerprint: u128) -> io::Result<Belonging> {
    let path = data.join(FILE_NAME);
    let text = format!("{fingerprint:032x}\n");
    match fs::read(&path) {
        Ok(known) if known == text.as_bytes() => return Ok(Belonging::Together),
        Ok(_) => return Ok(Belonging::Apart),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let draft = data.join(format!("{FILE_NAME}.new"));
    let mut file = File::create(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, &path)?;
    File::open(data)?.sync_all()?;
    Ok(Belonging::Together)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        shop::{OpenShopError, Shop},
    };

    #[tokio::test]
    async fn a_shop_whose_keys_were_lost_is_refused_and_comes_back_with_them() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Shop::open(Config { data_dir: directory.path().into(), ..Config::default() });
        open().await.unwrap().close().await.unwrap();
        let (keys, elsewhere) = (directory.path().join("identity"), directory.path().join("kept"));
        fs::rename(&keys, &elsewhere).unwrap();
        let refused = open().await.unwrap_err();
        assert!(matches!(refused, OpenShopError::OtherKeys { .. }));
        assert!(
            refused.to_string().contains("/identity") && refused.to_string().contains("/souk.identity"),
            "{refused}"
        );
        fs::remove_dir_all(&keys).unwrap();
        fs::rename(&elsewhere, &keys).unwrap();
        open().await.unwrap().close().await.unwrap();
    }
}
