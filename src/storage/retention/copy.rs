//! A copy of a journal in another directory, taken while the journal runs: a new base and the log after it, up to what
//! was durable when the base was complete. The copy is a journal's directory like any other; its first start builds the
//! state.
//!
//! Depends on `base`, `compactor` and `shared`.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use super::compactor::{RetentionHold, rest};
use crate::{
    config::layout::{DIRECTORY_MODE, FILE_MODE},
    storage::{
        errors::Fault,
        files::{Files, RealFiles},
        manifest::{Known, Manifest},
        record::Position,
        segment,
        shared::Shared,
    },
};

/// How much is copied between two pauses, in bytes, so that the syncs of the log are not delayed.
const SLICE_BYTES: usize = 1 << 20;

/// The progress of a copy, in bytes.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyProgress {
    pub done: u64,
    /// The length of the whole copy.
    pub total: u64,
}

/// A complete copy.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalCopy {
    /// The copy holds everything durable up to this position, and nothing after it.
    pub position: Position,
    /// Its files, relative to its directory.
    pub files: Vec<PathBuf>,
    pub bytes: u64,
}

struct Part {
    name: PathBuf,
    from: PathBuf,
    /// How many bytes are copied; the rest of `length` is filled with zeros.
    bytes: u64,
    length: u64,
}

/// Copies the journal into `to`, which must not exist. Blocks, with pauses for the shop's own disk access.
pub(in crate::storage) fn copy(
    shared: &Arc<Shared>,
    to: &Path,
    progress: &mut dyn FnMut(CopyProgress),
) -> Result<JournalCopy, Fault> {
    // From here on nothing is removed, so every segment that the base needs is still there when it is copied.
    let _hold = RetentionHold::new(shared);
    shared.retention.requests.ask().blocking_recv().unwrap_or(Err(Fault::Closed))?;
    let base = shared.retention.newest().ok_or_else(|| Fault::State("there is no base after one was taken".into()))?;
    let position = shared.durable();
    let mut parts = vec![Part {
        name: Path::new("base").join(base.path.file_name().unwrap_or_default()),
        from: base.path.clone(),
        bytes: base.bytes,
        length: base.bytes,
    }];
    let mut newest = None;
    for (first, length) in shared.segments.between(base.link.end, position) {
        let name = segment::file_name(first);
        let bytes = length.min(position.0 - first);
        parts.push(Part { name: Path::new("log").join(&name), from: shared.log_dir.join(name), bytes, length });
        newest = Some(first);
    }
    let failed = || format!("copy to {}", to.display());
    let mut made = CopyProgress { done: 0, total: parts.iter().map(|part| part.bytes).sum() };
    let mut copied = || -> io::Result<()> {
        let directory = |path: &Path| DirBuilder::new().mode(DIRECTORY_MODE).create(path);
        directory(to)?;
        for name in ["base", "log"] {
            directory(&to.join(name))?;
        }
        for part in &parts {
            copy_file(shared, part, &to.join(&part.name), &mut |bytes| {
                made.done += bytes;
                progress(made);
            })?;
        }
        ["base", "log"].iter().try_for_each(|name| RealFiles.sync_dir(&to.join(name)))
    };
    copied().map_err(Fault::io(failed()))?;
    let (checkpoint, state_bytes) = (base.link.end, 0);
    let known = Known { store: shared.store, position, checkpoint, segment: newest, state_bytes };
    let manifest = Manifest::new(Arc::new(RealFiles), to.to_owned(), known);
    manifest.update(|_| {})?;
    let files = parts.into_iter().map(|part| part.name).chain([Manifest::file_name().into()]).collect();
    Ok(JournalCopy { position, files, bytes: made.total })
}

fn copy_file(shared: &Shared, part: &Part, to: &Path, copied: &mut dyn FnMut(u64)) -> io::Result<()> {
    let mut source = File::open(&part.from)?.take(part.bytes);
    let mut target = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(to)?;
    let mut slice = vec![0; SLICE_BYTES];
    loop {
        let began = Instant::now();
        let read = source.read(&mut slice)?;
        if read == 0 {
            break;
        }
        target.write_all(&slice[..read])?;
        copied(read as u64);
        std::thread::sleep(rest(began.elapsed(), &shared.limits));
    }
    if source.limit() > 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    target.set_len(part.length)?;
    target.sync_all()
}
