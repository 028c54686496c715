//! A copy of a journal in another directory, taken while the journal runs: a new base and the log after it, up to what was
//! durable when the base was complete. The copy is a journal's directory like any other; its first start builds the state.
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

use super::compactor::{Hold, rest};
use crate::storage::{
    errors::Fault,
    files::{Files, RealFiles},
    manifest::{Known, Manifest},
    record::Position,
    segment,
    shared::Shared,
};

/// How much is copied at once, in bytes; then the syncs of the log get their turn.
const SLICE_BYTES: usize = 1 << 20;
/// What is copied is customers' data: for its owner only.
const MODE_DIRECTORY: u32 = 0o700;
const MODE_FILE: u32 = 0o600;

/// How far a copy has come, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyProgress {
    /// Copied so far.
    pub done: u64,
    /// To be copied in all.
    pub total: u64,
}

/// A complete copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalCopy {
    /// Everything durable up to here is in it, and nothing after it.
    pub position: Position,
    /// Its files, relative to its directory.
    pub files: Vec<PathBuf>,
    /// How many bytes they have.
    pub bytes: u64,
}

/// One file to be copied.
struct Part {
    name: PathBuf,
    from: PathBuf,
    /// What is copied; the rest of `length` becomes zeros.
    bytes: u64,
    length: u64,
}

/// Copies the journal into `to`, which must not exist. Blocks, and takes as long as it pauses for the shop.
pub(in crate::storage) fn copy(
    shared: &Arc<Shared>,
    to: &Path,
    progress: &mut dyn FnMut(CopyProgress),
) -> Result<JournalCopy, Fault> {
    // From here on nothing is removed, so what the base needs of the log is there when its turn comes.
    let _hold = Hold::new(shared);
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
        let directory = |path: &Path| DirBuilder::new().mode(MODE_DIRECTORY).create(path);
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
    let known = Known { store: shared.store, position, checkpoint: base.link.end, segment: newest };
    let manifest = Manifest::new(Arc::new(RealFiles), to.to_owned(), known);
    manifest.update(|_| {})?;
    let files = parts.into_iter().map(|part| part.name).chain([Manifest::file_name().into()]).collect();
    Ok(JournalCopy { position, files, bytes: made.total })
}

fn copy_file(shared: &Shared, part: &Part, to: &Path, copied: &mut dyn FnMut(u64)) -> io::Result<()> {
    let mut source = File::open(&part.from)?.take(part.bytes);
    let mut target = OpenOptions::new().write(true).create_new(true).mode(MODE_FILE).open(to)?;
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
