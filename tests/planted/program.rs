//! The program with all bugs in it: a copy of the repository below the target directory, edited and built.
//!
//! It is built in the target directory of the tests, so dependencies are not built again, and under a name of its own,
//! so nothing takes it for the shop. Files that did not change are not written, so a second run builds only what
//! changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::bugs::{self, Bug};

/// The name of the program with bugs.
const NAME: &str = "souk-with-bugs";

/// What a build of the program needs.
const PARTS: [&str; 9] =
    [".cargo", "Cargo.lock", "Cargo.toml", "build.rs", "src", "tools", "benches", "examples", "tests"];

/// Builds the program.
pub(crate) fn build(bugs: &[Bug]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target directory");
    let copy = target.join("planted");
    let mut files = BTreeMap::new();
    PARTS.iter().for_each(|part| read(root, Path::new(part), &mut files));
    let edited = bugs::edited(root, bugs).unwrap_or_else(|broken| panic!("{}", broken.join("\n")));
    files.extend(edited.into_iter().map(|(file, text)| (PathBuf::from(file), text.into_bytes())));
    let manifest = files.get_mut(Path::new("Cargo.toml")).expect("the manifest was read");
    *manifest = renamed(std::str::from_utf8(manifest).expect("the manifest is text")).into_bytes();
    write(&copy, &files);
    // As a test and for the whole workspace, because then the dependencies have the same features as in the
    // repository's checks and are built already. The lints do not apply to the bugs.
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--locked", "--workspace", "--bin", NAME, "--test", "tidy", "--target-dir"])
        .arg(target);
    let built = command.current_dir(&copy).env_remove("RUSTC_WORKSPACE_WRAPPER").status().expect("cargo runs");
    assert!(built.success(), "the shop with bugs could not be built");
    target.join("debug").join(NAME)
}

/// The manifest with the program's name changed.
fn renamed(manifest: &str) -> String {
    let mut renamed = manifest.to_owned();
    for (find, replace) in [
        ("default-run = \"souk\"", format!("default-run = \"{NAME}\"")),
        ("[[bin]]\nname = \"souk\"", format!("[[bin]]\nname = \"{NAME}\"")),
    ] {
        assert_eq!(renamed.matches(find).count(), 1, "{find} in the manifest");
        renamed = renamed.replace(find, &replace);
    }
    renamed
}

fn read(root: &Path, part: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let path = root.join(part);
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("the repository can be read") {
            read(root, &part.join(entry.expect("the repository can be read").file_name()), files);
        }
    } else {
        files.insert(part.to_owned(), fs::read(path).expect("the repository can be read"));
    }
}

/// Makes the directory contain these files and no others. Files with the right content are not written.
fn write(directory: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    let mut there = BTreeMap::new();
    if directory.exists() {
        read(directory, Path::new(""), &mut there);
    }
    let gone: BTreeSet<_> = there.keys().filter(|path| !files.contains_key(*path)).collect();
    for path in gone {
        fs::remove_file(directory.join(path)).expect("an old file can be removed");
    }
    for (path, bytes) in files.iter().filter(|(path, bytes)| there.get(*path) != Some(bytes)) {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().expect("it is below the directory")).expect("a directory can be made");
        fs::write(path, bytes).expect("a file can be written");
    }
}
