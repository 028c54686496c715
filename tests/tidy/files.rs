//! The files that the other tests read: sources and documents.

use std::{
    fs,
    path::{Path, PathBuf},
};

pub(crate) struct Text {
    /// From the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a directory of the repository whose names have this extension; build output is none of them.
pub(crate) fn below(directory: &str, extension: &str) -> Vec<Text> {
    let mut paths = Vec::new();
    collect(&root().join(directory), extension, &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        Text { path: path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/"), text }
    };
    paths.into_iter().map(read).collect()
}

fn collect(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "souk-data" {
                collect(&path, extension, found);
            }
        } else if path.extension().is_some_and(|its| its == extension) {
            found.push(path);
        }
    }
}

pub(crate) fn documents() -> Vec<Text> {
    let found = below("", "md");
    assert!(found.len() > 15, "the documents were not found");
    found
}
