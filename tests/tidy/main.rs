//! The source and the documents themselves: layers, rooms, file heads and sizes, the form of documents. What
//! docs/ARCHITECTURE.md draws, this holds the code to.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the source must fail")]

#[path = "../planted/bugs.rs"]
#[allow(dead_code, reason = "only `tests/planted/` reads what a bug is about")]
mod bugs;
mod circles;
mod files;
mod links;
mod markdown;
mod runbook;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// The longest file, in lines; house rule: near 500.
const LINES_MAX: usize = 550;

/// Where code is.
const CODE: [&str; 5] = ["src", "tests", "benches", "examples", "tools"];

/// What each room may use of the crate, itself and the leaves apart.
const LAYERS: &[(&str, &[&str])] = &[
    ("clock", &["domain"]),
    ("config", &[]),
    ("directories", &[]),
    ("log_throttle", &[]),
    ("text_file", &[]),
    ("domain", &[]),
    ("catalogue", &["domain"]),
    ("storage", &[]),
    ("payments", &["domain"]),
    ("identity", &["domain"]),
    ("actors", &["storage", "payments", "domain"]),
    ("search", &["actors", "storage", "domain"]),
    ("shop", &["search", "actors", "storage", "payments", "identity", "domain"]),
    ("http", &["shop", "domain"]),
    ("app", &["shop", "catalogue", "storage", "domain"]),
    ("verify", &["search", "actors", "storage", "payments", "domain"]),
    (
        "internals",
        &[
            "app",
            "verify",
            "http",
            "shop",
            "catalogue",
            "search",
            "actors",
            "storage",
            "payments",
            "identity",
            "domain",
        ],
    ),
    ("bin", &["app", "verify", "http", "shop", "catalogue", "identity", "storage", "domain"]),
];

/// Rooms that everybody may use, but for [`NO_CLOCK`].
const LEAVES: [&str; 5] = ["clock", "config", "directories", "log_throttle", "text_file"];

/// A leaf that the domain may not use: its times are arguments.
const NO_CLOCK: (&str, &str) = ("domain", "clock");

/// Which rooms or files alone may name a library.
const LIBRARIES: [(&str, &str); 13] = [
    ("sled", "storage/state.rs"),
    ("bincode", "storage/codec.rs"),
    ("tantivy", "search/"),
    ("axum", "http/"),
    ("utoipa", "http/"),
    ("prometheus_client", "http/"),
    ("governor", "http/rates/ http/access_log.rs"),
    ("ractor", "actors/"),
    ("jsonwebtoken", "identity/"),
    ("argon2", "identity/"),
    ("aws_lc_rs", "identity/ payments/signature.rs http/serve/"),
    ("tokio_rustls", "http/serve/"),
    ("reqwest", "verify/online.rs payments/"),
];

struct Source {
    /// Below `src/`, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The lines that are code: no comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = (1..).zip(self.text.lines());
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn sources() -> Vec<Source> {
    let found = files::below("src", "rs");
    assert!(found.len() > 40, "the sources were not found");
    let below_src = |file: files::Text| Source { path: file.path["src/".len()..].to_owned(), text: file.text };
    found.into_iter().map(below_src).collect()
}

/// The sources of the shop, and those of the tools with their paths from the root of the repository.
fn all_sources() -> Vec<Source> {
    let tools = files::below("tools", "rs");
    assert!(tools.len() > 20, "the sources of the tools were not found");
    let mut all = sources();
    all.extend(tools.into_iter().map(|file| Source { path: file.path, text: file.text }));
    all
}

/// The rooms that a line of code names: `crate::room` or, in the program, `souk::room` and `souk::internals::room`;
/// also in grouped imports.
fn rooms_named(text: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for prefix in ["crate::", "souk::", "internals::"] {
        for (at, _) in text.match_indices(prefix) {
            let line = text[..at].lines().count().max(1);
            let rest = &text[at + prefix.len()..];
            if let Some(group) = rest.strip_prefix('{') {
                let mut depth = 0_i32;
                let mut item = String::new();
                for character in group.chars() {
                    match character {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            named.push((line, std::mem::take(&mut item)));
                            continue;
                        }
                        _ => {}
                    }
                    item.push(character);
                }
                named.push((line, item));
            } else {
                let room: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                // `souk::http=debug` in a string is the target of a log line.
                if !rest[room.len()..].starts_with('=') {
                    named.push((line, room));
                }
            }
        }
    }
    let first = |item: &str| item.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let rooms = named.into_iter().map(|(line, item)| (line, first(&item)));
    // What is in `internals` was read by itself.
    rooms.filter(|(_, room)| !room.is_empty() && room != "internals").collect()
}

