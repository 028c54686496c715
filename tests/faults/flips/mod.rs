//! A flipped bit, a truncated file, a missing file: for every kind of file in a shop's directory.
//!
//! A shop is created once. Each place is damaged in a copy: `souk verify` checks it, and a shop is started on it. The
//! result must be one of these, and a loss must never go unnoticed:
//!
//! - *refused*: the start names the damage, without a panic;
//! - *healed*: it starts, its log or the check reports the damage, and everybody reads what they read before;
//! - *reported*: the damaged entity answers 5xx, and the check names it; everything else is as before. Or the
//!   start names a file that is lost for good, which only the provider's ledger may be;
//! - *harmless*: nothing is lost and nothing needs to be reported, as with a bit after the end of the log.
//!
//! Each pass damages every kind of file in three ways; every second pass has a shop whose log has lost its beginning,
//! so that only the base could restore a lost state. `--cycles` counts places; a short run is one pass with one damage
//! for each kind.

mod place;
pub(crate) mod shop;

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use souk::internals::verify::{self, Source, Subject, Verdict};

use self::{
    place::{Damage, Kind, Place},
    shop::{Original, Responses, Started},
};
use crate::{Figure, Length, Outcome};

/// The results for undamaged copies.
struct Expected {
    responses: Responses,
    /// The counts after a restore.
    restored: Counts,
}

/// How the shop reacts to the damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reaction {
    Refused,
    Healed,
    Reported,
    Harmless,
}

/// The number of objects of each kind in a directory.
type Counts = BTreeMap<&'static str, u64>;
/// How often each reaction occurred.
type Reactions = BTreeMap<Reaction, u64>;

pub(crate) async fn run(length: Length) -> Outcome {
    let mut random = fastrand::Rng::with_seed(length.seed);
    let (mut places, mut violations) = (0, Vec::new());
    let mut found: BTreeMap<Kind, Reactions> = BTreeMap::new();
    // The seed decides which of the two shops a short run uses.
    let mut pass = length.seed % 2;
    while violations.is_empty() && length.goes_on(places, 1) {
        let mut original = Original::make(pass % 2 == 1).await;
        let expected = sound(&mut original).await;
        let scratch = tempfile::tempdir().unwrap();
        let data = scratch.path().join("shop");
        restore(&original.backup(), &data).unwrap();
        let expected = Expected { responses: expected, restored: counts(&original, &data).await.unwrap() };
        for (kind, files) in place::kinds(&original) {
            let mut damages = Damage::ALL;
            random.shuffle(&mut damages);
            // A short run has one damage for each kind of file, so that it covers all kinds in its time.
            let count = if length.is_long() { damages.len() } else { 1 };
            for damage in damages.into_iter().take(count) {
                let Some(file) = random.choice(&files) else { continue };
                let place = Place::choose(&original, kind, file, damage, &mut random);
                match start_damaged(&mut original, &expected, &place).await {
                    Ok(reaction) => *found.entry(kind).or_default().entry(reaction).or_default() += 1,
                    Err(what) => violations.push(format!("{place}: {what}")),
                }
                places += 1;
            }
        }
        pass += 1;
    }
    for missing in Kind::ALL.iter().filter(|kind| !found.contains_key(kind)) {
        violations.push(format!("nothing was damaged of this kind: {missing:?}"));
    }
    let mut sum = Reactions::new();
    for (kind, reactions) in &found {
        println!("  {:<44} {}", kind.what(), summary(reactions));
        reactions.iter().for_each(|(reaction, count)| *sum.entry(*reaction).or_default() += count);
    }
    let silent = violations.len();
    Ok(Figure { figure: format!("{places} places: {}, unnoticed or wrong {silent}", summary(&sum)), violations })
}

fn summary(reactions: &Reactions) -> String {
    let of = |reaction| reactions.get(&reaction).copied().unwrap_or_default();
    let (refused, healed, reported, harmless) =
        (of(Reaction::Refused), of(Reaction::Healed), of(Reaction::Reported), of(Reaction::Harmless));
    let (detected, all) = (refused + healed + reported, refused + healed + reported + harmless);
    format!(
        "detected {detected}/{} (refused {refused}, healed {healed}, reported {reported}), harmless {harmless}",
        all - harmless
    )
}

/// The answers of an undamaged copy, with which all others are compared.
pub(crate) async fn sound(original: &mut Original) -> Responses {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("shop");
    copy(&original.data(), &data);
    let before = check(original, &data).await;
    assert!(before.is_clean(), "{:?}\n{}", before.stopped, before.report);
    let Started::Running(shop) = original.start(&data) else { panic!("a copy does not start") };
    let responses = original.responses(&shop).await.unwrap();
    assert_eq!(shop.stderr(), "", "an undamaged copy logs nothing");
    for (request, (status, body)) in &responses {
        assert_eq!(*status, 200, "{request:?}: {body}");
    }
    responses
}

pub(crate) async fn check(original: &Original, data: &Path) -> Verdict {
    let shop = Source::Directory(data.to_owned());
    verify::verify(Subject { history: Some(original.history()), ledger: None, shop }).await
}

/// Fast if the file system shares blocks; the unwritten end of a segment stays sparse.
pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", "--reflink=auto", "--sparse=always"]).args([from, to]).status();
    assert!(copied.unwrap().success());
}

