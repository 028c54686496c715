//! What documents and comments point to exists: links, files, and the items of the table "Where is the rule".

use std::path::Path;

use crate::files::{Text, below, documents, root};

/// The text between pairs of backticks in one line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The lines of a document that are not in a code block, with their numbers.
fn outside_code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// The targets of the links in a line: what stands in `](…)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

fn slug(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn resolves(target: &str, document: &Text) -> bool {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let here = Path::new(&document.path);
    let path = if file.is_empty() { root().join(here) } else { root().join(here.parent().unwrap()).join(file) };
    if anchor.is_empty() {
        return path.exists();
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    outside_code(&text).any(|(_, line)| line.starts_with('#') && slug(line) == anchor)
}

#[test]
fn links_of_documents_resolve() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for document in documents() {
        for (number, line) in outside_code(&document.text) {
            for target in targets(line).filter(|target| !target.contains("://")) {
                seen += 1;
                if !resolves(target, &document) {
                    broken.push(format!("{}:{number}: {target}", document.path));
                }
            }
        }
    }
    assert!(seen > 20, "only {seen} links were seen: the reader of links is broken");
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    let document = Text { path: "docs/X.md".to_owned(), text: String::new() };
    assert!(
        resolves("API.md#problems", &document) && resolves("adr/", &document) && resolves("../README.md", &document)
    );
    for target in ["README.md", "API.md#problem", "adr/0000.md"] {
        assert!(!resolves(target, &document), "{target}");
    }
}

/// Whether a word is meant as a file of this repository.
fn is_source_path(word: &str) -> bool {
    let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || ['/', '_', '-', '.'].contains(&c));
    let tops = ["src/", "tests/", "benches/", "docs/", "examples/", "tools/", "deploy/"];
    let rooted = tops.iter().any(|top| word.starts_with(top));
    let named = [".rs", ".md", ".sh"].iter().any(|end| word.len() > end.len() && word.ends_with(end));
    word != "mod.rs"
        && word != "tests.rs"
        && is_plain
        && !word.starts_with(['/', '-'])
        && (named || rooted && word.ends_with('/'))
}

/// A path counts from the root, from `src/`, or from the file that names it.
fn exists(word: &str, from: &str) -> bool {
    let mut bases = vec![root().to_owned(), root().join("src")];
    let file = root().join(from);
    let own = file.parent().unwrap();
    bases.push(own.to_owned());
    // `mod.rs` is the file of its directory; `name.rs` speaks of its neighbours and of `name/`.
    bases.push(file.with_extension(""));
    bases.push(own.parent().unwrap_or(own).to_owned());
    bases.iter().any(|base| base.join(word).exists())
}

#[test]
fn files_that_documents_name_exist() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for document in documents() {
        for (number, line) in outside_code(&document.text) {
            for word in quoted(line).filter(|word| is_source_path(word)) {
                seen += 1;
                if !exists(word, &document.path) {
                    broken.push(format!("{}:{number}: `{word}`", document.path));
                }
            }
        }
    }
    assert!(seen > 20, "only {seen} paths were seen: the reader of documents is broken");
    assert!(broken.is_empty(), "documents name files that do not exist:\n{}", broken.join("\n"));
}

#[test]
fn files_that_comments_name_exist() {
    let mut broken = Vec::new();
    let mut seen = 0;
    let sources = ["src", "tests", "benches", "examples"].into_iter().flat_map(|directory| below(directory, "rs"));
    for source in sources {
        if source.path.starts_with("tests/tidy/") {
            continue;
        }
        let comments = (1..).zip(source.text.lines()).filter(|(_, line)| line.trim_start().starts_with("//"));
        for (number, line) in comments {
            let words =
                line.split(|c: char| c.is_whitespace() || ['`', '(', ')', '"', ',', ';', ':', '[', ']'].contains(&c));
            for word in words.map(|word| word.trim_end_matches('.')).filter(|word| is_source_path(word)) {
                seen += 1;
                if !exists(word, &source.path) {
                    broken.push(format!("{}:{number}: {word}", source.path));
                }
            }
        }
    }
    assert!(seen > 20, "only {seen} paths were seen: the reader of comments is broken");
    assert!(broken.is_empty(), "comments name files that do not exist:\n{}", broken.join("\n"));
}

/// Whether a source defines an item of this name: a function, a type, a constant, a module, a field or a variant.
fn defines(source: &str, item: &str) -> bool {
    let name = item.rsplit("::").next().unwrap_or(item);
    let keywords = ["fn", "struct", "enum", "trait", "const", "static", "type", "mod", "macro_rules!"];
    let after = |line: &str, keyword: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let named = words.windows(2).find(|pair| pair[0] == keyword).map(|pair| pair[1]);
        named.is_some_and(|word| word.split(['(', '<', ':', '{', ';', '=']).next() == Some(name))
    };
    let field = |line: &str| line.trim_start().trim_start_matches("pub ").starts_with(&format!("{name}:"));
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.into_iter().any(|line| field(line) || keywords.iter().any(|keyword| after(line, keyword)))
}

