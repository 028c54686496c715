//! The manifest: a small file outside the log and the state that names the store and how far its log was known to
//! reach. Because of it a start refuses an empty or shortened directory, which would otherwise look like a new shop.
//!
//! Text, so that an operator can read it. Depends on `files` and `errors`.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{
    errors::{Damage, Fault, OpenError},
    files::Files,
    record::Position,
};

const FILE_NAME: &str = "manifest";
const TITLE: &str = "souk store 1";
/// A manifest has about 150 bytes; a longer file is not a manifest.
const BYTES_MAX: usize = 1024;

/// The content of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Known {
    pub store: u64,
    /// A position up to which the log was durable.
    pub position: Position,
    /// The position of the last complete checkpoint.
    pub checkpoint: Position,
    /// The first position of the newest segment; `None` while there is no log.
    pub segment: Option<u64>,
    /// How long the state's file was at the last checkpoint, in bytes, or less where sled has cut it since; 0 between a
    /// start and its first checkpoint.
    ///
    /// sled takes what is missing at the end of its file for what it has cut off itself, and goes on with older pages.
    pub state_bytes: u64,
}

/// The manifest of a directory.
#[derive(Debug)]
pub(super) struct Manifest {
    files: Arc<dyn Files>,
    dir: PathBuf,
    known: Mutex<Known>,
}

impl Manifest {
    /// Reads the manifest of this directory; `None` if there is none.
    pub(super) fn read(files: &dyn Files, dir: &Path) -> Result<Option<Known>, OpenError> {
        let path = dir.join(FILE_NAME);
        let failed = || format!("read {}", path.display());
        let file = match files.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Fault::io(failed())(error).into()),
        };
        let mut bytes = [0; BYTES_MAX];
        let length = file.read_at(&mut bytes, 0).map_err(Fault::io(failed()))?;
        let what = || "the manifest is not what was written".into();
        let known = parse(&bytes[..length]).ok_or_else(|| Damage { file: path.clone(), offset: 0, what: what() })?;
        Ok(Some(known))
    }

    /// The name of the file in the directory.
    pub(super) fn file_name() -> &'static str {
        FILE_NAME
    }

    pub(super) fn new(files: Arc<dyn Files>, dir: PathBuf, known: Known) -> Self {
        Self { files, dir, known: Mutex::new(known) }
    }

    /// How long the state's file must be, in bytes.
    pub(super) fn state_bytes(&self) -> u64 {
        self.known.lock().state_bytes
    }

    /// Changes the manifest, atomically and durably.
    pub(super) fn update(&self, change: impl FnOnce(&mut Known)) -> Result<(), Fault> {
        let mut known = self.known.lock();
        let mut changed = *known;
        change(&mut changed);
        self.write(changed).map_err(Fault::io(format!("write {}", self.dir.join(FILE_NAME).display())))?;
        *known = changed;
        Ok(())
    }

    fn write(&self, known: Known) -> io::Result<()> {
        let unfinished = self.dir.join(format!("{FILE_NAME}.new"));
        match self.files.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.files.create_new(&unfinished)?;
        file.write_at(text(known).as_bytes(), 0)?;
        file.sync_data()?;
        self.files.rename(&unfinished, &self.dir.join(FILE_NAME))?;
        self.files.sync_dir(&self.dir)
    }
}

fn text(known: Known) -> String {
    let Known { store, position, checkpoint, segment, state_bytes } = known;
    let segment = segment.map_or_else(|| "none".into(), |segment| segment.to_string());
    let (position, checkpoint) = (position.0, checkpoint.0);
    let body = format!(
        "{TITLE}\nid {store:016x}\nposition {position}\ncheckpoint {checkpoint}\nsegment {segment}\nstate {state_bytes}\n"
    );
    format!("{body}crc {:08x}\n", crc32c::crc32c(body.as_bytes()))
}

fn parse(bytes: &[u8]) -> Option<Known> {
    let text_read = std::str::from_utf8(bytes).ok()?;
    let mut lines = text_read.lines();
    lines.next().filter(|title| *title == TITLE)?;
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    let known = Known {
        store: u64::from_str_radix(field("id")?, 16).ok()?,
        position: Position(field("position")?.parse().ok()?),
        checkpoint: Position(field("checkpoint")?.parse().ok()?),
        segment: match field("segment")? {
            "none" => None,
            first => Some(first.parse().ok()?),
        },
        state_bytes: field("state")?.parse().ok()?,
    };
    (text(known) == text_read).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_and_any_flipped_bit_is_noticed() {
        for segment in [None, Some(1 << 40)] {
            let known =
                Known { store: 0xabc, position: Position(9), checkpoint: Position(7), segment, state_bytes: 1 << 20 };
            let bytes = text(known).into_bytes();
            assert_eq!(parse(&bytes), Some(known));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(parse(&flipped), None);
            }
        }
    }
}
