//! The runbook quotes what the program says: each message that it quotes occurs in the source, so that an operator who
//! searches for it finds its row.

use crate::files::{below, root};

/// Words of the system and of sled, which the source does not have, and a field of a log line.
const OTHERS_WORDS: [&str; 6] = [
    "No space left on device",
    "Permission denied",
    "Read-only file system",
    "Address already in use",
    "empty/corrupt configuration file found",
    "status=507",
];

/// The code spans in the first cells of the runbook's table.
fn quoted(runbook: &str) -> Vec<String> {
    let table = runbook.lines().skip_while(|line| !line.starts_with("| what you see |")).skip(2);
    let cells = table.take_while(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1));
    let spans = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned);
    spans.collect()
}

/// The sources with literals that go on in the next line put together.
fn sources() -> String {
    let mut all = String::new();
    for source in below("src", "rs") {
        for line in source.text.lines().map(str::trim_start) {
            match line.strip_suffix('\\') {
                Some(begun) => all.push_str(begun),
                None => all.extend([line, "\n"]),
            }
        }
    }
    all
}

#[test]
fn every_message_of_the_runbook_occurs_in_the_source() {
    let runbook = std::fs::read_to_string(root().join("docs/OPERATIONS.md")).unwrap();
    let (quoted, source) = (quoted(&runbook), sources());
    assert!(quoted.len() > 40, "the table was not found: {quoted:?}");
    let occurs = |message: &str| message.split('…').all(|part| source.contains(part.trim()));
    let unknown: Vec<_> =
        quoted.iter().filter(|message| !OTHERS_WORDS.contains(&message.as_str()) && !occurs(message)).collect();
    assert!(unknown.is_empty(), "the program says none of these: {unknown:#?}");
}
