//! The form of the documents: one sentence a line, so that a diff shows the sentence that changed.

use crate::files::{Text, documents};

/// Words that end with a full stop in the middle of a sentence.
const ABBREVIATIONS: [&str; 7] = ["e.g.", "i.e.", "etc.", "vs.", "cf.", "No.", "approx."];

/// A line of prose; headings, tables, code blocks and blank lines are none.
struct Prose {
    number: usize,
    text: String,
    /// The line continues the paragraph or the list item of the line before it.
    continues: bool,
}

fn prose(text: &str) -> Vec<Prose> {
    let mut found = Vec::new();
    let mut in_code = false;
    let mut in_paragraph = false;
    for (number, line) in (1..).zip(text.lines()) {
        let trimmed = line.trim();
        if trimmed.starts_with("```") {
            in_code = !in_code;
            in_paragraph = false;
            continue;
        }
        if in_code || trimmed.is_empty() || trimmed.starts_with(['#', '|', '<']) || trimmed.starts_with("---") {
            in_paragraph = false;
            continue;
        }
        let item = after_marker(trimmed);
        let continues = in_paragraph && item.is_none();
        found.push(Prose { number, text: without_code(item.unwrap_or(trimmed)), continues });
        in_paragraph = true;
    }
    found
}

/// What follows the marker of a list item.
fn after_marker(line: &str) -> Option<&str> {
    let bullet = line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")).or_else(|| line.strip_prefix("+ "));
    bullet.or_else(|| {
        let (number, rest) = line.split_once(". ")?;
        (!number.is_empty() && number.chars().all(|c| c.is_ascii_digit())).then_some(rest)
    })
}

/// Code and the targets of links, whose punctuation ends no sentence, are replaced by letters.
fn without_code(line: &str) -> String {
    let mut text = String::new();
    let mut inside = None;
    let mut before = ' ';
    for character in line.chars() {
        match inside {
            Some(end) if character == end => inside = None,
            Some(_) => {}
            None if character == '`' => inside = Some('`'),
            None if character == '(' && before == ']' => inside = Some(')'),
            None => text.push(character),
        }
        if inside.is_some() || matches!(character, '`') {
            text.push('x');
        }
        before = character;
    }
    text
}

fn ends_sentence(word: &str) -> bool {
    let bare = word.trim_end_matches([')', ']', '"', '”', '’', '*', '_']);
    let opened = bare.trim_start_matches(['(', '[', '"', '“', '*', '_']);
    bare.ends_with(['.', '!', '?']) && !ABBREVIATIONS.contains(&opened)
}

/// Where the text is not one sentence a line.
fn faults(text: &str) -> Vec<(usize, &'static str)> {
    let lines = prose(text);
    let mut found = Vec::new();
    for line in &lines {
        let words: Vec<&str> = line.text.split_whitespace().collect();
        let (_, earlier) = words.split_last().unwrap_or((&"", &[]));
        if earlier.iter().any(|word| ends_sentence(word)) {
            found.push((line.number, "holds more than one sentence"));
        }
    }
    for pair in lines.windows(2) {
        if pair[1].continues && !pair[0].text.split_whitespace().next_back().is_some_and(ends_sentence) {
            found.push((pair[1].number, "begins in the middle of a sentence"));
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn documents_have_one_sentence_a_line() {
    let mut broken = Vec::new();
    let mut lines = 0;
    for Text { path, text } in documents() {
        lines += prose(&text).len();
        broken.extend(faults(&text).into_iter().map(|(number, fault)| format!("{path}:{number} {fault}")));
    }
    assert!(lines > 500, "only {lines} lines of prose were seen: the reader of documents is broken");
    assert!(broken.is_empty(), "documents:\n{}", broken.join("\n"));
}

#[test]
fn lines_that_are_not_one_sentence_are_found() {
    let bad = [
        ("A sentence that is\nwrapped.", 2),
        ("- An item that is\n  wrapped.", 2),
        ("1. One. Two.", 1),
        ("One (in brackets.) Two.", 1),
        ("Is it `code.`? It is.", 1),
        ("```\ncode. code\n```\nOne. Two", 4),
        ("See [one](a. b.md). Two.", 1),
    ];
    for (text, line) in bad {
        assert_eq!(faults(text).first().map(|fault| fault.0), Some(line), "{text}");
    }
    let good = "# A heading. With a stop\n\nA `b. c` d, e.g. this.\nVersion 0.34 is another.\nThese are:\n\n- one\n- two. \n\n\
                | a. b | c |\n\n```\na. b\nc\n```\nThe [link](c. d) ends here";
    assert_eq!(faults(good), []);
}

/// What is wrong with the head of a decision: a numbered title, its status and its date.
fn fault_of_head(path: &str, text: &str) -> Option<&'static str> {
    let mut lines = text.lines();
    let number = path.rsplit('/').next()?.split('-').next()?.trim_start_matches('0');
    let statuses = ["accepted", "superseded", "rejected", "proposed"];
    let is_date = |date: &str| {
        let lengths: Vec<usize> = date.split('-').map(str::len).collect();
        lengths == [4, 2, 2] && date.chars().all(|c| c.is_ascii_digit() || c == '-')
    };
    if !lines.next()?.starts_with(&format!("# {number}. ")) {
        Some("the title has another number than the file")
    } else if !lines.nth(1)?.strip_prefix("- Status: ").is_some_and(|its| statuses.iter().any(|s| its.starts_with(s))) {
        Some("no status")
    } else if !lines.next()?.strip_prefix("- Date: ").is_some_and(is_date) {
        Some("no date")
    } else {
        None
    }
}

#[test]
fn decisions_have_a_status_and_a_date() {
    let decisions: Vec<Text> =
        documents().into_iter().filter(|document| document.path.starts_with("docs/adr/")).collect();
    assert!(decisions.len() > 9, "the decisions were not found");
    for Text { path, text } in &decisions {
        assert_eq!(fault_of_head(path, text), None, "{path}");
    }
    let head = |number: &str, status: &str, date: &str| {
        format!("# {number}. T\n\n- Status: {status}\n- Date: {date}\n\nText.")
    };
    assert_eq!(fault_of_head("docs/adr/0010-a.md", &head("10", "accepted", "2026-11-23")), None);
    for (number, status, date) in [
        ("1", "accepted", "2026-11-23"),
        ("10", "", "2026-11-23"),
        ("10", "accepted", "now"),
        ("10", "maybe", "2026-11-23"),
    ] {
        assert!(fault_of_head("docs/adr/0010-a.md", &head(number, status, date)).is_some(), "{number} {status} {date}");
    }
}
