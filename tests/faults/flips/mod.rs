//! One flipped bit, a file cut short, a file that is gone: in every kind of file that a shop's directory has.
//!
//! A shop is made once. Each place is damaged in a copy: `souk verify` looks at it, and a shop is started on it.
//! Whatever comes of that must be one of these, and never silence over something lost:
//!
//! - *refused*: the start names what is damaged, and is not a panic;
//! - *healed*: it starts, says so or the check did, and everybody is shown what they were shown before;
//! - *told*: the entity that is damaged answers 5xx, and the check names it; everything else is shown as before. Or the
//!   start names a file that is lost for good, which only the provider's ledger may be;
//! - *harmless*: nothing is lost and nothing needs to be said, as with a bit behind the end of the log.
//!
//! Each pass damages every kind of file in three ways; every second pass has a shop whose log has lost its beginning,
//! so that nothing but the base could make a lost state again. `--cycles` counts places; a short run is one pass with
//! one damage for each kind.

mod place;
pub(crate) mod shop;

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use souk::verify::{self, Source, Subject, Verdict};

use self::{
    place::{Damage, Kind, Place},
    shop::{Original, Picture, Started},
};
use crate::{Figure, Length, Outcome};

/// What undamaged copies are like.
struct Expected {
    picture: Picture,
    /// Of what a restore makes.
    restored: Counts,
}

/// What came of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Refused,
    Healed,
    Told,
    Harmless,
}

/// How much there is of everything in a directory.
type Counts = BTreeMap<&'static str, u64>;
/// The counts of a kind of file.
type Fates = BTreeMap<Fate, u64>;

