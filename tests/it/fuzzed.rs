//! The targets of the fuzzers with their seeds, and with inputs that are made of these by chance: a few thousand of
//! each, the same in every run. The fuzzers themselves need another compiler and minutes (docs/SECURITY.md).

use std::{collections::BTreeSet, fs, path::Path};

#[path = "../../fuzz/targets.rs"]
mod targets;

use targets::{TARGETS, run};

/// How many inputs are made for each target, unless [`MORE`] says another number.
const INPUTS: usize = 2_000;
/// The variable for a longer run.
const MORE: &str = "FUZZED_INPUTS";
/// Texts at which parsers decide something.
const WORDS: [&str; 24] = [
    "\"",
    "\\",
    ",",
    ";",
    "=",
    "&",
    "%",
    "%00",
    "{",
    "}",
    "[",
    "]",
    ":",
    "\n",
    "\r\n",
    "\t",
    "\u{0}",
    "\u{feff}",
    "é",
    "\u{202e}",
    "😀",
    "-1",
    "18446744073709551616",
    "W/",
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let files = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

/// An input like this one: some of it is cut out, doubled, changed, or replaced by a word or by a part of another one.
fn varied(chance: &mut fastrand::Rng, seed: &[u8], other: &[u8]) -> Vec<u8> {
    let mut input = seed.to_vec();
    for _ in 0..chance.usize(1..=4) {
        let from = chance.usize(0..=input.len());
        let to = (from + chance.usize(0..=8)).min(input.len());
        let new: Vec<u8> = match chance.u8(0..5) {
            0 => Vec::new(),
            1 => input[from..to].repeat(2),
            2 => vec![chance.u8(..)],
            3 => WORDS[chance.usize(..WORDS.len())].into(),
            _ => {
                let begin = chance.usize(0..=other.len());
                other[begin..(begin + chance.usize(0..=32)).min(other.len())].to_vec()
            }
        };
        input.splice(from..to, new);
    }
    input
}

#[test]
fn no_input_makes_a_parser_fail() {
    let inputs = std::env::var(MORE).map_or(INPUTS, |number| number.parse().unwrap());
    for (number, (target, _)) in TARGETS.iter().enumerate() {
        let seeds = seeds(target);
        assert!(seeds.len() > 1, "{target} has too few seeds");
        seeds.iter().for_each(|seed| run(target, seed));
        let mut chance = fastrand::Rng::with_seed(number as u64);
        for _ in 0..inputs {
            let [seed, other] = [(); 2].map(|()| &seeds[chance.usize(..seeds.len())]);
            let input = varied(&mut chance, seed, other);
            let outcome = std::panic::catch_unwind(|| run(target, &input));
            assert!(outcome.is_ok(), "{target} fails for {:?}", String::from_utf8_lossy(&input));
        }
    }
}

#[test]
fn every_target_has_a_fuzzer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml")).unwrap().parse().unwrap();
    let programs: BTreeSet<_> =
        manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap()).collect();
    assert_eq!(programs, TARGETS.iter().map(|(name, _)| *name).collect());
    for name in programs {
        let source = fs::read_to_string(root.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(source.contains(&format!("targets::run(\"{name}\", input)")), "{source}");
    }
}
