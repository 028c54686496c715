//! A disk in memory for the tests of this room: it records every call, so that any legal crash can be replayed, and it
//! fails on demand.
//!
//! A power cut keeps everything synced; of each later write any of its 512-byte sectors; and of each later creation,
//! rename and removal any, in any combination.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use parking_lot::Mutex;

use crate::storage::{
    files::{File, Files},
    journal::JournalConfig,
    limits::JournalLimits,
};

pub(in crate::storage) const SECTOR_BYTES: usize = 512;

/// A small random number generator with a seed, so that a failure can be reproduced.
#[derive(Debug, Clone)]
pub(in crate::storage) struct Random(pub u64);

impl Random {
    pub(in crate::storage) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(in crate::storage) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    pub(in crate::storage) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }
}

/// Limits so small that a short workload reaches all of them.
pub(in crate::storage) fn small_limits() -> JournalLimits {
    JournalLimits {
        queue_records_max: 64,
        batch_records_max: 16,
        batch_bytes_max: 12 * 1024,
        record_bytes_max: 12 * 1024,
        segment_bytes: 64 * 1024,
        memtable_bytes_max: 256 * 1024,
        checkpoint_ms: 3_600_000,
        slice_bytes_max: 8 * 1024,
        state_cache_bytes: 4 * 1024 * 1024,
        disk_free_bytes_min: 0,
        disk_poll_ms: 2,
        seal_after_ms: 2,
        base_work_percent: 100,
        log_keep_bytes: 0,
        ..JournalLimits::default()
    }
}

/// A journal's configuration on this disk, with its state in a real directory.
pub(in crate::storage) fn config(dir: &Path, disk: &Disk) -> JournalConfig {
    JournalConfig { limits: small_limits(), files: Arc::new(disk.clone()), ..JournalConfig::new(dir) }
}

/// A call that was made on the disk.
#[derive(Debug, Clone)]
pub(in crate::storage) enum Call {
    Create {
        path: PathBuf,
        inode: usize,
    },
    Write {
        inode: usize,
        offset: usize,
        bytes: Vec<u8>,
    },
    Length {
        inode: usize,
        bytes: usize,
    },
    Sync {
        inode: usize,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    SyncDir {
        path: PathBuf,
    },
    /// A marker of the test among the calls.
    Note(usize),
}

/// The content of a disk: names, and the inodes that they refer to.
#[derive(Debug, Clone, Default)]
pub(in crate::storage) struct Image {
    pub names: BTreeMap<PathBuf, usize>,
    pub contents: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Inner {
    image: Image,
    calls: Vec<Call>,
    /// The number of calls so far that could have failed.
    fallible: u64,
    /// The call that fails, and how.
    fails: Option<(u64, io::ErrorKind)>,
    broken: bool,
    full: bool,
    ignores_syncs: bool,
    free_bytes: Option<u64>,
}

/// The disk. Clones are the same disk. Paths are stored relative to `root`, so that an image can be mounted elsewhere.
#[derive(Debug, Clone)]
pub(in crate::storage) struct Disk {
    root: PathBuf,
    inner: Arc<Mutex<Inner>>,
}

impl Disk {
    pub(in crate::storage) fn new(root: &Path, image: Image) -> Self {
        Self { root: root.to_owned(), inner: Arc::new(Mutex::new(Inner { image, ..Inner::default() })) }
    }

    /// Records a note among the calls.
    /// From now on only the first sync of each file does anything, which is that of a segment's header; batches are not
    /// durable, although the disk says so.
    pub(in crate::storage) fn ignore_repeated_syncs(&self) {
        self.inner.lock().ignores_syncs = true;
    }

    pub(in crate::storage) fn note(&self, note: usize) {
        self.inner.lock().calls.push(Call::Note(note));
    }

    pub(in crate::storage) fn calls(&self) -> Vec<Call> {
        self.inner.lock().calls.clone()
    }

    pub(in crate::storage) fn calls_made(&self) -> usize {
        self.inner.lock().calls.len()
    }