pub(crate) async fn run(length: Length) -> Outcome {
    let mut random = fastrand::Rng::with_seed(length.seed);
    let (mut places, mut violations) = (0, Vec::new());
    let mut found: BTreeMap<Kind, Fates> = BTreeMap::new();
    // The seed says with which shop a short run is content.
    let mut pass = length.seed % 2;
    while violations.is_empty() && length.goes_on(places, 1) {
        let mut original = Original::make(pass % 2 == 1).await;
        let expected = sound(&mut original).await;
        let scratch = tempfile::tempdir().unwrap();
        let data = scratch.path().join("shop");
        restore(&original.backup(), &data).unwrap();
        let expected = Expected { picture: expected, restored: counts(&original, &data).await.unwrap() };
        for (kind, files) in place::kinds(&original) {
            let mut damages = Damage::ALL;
            random.shuffle(&mut damages);
            // A short run has one of each kind, so that it looks at all of them in its time.
            let count = if length.is_long() { damages.len() } else { 1 };
            for damage in damages.into_iter().take(count) {
                let Some(file) = random.choice(&files) else { continue };
                let place = Place::choose(&original, kind, file, damage, &mut random);
                match try_out(&mut original, &expected, &place).await {
                    Ok(fate) => *found.entry(kind).or_default().entry(fate).or_default() += 1,
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
    let mut sum = Fates::new();
    for (kind, fates) in &found {
        println!("  {:<44} {}", kind.what(), tell(fates));
        fates.iter().for_each(|(fate, count)| *sum.entry(*fate).or_default() += count);
    }
    let silent = violations.len();
    Ok(Figure { figure: format!("{places} places: {}, silent or wrong {silent}", tell(&sum)), violations })
}

fn tell(fates: &Fates) -> String {
    let of = |fate| fates.get(&fate).copied().unwrap_or_default();
    let (refused, healed, told, harmless) = (of(Fate::Refused), of(Fate::Healed), of(Fate::Told), of(Fate::Harmless));
    let (detected, all) = (refused + healed + told, refused + healed + told + harmless);
    format!(
        "detected {detected}/{} (refused {refused}, healed {healed}, told {told}), harmless {harmless}",
        all - harmless
    )
}

/// What an undamaged copy shows: the measure of all others.
pub(crate) async fn sound(original: &mut Original) -> Picture {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("shop");
    copy(&original.data(), &data);
    let before = check(original, &data).await;
    assert!(before.is_clean(), "{:?}\n{}", before.stopped, before.report);
    let Started::Running(shop) = original.start(&data) else { panic!("a copy does not start") };
    let picture = original.picture(&shop).await.unwrap();
    assert_eq!(shop.said(), "", "an undamaged copy has nothing to say");
    for (look, (status, body)) in &picture {
        assert_eq!(*status, 200, "{look:?}: {body}");
    }
    picture
}

pub(crate) async fn check(original: &Original, data: &Path) -> Verdict {
    let shop = Source::Directory(data.to_owned());
    verify::verify(Subject { history: Some(original.history()), ledger: None, shop }).await
}

/// Quick where the file system shares blocks, and where a segment's tail is a hole.
pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", "--reflink=auto", "--sparse=always"]).args([from, to]).status();
    assert!(copied.unwrap().success());
}

/// What a check found and why it stopped, in a line for each.
pub(crate) fn findings(verdict: &Verdict) -> Vec<String> {
    let found = verdict.report.findings.iter().map(|finding| format!("{} {}", finding.subject, finding.what));
    found.chain(verdict.stopped.as_ref().map(ToString::to_string)).collect()
}

/// Damages a place in a copy and sees what comes of it; the error says what was silent or wrong.
async fn try_out(original: &mut Original, expected: &Expected, place: &Place) -> Result<Fate, String> {
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
        Started::Refused(said, _) => return refused(&said, place).map(|()| Fate::Refused),
        Started::Running(shop) => shop,
    };
    let shown = original.picture(&shop).await;
    let said = shop.said();
    drop(shop);
    let after = findings(&check(original, &data).await);
    // What the check says of the damage where no shop was started on it: another copy, for a start changes things.
    let untouched = scratch.path().join("untouched");
    let before = async |original: &Original| {
        damaged(original, place, &untouched);
        findings(&check(original, &untouched).await)
    };
    let shown = shown.map_err(|what| format!("{what}; it said: {said}"))?;
    let differs: Vec<_> = expected.picture.iter().filter(|(look, answer)| shown.get(look) != Some(answer)).collect();
    let fails = |look| shown.get(look).is_some_and(|(status, _)| *status >= 500);
    if let Some((look, (_, body))) = differs.iter().find(|(look, _)| !fails(look)) {
        return Err(format!("{look:?} was {body} and is {:?}; it said: {said}", shown.get(look)));
    }
    if !differs.is_empty() {
        let failing: Vec<_> = differs.iter().map(|(look, _)| look).collect();
        let found = before(original).await;
        println!("  {place}: {} of {} answers fail; the check: {:?}", failing.len(), shown.len(), found.first());
        return if !found.is_empty() {
            Ok(Fate::Told)
        } else {
            Err(format!("{failing:?} fail, and the check knows nothing"))
        };
    }
    match (said.is_empty(), after.is_empty()) {
        (false, true) => Ok(Fate::Healed),
        (true, true) if before(original).await.is_empty() => Ok(Fate::Harmless),
        (true, true) => Ok(Fate::Healed),
        // The provider's ledger cannot be made again, and without it there is nothing to hold the orders against.
        (false, false) if place.kind == Kind::Ledger => Ok(Fate::Told),
        // A start has no use for the log before the checkpoint, nor for a base while the state is whole, and cannot
        // mend either.
        (_, false) if place.kind.stays_damaged() && !before(original).await.is_empty() => Ok(Fate::Healed),
        (_, false) => Err(format!("after the start there is something wrong: {after:?}; it said: {said}")),
    }
}

/// A copy with the damage in it.
fn damaged(original: &Original, place: &Place, to: &Path) {
    copy(&original.data(), to);
    place.damage_in(to);
}

/// A refusal says where the damage is, in a message and not in a panic.
fn refused(said: &str, place: &Place) -> Result<(), String> {
    let message = said.lines().find(|line| line.starts_with("souk: ")).unwrap_or_default();
    if message.is_empty() || said.contains("panicked") {
        return Err(format!("it ends without a message: {said}"));
    }
    // Of a file that is gone the directory may be all that is known.
    let names = place.names();
    let is_named = names.iter().any(|name| message.contains(name));
    if is_named { Ok(()) } else { Err(format!("the refusal names none of {names:?}: {message}")) }
}

/// A damaged backup is refused by its restore, or makes the same shop.
async fn restored(
    original: &Original,
    backup: &Path,
    data: &Path,
    place: &Place,
    expected: &Counts,
) -> Result<Fate, String> {
    if let Err(said) = restore(backup, data) {
        refused(&said, place)?;
        let nothing = fs::read_dir(data).map_or(true, |mut entries| entries.next().is_none());
        return if nothing { Ok(Fate::Refused) } else { Err("a refused restore left a data directory".into()) };
    }
    match counts(original, data).await? {
        counts if counts == *expected => Ok(Fate::Harmless),
        counts => Err(format!("a restore made another shop: {counts:?}, not {expected:?}")),
    }
}

fn restore(backup: &Path, data: &Path) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
    let command = command.arg("--data-dir").arg(data).arg("restore").arg(backup).env("SOUK_LOG", "error");
    let output = command.output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// How much a check finds of everything in a directory that is whole.
async fn counts(original: &Original, data: &Path) -> Result<Counts, String> {
    let shop = Source::Directory(data.to_owned());
    let verdict = verify::verify(Subject { history: None, ledger: Some(original.ledger()), shop }).await;
    if verdict.is_clean() { Ok(verdict.report.looked_at) } else { Err(format!("{:?}", findings(&verdict))) }
}