#[test]
fn layers_are_kept() {
    let layers: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    let mut broken = Vec::new();
    let mut checked = 0;
    for source in sources() {
        let room = source.room();
        if room == "lib" {
            continue;
        }
        let allowed = layers.get(room).unwrap_or_else(|| panic!("{} is in no room of the table", source.path));
        let code: String = source.code().map(|(_, line)| format!("{line}\n")).collect();
        for (_, named) in rooms_named(&code) {
            let is_room = layers.contains_key(named.as_str());
            let leaf = LEAVES.contains(&named.as_str()) && (room, named.as_str()) != NO_CLOCK;
            checked += usize::from(is_room);
            if is_room && named != room && !leaf && !allowed.contains(&named.as_str()) {
                broken.push(format!("{} uses {named}", source.path));
            }
        }
    }
    assert!(checked > 100, "only {checked} uses were seen: the reader of `use` is broken");
    assert!(broken.is_empty(), "layers broken:\n{}", broken.join("\n"));
}

/// Tests may look at the clock; the tools are programs of their own.
#[test]
fn only_the_clock_reads_the_wall_clock() {
    let readers = ["SystemTime::now(", "Timestamp::now(", "Zoned::now(", "UNIX_EPOCH.elapsed("];
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !source.path.contains("/tests/")) {
        let reads = source.code().filter(|(_, line)| readers.iter().any(|reader| line.contains(reader)));
        found.extend(reads.map(|(number, _)| (source.path.clone(), number)));
    }
    let places: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(places, ["clock.rs"], "{found:?}");
}

/// What the head of a file says that it depends on: the words in code quotes of the sentence, up to the first `::` of
/// each. "The rooms below" are all that the room may use.
fn dependencies_said(text: &str, allowed: &[&str]) -> Option<Vec<String>> {
    let head = text.lines().take_while(|line| line.starts_with("//!"));
    let head: String = head.map(|line| line.trim_start_matches("//!")).collect();
    let (_, sentence) = head.split_once("May depend on ").or_else(|| head.split_once("Depends on "))?;
    let sentence = sentence.split(". ").next()?.split(';').next()?;
    if sentence.contains("the rooms below") {
        return Some(allowed.iter().map(|&room| room.to_owned()).collect());
    }
    let first_part = |word: &str| word.split("::").next().unwrap_or_default().to_owned();
    Some(sentence.split('`').skip(1).step_by(2).map(first_part).collect())
}

#[test]
fn heads_name_the_rooms_that_a_file_uses() {
    let layers: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    let is_room = |word: &str| layers.contains_key(word) && !LEAVES.contains(&word);
    let mut broken = Vec::new();
    let mut checked = 0;
    for source in sources() {
        let room = source.room();
        let allowed = layers.get(room).copied().unwrap_or_default();
        let Some(said) = dependencies_said(&source.text, allowed) else { continue };
        for named in said.iter().filter(|named| is_room(named) && *named != room) {
            // A neighbour may have the name of a room.
            let has_neighbour = said_neighbour(&source.path, named);
            if !has_neighbour && !allowed.contains(&named.as_str()) {
                broken.push(format!("{} says that it depends on {named}: the layers do not", source.path));
            }
        }
        if is_test(&source.path) {
            continue;
        }
        checked += 1;
        let code: String = source.code().map(|(_, line)| format!("{line}\n")).collect();
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let used: BTreeSet<String> = rooms_named(code).into_iter().map(|(_, named)| named).collect();
        for used in used.into_iter().filter(|used| is_room(used) && used != room && !said.contains(used)) {
            broken.push(format!("{} does not say that it depends on {used}", source.path));
        }
    }
    assert!(checked > 200, "only {checked} heads were seen: the reader of heads is broken");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert_eq!(dependencies_said("//! A. May depend on `a::b` and\n//! `c`. `d`", &[]).unwrap(), ["a", "c"]);
    assert_eq!(dependencies_said("//! A. Depends on `a`; `b`.", &[]).unwrap(), ["a"]);
    assert_eq!(dependencies_said("//! Depends on the rooms below.", &["a", "b"]).unwrap(), ["a", "b"]);
    assert_eq!(dependencies_said("//! A.\n\n// Depends on `a`.", &[]), None);
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("tests.rs")
}

/// Whether a file beside this one has this name.
fn said_neighbour(path: &str, name: &str) -> bool {
    let directory = files::root().join("src").join(path);
    let beside = directory.parent().unwrap().join(name);
    beside.is_dir() || beside.with_extension("rs").exists()
}

#[test]
fn the_reader_of_uses_sees_every_form() {
    let text = "use crate::storage::Journal;\nuse crate::{\n    domain::{a, b},\n    search::C,\n};\nlet x = crate::http::y();\n\
                use souk::{config::Config, internals::{app::{d, e}, verify}};\nsouk::internals::actors::f();\n";
    let rooms: Vec<_> = rooms_named(text).into_iter().map(|(_, room)| room).collect();
    for room in ["storage", "domain", "search", "http", "config", "app", "verify", "actors"] {
        assert!(rooms.iter().any(|named| named == room), "{room} was not seen in {rooms:?}");
    }
}