    /// What a program sees that starts again without a power cut.
    pub(in crate::storage) fn image(&self) -> Image {
        self.inner.lock().image.clone()
    }

    /// Makes the n-th call from now on fail, once.
    pub(in crate::storage) fn fail(&self, nth: u64, kind: io::ErrorKind) {
        let mut inner = self.inner.lock();
        inner.fails = Some((inner.fallible + nth, kind));
    }

    /// Whether the planned failure has happened.
    pub(in crate::storage) fn has_failed(&self) -> bool {
        let inner = self.inner.lock();
        inner.fails.is_some_and(|(nth, _)| inner.fallible >= nth)
    }

    /// Makes every call fail from now on.
    pub(in crate::storage) fn set_broken(&self) {
        self.inner.lock().broken = true;
    }

    pub(in crate::storage) fn set_full(&self, full: bool) {
        self.inner.lock().full = full;
    }

    pub(in crate::storage) fn set_free_bytes(&self, free_bytes: u64) {
        self.inner.lock().free_bytes = Some(free_bytes);
    }

    fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap().to_owned()
    }

    fn handle(&self, inode: usize) -> Arc<dyn File> {
        Arc::new(Handle { inode, disk: self.clone() })
    }
}

impl Inner {
    fn may_fail(&mut self) -> io::Result<()> {
        self.fallible += 1;
        match self.fails {
            Some((nth, kind)) if nth == self.fallible => Err(kind.into()),
            _ if self.broken => Err(io::ErrorKind::Other.into()),
            _ => Ok(()),
        }
    }
}

impl Files for Disk {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut inner = self.inner.lock();
        inner.may_fail()?;
        let path = self.relative(path);
        assert!(!inner.image.names.contains_key(&path), "{path:?} exists");
        let inode = inner.image.contents.len();
        inner.image.contents.push(Vec::new());
        inner.image.names.insert(path.clone(), inode);
        inner.calls.push(Call::Create { path, inode });
        Ok(self.handle(inode))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut inner = self.inner.lock();
        let inode = inner.image.names.get(&self.relative(path)).copied();
        let inode = inode.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        inner.may_fail()?;
        Ok(self.handle(inode))
    }

    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        self.inner.lock().may_fail()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.may_fail()?;
        let (from, to) = (self.relative(from), self.relative(to));
        let inode = inner.image.names.remove(&from).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        inner.image.names.insert(to.clone(), inode);
        inner.calls.push(Call::Rename { from, to });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let path = self.relative(path);
        if !inner.image.names.contains_key(&path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.may_fail()?;
        inner.image.names.remove(&path);
        inner.calls.push(Call::Remove { path });
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.may_fail()?;
        let path = self.relative(path);
        inner.calls.push(Call::SyncDir { path });
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let path = self.relative(path);
        let mut inner = self.inner.lock();
        inner.may_fail()?;
        let names = inner.image.names.keys().filter(|name| name.parent() == Some(&path));
        Ok(names.map(|name| name.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn modified(&self, _path: &Path) -> io::Result<SystemTime> {
        self.inner.lock().may_fail()?;
        Ok(SystemTime::now())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.inner.lock().free_bytes.unwrap_or(u64::MAX))
    }
}

#[derive(Debug)]
struct Handle {
    inode: usize,
    disk: Disk,
}

impl File for Handle {
    fn preallocate(&self, bytes: u64, _: &mut dyn FnMut()) -> io::Result<()> {
        let mut inner = self.disk.inner.lock();
        inner.may_fail()?;
        if inner.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let bytes = usize::try_from(bytes).unwrap();
        inner.image.contents[self.inode].resize(bytes, 0);
        inner.calls.push(Call::Length { inode: self.inode, bytes });
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.disk.inner.lock();
        let outcome = inner.may_fail();
        // A write that fails may still have written a part.
        let bytes = if outcome.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        let offset = usize::try_from(offset).unwrap();
        write(&mut inner.image.contents[self.inode], offset, bytes);
        inner.calls.push(Call::Write { inode: self.inode, offset, bytes: bytes.to_vec() });
        outcome
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut inner = self.disk.inner.lock();
        inner.may_fail()?;
        let content = &inner.image.contents[self.inode];
        let from = usize::try_from(offset).unwrap().min(content.len());
        let read = buffer.len().min(content.len() - from);
        buffer[..read].copy_from_slice(&content[from..from + read]);
        Ok(read)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.disk.inner.lock();
        inner.may_fail()?;
        let is_repeated = inner.ignores_syncs
            && inner.calls.iter().any(|call| matches!(call, Call::Sync { inode } if *inode == self.inode));
        if !is_repeated {
            inner.calls.push(Call::Sync { inode: self.inode });
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.inner.lock().image.contents[self.inode].len() as u64)
    }
}

fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// What a disk certainly has after some calls, and what it may have.
#[derive(Debug, Default)]
pub(in crate::storage) struct Replay {
    certain: Image,
    /// Calls that no sync has covered: those on data by inode, and those on names.
    data: BTreeMap<usize, Vec<Call>>,
    names: Vec<Call>,
}

impl Replay {
    pub(in crate::storage) fn new(certain: Image) -> Self {
        Self { certain, ..Self::default() }
    }

    pub(in crate::storage) fn step(&mut self, call: &Call) {
        match call {
            Call::Create { inode, .. } => {
                self.certain.contents.resize(inode + 1, Vec::new());
                self.names.push(call.clone());
            }
            Call::Write { inode, .. } | Call::Length { inode, .. } => {
                self.data.entry(*inode).or_default().push(call.clone());
            }
            Call::Sync { inode } => {
                for call in self.data.remove(inode).unwrap_or_default() {
                    change_data(&mut self.certain.contents[*inode], &call, &mut |_| true);
                }
            }
            Call::Rename { .. } | Call::Remove { .. } => self.names.push(call.clone()),
            Call::SyncDir { path } => {
                let (synced, rest) =
                    self.names.drain(..).partition(|call| {
                        let (Call::Create { path: name, .. }
                        | Call::Remove { path: name }
                        | Call::Rename { to: name, .. }) = call
                        else {
                            return false;
                        };
                        name.parent() == Some(path)
                    });
                self.names = rest;
                let synced: Vec<Call> = synced;
                for call in synced {
                    change_names(&mut self.certain.names, &call);
                }
            }
            Call::Note(_) => {}
        }
    }

    /// One of the states in which a power cut may leave the disk now.
    pub(in crate::storage) fn crash(&self, random: &mut Random) -> Image {
        let mut image = self.certain.clone();
        let chance = [0, 10, 50, 90, 100][random.below(5)];
        for (inode, calls) in &self.data {
            for call in calls {
                let skips = matches!(call, Call::Length { .. }) && !random.percent(chance);
                if !skips {
                    change_data(&mut image.contents[*inode], call, &mut |_| random.percent(chance));
                }
            }
        }
        for call in &self.names {
            if random.percent(chance) {
                change_names(&mut image.names, call);
            }
        }
        image
    }
}

fn change_data(content: &mut Vec<u8>, call: &Call, keeps: &mut dyn FnMut(usize) -> bool) {
    match call {
        Call::Length { bytes, .. } => content.resize(*bytes, 0),
        Call::Write { offset, bytes, .. } => {
            for (sector, part) in bytes.chunks(SECTOR_BYTES).enumerate() {
                if keeps(sector) {
                    write(content, offset + sector * SECTOR_BYTES, part);
                }
            }
        }
        _ => {}
    }
}

fn change_names(names: &mut BTreeMap<PathBuf, usize>, call: &Call) {
    match call {
        Call::Create { path, inode } => {
            names.insert(path.clone(), *inode);
        }
        Call::Remove { path } => {
            names.remove(path);
        }
        Call::Rename { from, to } => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        _ => {}
    }
}

/// Copies a directory tree as a restarted program would see it.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else if let Err(error) = std::fs::copy(entry.path(), &target) {
            // sled removes some of its files while they are being copied.
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        }
    }
}
