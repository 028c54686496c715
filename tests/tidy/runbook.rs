//! The runbook quotes what the program says: each message that it quotes occurs in the source, and each warning or
//! error in the logs has a row, so that an operator who searches for one finds what to do.

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

/// The text with literals that go on in the next line put together.
fn joined(text: &str) -> String {
    let mut all = String::new();
    for line in text.lines().map(str::trim_start) {
        match line.strip_suffix('\\') {
            Some(begun) => all.push_str(begun),
            None => all.extend([line, "\n"]),
        }
    }
    all
}

/// The messages of warnings and errors in a source: in each call the last literal.
fn alarms(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let calls = ["tracing::warn!(", "tracing::error!("].into_iter().flat_map(|call| code.split(call).skip(1));
    let messages = calls.map(|rest| {
        let call = rest.split(");\n").next().unwrap_or_default();
        let literals: Vec<&str> = call.split('"').skip(1).step_by(2).collect();
        literals.last().copied().unwrap_or_default().to_owned()
    });
    messages.collect()
}

#[test]
fn every_message_of_the_runbook_occurs_in_the_source() {
    let runbook = std::fs::read_to_string(root().join("docs/OPERATIONS.md")).unwrap();
    let source: String = below("src", "rs").iter().map(|source| joined(&source.text)).collect();
    let quoted = quoted(&runbook);
    assert!(quoted.len() > 40, "the table was not found: {quoted:?}");
    let occurs = |message: &str| message.split('…').all(|part| source.contains(part.trim()));
    let unknown: Vec<_> =
        quoted.iter().filter(|message| !OTHERS_WORDS.contains(&message.as_str()) && !occurs(message)).collect();
    assert!(unknown.is_empty(), "the program says none of these: {unknown:#?}");
}

#[test]
fn every_warning_and_error_has_a_row_in_the_runbook() {
    let runbook = std::fs::read_to_string(root().join("docs/OPERATIONS.md")).unwrap();
    let quoted = quoted(&runbook);
    let sources = below("src", "rs").into_iter().filter(|source| !source.path.contains("/tests/"));
    let messages: Vec<String> = sources.flat_map(|source| alarms(&joined(&source.text))).collect();
    assert!(messages.len() > 50, "the calls were not found: {messages:?}");
    let has_row = |message: &String| quoted.iter().any(|quoted| message.contains(quoted.as_str()));
    let without: Vec<_> = messages.iter().filter(|message| message.is_empty() || !has_row(message)).collect();
    assert!(without.is_empty(), "the runbook does not say what to do: {without:#?}");
}

#[test]
fn the_reader_of_log_calls_sees_every_form() {
    let source = "tracing::warn!(\nfield = \"x\", %error,\n\"one \\\ntwo\"\n);\nother(\"no\");\n\
                  tracing::error!(%error, \"three\");\n#[cfg(test)]\nmod tests {\ntracing::warn!(\"four\");\n";
    assert_eq!(alarms(&joined(source)), ["one two", "three"]);
}