/// The rows of the table below a heading: the cells of each.
fn table<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let section = text.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
    let rows = section.take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with('|'));
    rows.skip(2).map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What is wrong with a place such as "`domain/cart/mod.rs`, `LINES_MAX`": a path, and items that it defines.
fn fault_of_place(place: &str) -> Option<String> {
    let mut texts: Vec<Text> = Vec::new();
    let mut files = 0;
    for word in quoted(place) {
        let path = Path::new("src").join(word);
        if word.ends_with('/') || word.ends_with(".rs") || word.ends_with(".md") {
            let path = if root().join(&path).exists() { path } else { word.into() };
            if !root().join(&path).exists() {
                return Some(format!("`{word}` does not exist"));
            }
            files += 1;
            texts = if word.ends_with('/') {
                below(&path.to_string_lossy(), "rs")
            } else {
                let text = std::fs::read_to_string(root().join(&path)).unwrap();
                vec![Text { path: word.to_owned(), text }]
            };
        } else if !texts.iter().any(|text| defines(&text.text, word)) {
            return Some(format!("`{word}` is not defined there"));
        }
    }
    (files == 0).then(|| "no file is named".to_owned())
}

#[test]
fn the_rules_are_where_the_table_says() {
    let architecture = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let rows = table(&architecture, "## Where is the rule");
    assert!(rows.len() > 10, "only {} rules were seen: the reader of the table is broken", rows.len());
    let faults: Vec<String> = rows
        .iter()
        .filter_map(|row| Some(format!("{}: {}", row[0], fault_of_place(row.get(1).copied().unwrap_or_default())?)))
        .collect();
    assert!(faults.is_empty(), "rules that are not where the table says:\n{}", faults.join("\n"));
    for wrong in ["nowhere", "`domain/nowhere.rs`", "`domain/entity.rs`, `Nothing`", "`domain/`, `Nothing`"] {
        assert!(fault_of_place(wrong).is_some(), "{wrong}");
    }
    for right in ["`domain/entity.rs`, `Entity`", "`domain/`, `Entity::decide`"] {
        assert_eq!(fault_of_place(right), None);
    }
}

#[test]
fn the_newcomer_finds_each_rule_where_the_test_says() {
    let newcomer = std::fs::read_to_string(root().join("docs/NEWCOMER.md")).unwrap();
    for (heading, place, rules_min) in
        [("## Ten rules, ten places", 1, 10), ("## More rules", 1, 10), ("## Not found at once", 2, 3)]
    {
        let rows = table(&newcomer, heading);
        assert!(rows.len() >= rules_min, "{heading}: only {} rules", rows.len());
        for row in rows.iter().filter(|row| !row[place].starts_with("it was") && !row[place].starts_with("there is no"))
        {
            assert_eq!(fault_of_place(row[place]), None, "{}", row[0]);
        }
    }
}

#[test]
fn what_holds_against_a_threat_is_where_the_table_says() {
    let security = std::fs::read_to_string(root().join("docs/SECURITY.md")).unwrap();
    let rows = table(&security, "## What is tested by what");
    assert!(rows.len() > 20, "only {} threats were seen", rows.len());
    let faults: Vec<String> = rows
        .iter()
        .flat_map(|row| row.get(2).copied().unwrap_or_default().split(';').map(|place| (row[0], place)))
        .filter_map(|(threat, place)| Some(format!("{threat}: {}", fault_of_place(place)?)))
        .collect();
    assert!(faults.is_empty(), "tests that are not where the table says:\n{}", faults.join("\n"));
}

#[test]
fn the_list_of_rooms_is_whole() {
    let architecture = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let section = architecture.lines().skip_while(|line| *line != "## Rooms").skip(1);
    let section = section.take_while(|line| !line.starts_with("## "));
    let listed: Vec<&str> =
        section.filter_map(|line| line.split_whitespace().next()).filter(|word| word.starts_with("src/")).collect();
    for room in &listed {
        assert!(root().join(room).exists(), "{room} is listed and does not exist");
    }
    for entry in std::fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        let slash = if entry.path().is_dir() { "/" } else { "" };
        let name = format!("src/{}{slash}", entry.file_name().to_string_lossy());
        assert!(listed.contains(&name.as_str()), "{name} is not in the list of rooms of docs/ARCHITECTURE.md");
    }
}
