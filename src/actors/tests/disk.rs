//! A disk that can be full, be held, or break, so that calls fail as in a power failure.
//!
//! Depends on `storage`.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::SystemTime,
};

use parking_lot::{Condvar, Mutex};

use crate::storage::{File, Files, RealFiles};

#[derive(Debug)]
pub(crate) struct Disk(Arc<Controls>);

#[derive(Debug)]
struct Controls {
    broken: AtomicBool,
    free_bytes: AtomicU64,
    /// How many more calls succeed before the disk breaks.
    calls_left: AtomicU64,
    held: Mutex<bool>,
    let_go: Condvar,
}

impl Disk {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Arc::new(Controls {
            broken: AtomicBool::new(false),
            free_bytes: AtomicU64::new(u64::MAX),
            calls_left: AtomicU64::new(u64::MAX),
            held: Mutex::new(false),
            let_go: Condvar::new(),
        })))
    }

    /// Every write and sync fails from now on.
    pub(crate) fn break_down(&self) {
        self.0.broken.store(true, Ordering::SeqCst);
        self.let_go();
    }

    /// Breaks after this many more writes and syncs.
    pub(crate) fn break_down_after(&self, calls: u64) {
        self.0.calls_left.store(calls, Ordering::SeqCst);
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.0.broken.load(Ordering::SeqCst)
    }

    /// Makes syncs wait from now on.
    pub(crate) fn hold(&self) {
        *self.0.held.lock() = true;
    }

    /// Releases the syncs.
    pub(crate) fn let_go(&self) {
        *self.0.held.lock() = false;
        self.0.let_go.notify_all();
    }

    pub(crate) fn set_free_bytes(&self, free_bytes: u64) {
        self.0.free_bytes.store(free_bytes, Ordering::SeqCst);
    }
}

impl Controls {
    /// Counts a write or a sync.
    fn call(&self) -> io::Result<()> {
        let left = self.calls_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            self.broken.store(true, Ordering::SeqCst);
        }
        self.check()
    }

    fn check(&self) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) { Err(io::Error::other("the disk is broken")) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct HeldFile {
    file: Arc<dyn File>,
    controls: Arc<Controls>,
}

impl Disk {
    fn wrap(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(HeldFile { file, controls: Arc::clone(&self.0) })
    }
}

impl Files for Disk {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.0.check()?;
        Ok(self.wrap(RealFiles.create_new(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(RealFiles.open(path)?))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealFiles.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.check()?;
        RealFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.check()?;
        RealFiles.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.check()?;
        RealFiles.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealFiles.list(path)
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        RealFiles.modified(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        Ok(RealFiles.free_bytes(path)?.min(self.0.free_bytes.load(Ordering::SeqCst)))
    }
}

impl File for HeldFile {
    fn preallocate(&self, bytes: u64, between: &mut dyn FnMut()) -> io::Result<()> {
        self.controls.check()?;
        self.file.preallocate(bytes, between)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.controls.call()?;
        self.file.write_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut held = self.controls.held.lock();
        while *held {
            self.controls.let_go.wait(&mut held);
        }
        drop(held);
        self.controls.call()?;
        self.file.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}
