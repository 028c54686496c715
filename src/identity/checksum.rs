//! SHA-256 of files. It is in this room because this room alone uses the cryptographic library. Depends on aws-lc-rs.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;

/// How much of a file is read in one call, in bytes.
const SLICE_BYTES: usize = 1 << 20;

/// The length of a file in bytes and its SHA-256 in hexadecimal digits, as `sha256sum` prints it.
///
/// # Errors
/// The file cannot be read.
pub fn of_file(path: &Path) -> io::Result<(u64, String)> {
    let (mut file, mut context) = (File::open(path)?, Context::new(&SHA256));
    let (mut slice, mut bytes) = (vec![0; SLICE_BYTES], 0);
    loop {
        match file.read(&mut slice) {
            Ok(0) => return Ok((bytes, HEXLOWER.encode(context.finish().as_ref()))),
            Ok(read) => {
                bytes += read as u64;
                context.update(&slice[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
