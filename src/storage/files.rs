//! The calls that the log makes on the file system, as a trait, so that tests can record them or let them fail.
//!
//! Depends on `config`, `std` and `rustix`.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
    thread,
    time::{Instant, SystemTime},
};

pub(super) use crate::config::layout::{DIRECTORY_MODE, FILE_MODE};

/// The file system calls that the log and the manifest need.
pub trait Files: fmt::Debug + Send + Sync {
    /// Creates a file that must not exist.
    ///
    /// # Errors
    /// The call failed.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a file to read and write.
    ///
    /// # Errors
    /// The call failed.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Creates a directory and those above it, where they do not exist.
    ///
    /// # Errors
    /// The call failed.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames a file, replacing any file of the new name.
    ///
    /// # Errors
    /// The call failed.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The call failed.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in a directory durable.
    ///
    /// # Errors
    /// The call failed.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, in any order; empty if there is no such directory.
    ///
    /// # Errors
    /// The call failed.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// When a file was last written to.
    ///
    /// # Errors
    /// The call failed.
    fn modified(&self, path: &Path) -> io::Result<SystemTime>;

    /// The free space under this directory, in bytes.
    ///
    /// # Errors
    /// The call failed.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// A file of [`Files`].
pub trait File: fmt::Debug + Send + Sync {
    /// Extends the file to this length and allocates its blocks, piece by piece; calls `between` after each piece.
    ///
    /// # Errors
    /// The call failed, for instance because the disk is full.
    fn preallocate(&self, bytes: u64, between: &mut dyn FnMut()) -> io::Result<()>;

    /// Writes all of it.
    ///
    /// # Errors
    /// The call failed.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads until the buffer is full or the file ends, and says how much.
    ///
    /// # Errors
    /// The call failed.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Makes everything written durable, including the length of the file.
    ///
    /// # Errors
    /// The call failed. The state of earlier writes is then unknown, and a later call that succeeds proves nothing.
    fn sync_data(&self) -> io::Result<()>;

    /// The length of the file in bytes.
    ///
    /// # Errors
    /// The call failed.
    fn length(&self) -> io::Result<u64>;
}

/// The operating system's files.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealFiles;

#[derive(Debug)]
struct RealFile(fs::File);

impl Files for RealFiles {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        fs::metadata(path)?.modified()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let space = rustix::fs::statvfs(path)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

/// Reads until the buffer is full or the file ends, and says how much.
pub(super) fn read_fully(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(bytes) => read += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// How many zeros are written in one call, in bytes: some milliseconds of a common disk.
const ZEROS_BYTES: usize = 512 * 1024;

impl File for RealFile {
    fn preallocate(&self, bytes: u64, between: &mut dyn FnMut()) -> io::Result<()> {
        // Reserved extents alone are not enough: their first write changes metadata of the file system, and each sync
        // of the log would wait for that. Zeros written ahead turn it into an overwrite in place. They are written in
        // pieces, with a pause as long as each took: all at once would keep the log from its disk for a tenth of a
        // second.
        rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
        let zeros = vec![0; ZEROS_BYTES];
        let mut offset = 0;
        while offset < bytes {
            let began = Instant::now();
            let length = usize::try_from(bytes - offset).unwrap_or(usize::MAX).min(ZEROS_BYTES);
            self.0.write_all_at(&zeros[..length], offset)?;
            self.0.sync_data()?;
            offset += length as u64;
            between();
            thread::sleep(began.elapsed());
        }
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        read_fully(&self.0, buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