/// The findings of a check and the reason why it stopped, one line each.
pub(crate) fn findings(verdict: &Verdict) -> Vec<String> {
    let found = verdict.report.findings.iter().map(|finding| format!("{} {}", finding.subject, finding.what));
    found.chain(verdict.stopped.as_ref().map(ToString::to_string)).collect()
}

/// Damages a place in a copy and returns the result; the error is a loss without a report, or another violation.
async fn start_damaged(original: &mut Original, expected: &Expected, place: &Place) -> Result<Reaction, String> {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("shop");
    if place.kind.is_of_backup() {
        let backup = scratch.path().join("backup");
        copy(&original.backup(), &backup);
        place.damage_in(&backup);
        return restored(original, &backup, &data, place, &expected.restored).await;
    }
    damaged(original, place, &data);
    let shop = match original.start(&data) {
        Started::Refused(stderr, _) => return refused(&stderr, place).map(|()| Reaction::Refused),
        Started::Running(shop) => shop,
    };
    let shown = original.responses(&shop).await;
    let stderr = shop.stderr();
    drop(shop);
    let after = findings(&check(original, &data).await);
    // The findings of a check before any start: in another copy, because a start changes things.
    let untouched = scratch.path().join("untouched");
    let before = async |original: &Original| {
        damaged(original, place, &untouched);
        findings(&check(original, &untouched).await)
    };
    let shown = shown.map_err(|what| format!("{what}; it said: {stderr}"))?;
    let differs: Vec<_> =
        expected.responses.iter().filter(|(request, answer)| shown.get(request) != Some(answer)).collect();
    let fails = |request| shown.get(request).is_some_and(|(status, _)| *status >= 500);
    if let Some((request, (_, body))) = differs.iter().find(|(request, _)| !fails(request)) {
        return Err(format!("{request:?} was {body} and is {:?}; it said: {stderr}", shown.get(request)));
    }
    if !differs.is_empty() {
        let failing: Vec<_> = differs.iter().map(|(request, _)| request).collect();
        let found = before(original).await;
        println!("  {place}: {} of {} answers fail; the check: {:?}", failing.len(), shown.len(), found.first());
        return if !found.is_empty() {
            Ok(Reaction::Reported)
        } else {
            Err(format!("{failing:?} fail, and the check finds nothing"))
        };
    }
    match (stderr.is_empty(), after.is_empty()) {
        (false, true) => Ok(Reaction::Healed),
        (true, true) if before(original).await.is_empty() => Ok(Reaction::Harmless),
        (true, true) => Ok(Reaction::Healed),
        // The provider's ledger cannot be restored, and without it the orders cannot be checked.
        (false, false) if place.kind == Kind::Ledger => Ok(Reaction::Reported),
        // A start does not read the log before the checkpoint, nor a base while the state is complete, and cannot
        // repair either.
        (_, false) if place.kind.stays_damaged() && !before(original).await.is_empty() => Ok(Reaction::Healed),
        (_, false) => Err(format!("after the start there is something wrong: {after:?}; it said: {stderr}")),
    }
}

/// A copy with the damage.
fn damaged(original: &Original, place: &Place, to: &Path) {
    copy(&original.data(), to);
    place.damage_in(to);
}

/// A refusal names the damage, in a message and not in a panic.
fn refused(stderr: &str, place: &Place) -> Result<(), String> {
    let message = stderr.lines().find(|line| line.starts_with("souk: ")).unwrap_or_default();
    if message.is_empty() || stderr.contains("panicked") {
        return Err(format!("it ends without a message: {stderr}"));
    }
    // If the file is missing, the message may only know its directory.
    let names = place.names();
    let is_named = names.iter().any(|name| message.contains(name));
    if is_named { Ok(()) } else { Err(format!("the refusal names none of {names:?}: {message}")) }
}

/// A damaged backup is refused by its restore, or restores the same shop.
async fn restored(
    original: &Original,
    backup: &Path,
    data: &Path,
    place: &Place,
    expected: &Counts,
) -> Result<Reaction, String> {
    if let Err(stderr) = restore(backup, data) {
        refused(&stderr, place)?;
        let nothing = fs::read_dir(data).map_or(true, |mut entries| entries.next().is_none());
        return if nothing { Ok(Reaction::Refused) } else { Err("a refused restore left a data directory".into()) };
    }
    match counts(original, data).await? {
        counts if counts == *expected => Ok(Reaction::Harmless),
        counts => Err(format!("a restore made another shop: {counts:?}, not {expected:?}")),
    }
}

fn restore(backup: &Path, data: &Path) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
    let command = command.arg("--data-dir").arg(data).arg("restore").arg(backup).env("SOUK_LOG", "error");
    let output = command.output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// The number of objects of each kind that a check finds in an intact directory.
async fn counts(original: &Original, data: &Path) -> Result<Counts, String> {
    let shop = Source::Directory(data.to_owned());
    let verdict = verify::verify(Subject { history: None, ledger: Some(original.ledger()), shop }).await;
    if verdict.is_clean() { Ok(verdict.report.looked_at) } else { Err(format!("{:?}", findings(&verdict))) }
}
