//! What helps to run the program: the unit of systemd, completions, manual pages.

use std::{collections::BTreeSet, fs, io::Write as _, process::Command, process::Stdio};

const UNIT: &str = include_str!("../../deploy/systemd/souk.service");

fn souk(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_souk")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The subcommands, as the program's own help lists them.
fn subcommands() -> BTreeSet<String> {
    let help = souk(&["--help"]);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let rows = list.split("\n\n").next().unwrap().lines().filter(|line| line.starts_with("  ") && &line[2..3] != " ");
    let names: BTreeSet<_> = rows.filter_map(|row| row.split_whitespace().next()).map(str::to_owned).collect();
    assert!(names.len() > 10 && names.contains("gateway-sim"), "{help}");
    names
}

/// The values of a setting of the unit.
fn of_unit(name: &str) -> Vec<&'static str> {
    UNIT.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

#[test]
fn the_unit_starts_the_program_and_leaves_it_stopped_as_the_exit_codes_say() {
    let operations = include_str!("../../docs/OPERATIONS.md");
    let (_, table) = operations.split_once("| exit code | what it means |").unwrap();
    let rows = table.split("\n\n").next().unwrap().lines().map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let final_codes: Vec<_> = rows
        .filter(|row| row.get(3).is_some_and(|what| what.starts_with("do not start it again")))
        .map(|row| row[1])
        .collect();
    assert_eq!(final_codes, ["2", "65"]);
    assert_eq!(of_unit("RestartPreventExitStatus"), [final_codes.join(" ")]);
    let start = of_unit("ExecStart")[0].strip_prefix("/usr/local/bin/souk serve ").unwrap();
    let help = souk(&["serve", "--help"]);
    for option in start.split(' ').filter(|word| word.starts_with("--")) {
        assert!(help.contains(&format!("{option} <")), "{option} is no option");
    }
    assert_eq!(of_unit("ExecReload"), ["/bin/kill -HUP $MAINPID"]);
}

#[test]
fn every_subcommand_is_completed_and_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("share/man1");
    assert_eq!(souk(&["man", pages.to_str().unwrap()]), "");
    let bash = souk(&["completions", "bash"]);
    let scripts = ["zsh", "fish", "elvish", "powershell"].map(|shell| souk(&["completions", shell]));
    for name in subcommands().into_iter().filter(|name| name != "help") {
        assert!(scripts.iter().chain([&bash]).all(|script| script.contains(&name)), "{name} is not completed");
        let page = fs::read_to_string(pages.join(format!("souk-{name}.1"))).unwrap();
        assert!(page.contains(".SH DESCRIPTION") && page.contains(r"\-\-config"), "{page}");
    }
    assert!(fs::read_to_string(pages.join("souk.1")).unwrap().contains("souk\\-serve(1)"));
    let mut shell = Command::new("bash").args(["-n"]).stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(bash.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success(), "bash cannot read it");
}
