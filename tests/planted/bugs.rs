//! The bugs in `tests/planted/bugs/`, each a file of edits to the shop's source.
//!
//! An edit replaces a text that must occur exactly once in its file, so a bug cannot silently lose its place;
//! `tests/tidy/` checks that on every run. The word `BUG` in a replacement becomes a question at runtime: all bugs are
//! in one program, and one of them at most is switched on. Depends on nothing of the shop.

use std::{collections::BTreeMap, fs, ops::Range, path::Path};

use serde::Deserialize;

/// Code that is added to the crate, for the edits to call. The variable `PLANTED_BUG` selects the bug.
const SWITCH: &str = "
pub(crate) fn planted(bug: &str) -> bool {
    static NAME: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var(\"PLANTED_BUG\").unwrap_or_default());
    *NAME == bug
}
";

/// The file to which the switch is added.
const ROOT: &str = "src/lib.rs";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bug {
    /// The name of its file, without the ending.
    #[serde(skip)]
    pub(crate) name: String,
    /// How the shop with this bug differs.
    pub(crate) what: String,
    /// The checker's invariant that must catch it; `None` for a bug that has a test of its own.
    pub(crate) caught_by: Option<String>,
    pub(crate) edit: Vec<Edit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    /// Relative to the root of the repository.
    file: String,
    find: String,
    replace: String,
}

/// All bugs of the repository at `root`, by name.
///
/// # Errors
/// The file that cannot be read, and the reason.
pub(crate) fn all(root: &Path) -> Result<Vec<Bug>, String> {
    let directory = root.join("tests/planted/bugs");
    let entries = fs::read_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let read = |path: &Path| -> Result<Bug, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        let bug: Bug = toml::from_str(&text).map_err(|error| error.to_string())?;
        Ok(Bug { name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), ..bug })
    };
    let mut bugs = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        bugs.push(read(&path).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    bugs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(bugs)
}

/// The files of the repository at `root` that bugs change, with all edits of these bugs.
///
/// # Errors
/// Each edit whose text does not occur exactly once, or that overlaps another.
pub(crate) fn edited(root: &Path, bugs: &[Bug]) -> Result<BTreeMap<String, String>, Vec<String>> {
    let mut edits: BTreeMap<&str, Vec<(&str, &Edit)>> = BTreeMap::new();
    for bug in bugs {
        for edit in &bug.edit {
            edits.entry(&edit.file).or_default().push((&bug.name, edit));
        }
    }
    let (mut files, mut broken) = (BTreeMap::new(), Vec::new());
    for (file, edits) in edits {
        match fs::read_to_string(root.join(file)) {
            Ok(text) => match apply(&text, &edits) {
                Ok(text) => drop(files.insert(file.to_owned(), text)),
                Err(why) => broken.extend(why.into_iter().map(|why| format!("{file}: {why}"))),
            },
            Err(error) => broken.push(format!("{file}: {error}")),
        }
    }
    match fs::read_to_string(root.join(ROOT)) {
        Ok(text) => drop(files.insert(ROOT.to_owned(), text + SWITCH)),
        Err(error) => broken.push(format!("{ROOT}: {error}")),
    }
    if broken.is_empty() { Ok(files) } else { Err(broken) }
}

/// Applies edits, each with the name of its bug, to the text of one file.
fn apply(text: &str, edits: &[(&str, &Edit)]) -> Result<String, Vec<String>> {
    let (mut places, mut broken): (Vec<(Range<usize>, String)>, Vec<String>) = Default::default();
    for (bug, edit) in edits {
        let found: Vec<usize> = text.match_indices(&edit.find).map(|(at, _)| at).collect();
        match found[..] {
            [at] => {
                let replacement = edit.replace.replace("BUG", &format!("crate::planted({bug:?})"));
                places.push((at..at + edit.find.len(), replacement));
            }
            _ => broken.push(format!("{bug}: found {} times instead of once: {}", found.len(), edit.find)),
        }
    }
    places.sort_by_key(|(place, _)| place.start);
    for pair in places.windows(2) {
        if pair[0].0.end > pair[1].0.start {
            broken.push(format!("two edits change the same text: {}", &text[pair[1].0.clone()]));
        }
    }
    if !broken.is_empty() {
        return Err(broken);
    }
    let mut edited = text.to_owned();
    for (place, replacement) in places.into_iter().rev() {
        edited.replace_range(place, &replacement);
    }
    Ok(edited)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(find: &str, replace: &str) -> Edit {
        Edit { file: String::new(), find: find.into(), replace: replace.into() }
    }

    #[test]
    fn edits_are_applied_together_and_refused_if_they_do_not_match_once_or_overlap() {
        let (one, two) = (edit("a", "b || BUG"), edit("c", "d"));
        let applied = apply("a c", &[("Two", &two), ("One", &one)]).unwrap();
        assert_eq!(applied, "b || crate::planted(\"One\") d");
        let whole = edit("a c", "e");
        for (text, edits) in [("c", vec![&one]), ("a a", vec![&one]), ("a c", vec![&two, &whole])] {
            let edits: Vec<_> = edits.into_iter().map(|edit| ("Bug", edit)).collect();
            assert_eq!(apply(text, &edits).unwrap_err().len(), 1, "{text}");
        }
    }
}