#[test]
fn libraries_stay_in_their_rooms() {
    let mut broken = Vec::new();
    for source in sources() {
        for (library, rooms) in LIBRARIES {
            if rooms.split(' ').any(|room| source.path.starts_with(room)) {
                continue;
            }
            let names =
                |line: &str| line.contains(&format!("{library}::")) || line.contains(&format!("use {library};"));
            let tests_of_room =
                source.path.starts_with(rooms.split('/').next().unwrap_or_default()) && source.path.contains("test");
            for (number, line) in source.code().filter(|(_, line)| names(line)) {
                if !tests_of_room {
                    broken.push(format!("{}:{number} names {library}: {}", source.path, line.trim()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "libraries outside their room:\n{}", broken.join("\n"));
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    let mut broken = Vec::new();
    for directory in CODE {
        let files = files::below(directory, "rs");
        assert!(!files.is_empty(), "there is no code in {directory}");
        for file in files {
            if !file.text.starts_with("//! ") {
                broken.push(format!("{} does not begin with //!", file.path));
            }
            let lines = file.text.lines().count();
            if lines > LINES_MAX {
                broken.push(format!("{} has {lines} lines", file.path));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_file_says_what_it_depends_on() {
    let (mut broken, mut checked) = (Vec::new(), 0);
    for file in CODE.iter().flat_map(|directory| files::below(directory, "rs")) {
        if is_test(&file.path) || file.path.starts_with("tests/") {
            continue;
        }
        checked += 1;
        if dependencies_said(&file.text, &[]).is_none() {
            broken.push(file.path);
        }
    }
    assert!(checked > 300, "only {checked} files were seen");
    assert!(broken.is_empty(), "their heads do not say what they depend on:\n{}", broken.join("\n"));
}

/// The longest line of a comment, in columns. rustfmt does not wrap them.
const LINE_MAX: usize = 120;

#[test]
fn comments_fit_into_a_line() {
    let mut broken = Vec::new();
    let mut checked = 0;
    for directory in CODE {
        for file in files::below(directory, "rs") {
            let comments = (1..).zip(file.text.lines()).filter(|(_, line)| line.trim_start().starts_with("//"));
            for (number, line) in comments {
                checked += 1;
                if line.chars().count() > LINE_MAX {
                    broken.push(format!("{}:{number}", file.path));
                }
            }
        }
    }
    assert!(checked > 100, "only {checked} lines of comments were seen");
    assert!(broken.is_empty(), "comments of more than {LINE_MAX} columns:\n{}", broken.join("\n"));
}

/// The tables of a manifest that name dependencies, those for one platform included.
fn depends_on_the_shop(manifest: &str) -> bool {
    fn search(table: &toml::Table) -> bool {
        table.iter().any(|(key, value)| match value {
            toml::Value::Table(inner) if key.ends_with("dependencies") => inner.iter().any(|(name, value)| {
                let says = |field: &str| value.get(field).and_then(toml::Value::as_str).unwrap_or_default();
                name == "souk" || says("package") == "souk" || Path::new(says("path")).ends_with("../..")
            }),
            toml::Value::Table(inner) => search(inner),
            _ => false,
        })
    }
    search(&manifest.parse().unwrap())
}

#[test]
fn tools_depend_on_no_crate_of_the_shop() {
    for manifest in files::below("", "toml").into_iter().filter(|file| file.path.starts_with("tools/")) {
        assert!(!depends_on_the_shop(&manifest.text), "{} depends on the shop", manifest.path);
    }
    for bad in [
        "[dependencies]\nsouk = \"1\"",
        "[dev-dependencies]\nsouk.path = \"../..\"",
        "[dependencies]\nshop = { package = \"souk\", version = \"1\" }",
        "[target.'cfg(unix)'.dependencies.shop]\npath = \"../..\"",
    ] {
        assert!(depends_on_the_shop(bad), "{bad}");
    }
    assert!(!depends_on_the_shop("[package]\nname = \"souk-load\"\n[dependencies]\nserde = \"1\""));
}

#[test]
fn planted_bugs_have_their_places_and_their_rows() {
    let bugs = bugs::all(files::root()).unwrap();
    let edited = bugs::edited(files::root(), &bugs).unwrap_or_else(|broken| panic!("{}", broken.join("\n")));
    assert!(edited.len() > 10, "only {} files have bugs", edited.len());
    let table = std::fs::read_to_string(files::root().join("docs/VERIFY.md")).unwrap();
    for bug in &bugs {
        assert!(table.contains(&format!("| `{}`: ", bug.name)), "docs/VERIFY.md does not list {}", bug.name);
    }
}

#[test]
fn nothing_is_left_undone() {
    let words = ["todo!(", "unimplemented!(", "#[ignore", "FIXME"];
    let mut broken = Vec::new();
    for source in all_sources() {
        for (number, line) in source.code() {
            if words.iter().any(|word| line.contains(word)) {
                broken.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
