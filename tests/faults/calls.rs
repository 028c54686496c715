//! One call on a file fails: the real binary runs under strace, which makes the Nth write, sync, rename, open … of one
//! file fail with EIO or ENOSPC.
//!
//! First a rehearsal without a fault lists the calls: of a start on an empty directory, of a start on the directory of
//! a killed shop, and of a shop with customers until it has closed. Each of them, as the first, second … of its thread
//! on its file, is a fault point. Of a long row of equal calls (the zeros of a new segment are 256 writes) only the 1st
//! to 8th, 16th, 32nd … are tried. Whichever call fails, the shop must report the error and end, or continue without
//! it. It must start again on that directory, and then have everything that it acknowledged. A short run tries some
//! points of one stage; `--cycles` or `--minutes` go through all stages.
//!
//! Files with random names (those of the search index) can only be hit by the thread that writes them, in a running
//! shop; reads through mapped memory cannot be hit at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;

use crate::{
    Figure, Length, Outcome, Skipped,
    failed_call::{CUSTOMERS, Prepared, RunResult, Stage, run_with_failed_call},
    strace,
};

/// How many fault points a short run tries, and for how long: fewer on a busy machine.
const POINTS: u64 = 8;
const SHORT: Duration = Duration::from_secs(15);
/// How many points are tried at once, each in a shop of its own: they mostly wait.
const AT_ONCE: usize = 4;
/// The threads that write the search index; they open and write no other files.
const INDEX_THREADS: &str = "thrd-tantivy";
/// The calls that create or change files. Those that do not exist on this machine's architecture are left out.
const CALLS: &str = "?open,openat,?creat,write,writev,pwrite64,pwritev,pwritev2,copy_file_range,fsync,fdatasync,\
    sync_file_range,msync,?rename,renameat,renameat2,?link,linkat,?unlink,unlinkat,?mkdir,mkdirat,ftruncate,fallocate";

/// The file whose call fails.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// The file or directory with this path in the data directory.
    File(PathBuf),
    /// Any file: for calls that occur only on files with random names.
    Anywhere,
    /// In the threads of the search index.
    Index,
}

/// A call that has to fail.
#[derive(Debug, Clone)]
struct Point {
    stage: Stage,
    call: String,
    place: Place,
    nth: u64,
    error: &'static str,
}

impl Point {
    fn options(&self, data: &Path) -> Vec<String> {
        let Self { call, nth, error, .. } = self;
        let mut options = vec![format!("-etrace={call}"), format!("-einject={call}:error={error}:when={nth}")];
        if let Place::File(name) = &self.place {
            // Joining an empty path would append a slash, which no call has.
            let path = if name.as_os_str().is_empty() { data.to_owned() } else { data.join(name) };
            options.extend(["-P".to_owned(), path.display().to_string()]);
        }
        options
    }

    fn threads(&self) -> Option<&'static str> {
        (self.place == Place::Index).then_some(INDEX_THREADS)
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = match &self.place {
            Place::File(name) => format!("./{}", name.display()),
            Place::Anywhere => "any file".into(),
            Place::Index => "a file of the index".into(),
        };
        write!(formatter, "{:?}, {} of {} {place}: {}", self.stage, self.nth, self.call, self.error)
    }
}

/// Whether the name differs between runs.
fn is_random(name: &Path) -> bool {
    let name = name.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(".tmp") || name.split('.').next().is_some_and(|stem| stem.len() == 32)
}

/// The thread and the name of a call, with the files of the data directory in its arguments. A call is in the trace as
/// one line, or as its beginning and its end; the end starts with dots and names the file that it opened.
fn call_in<'a>(line: &'a str, data: &str) -> Option<(&'a str, &'a str, Vec<PathBuf>)> {
    let (thread, rest) = line.split_once(char::is_whitespace)?;
    let (call, arguments) = rest.trim_start().split_once('(')?;
    // The result of the call is the file that it opened, which is the same one.
    let arguments = arguments.rsplit_once(" = ").map_or(arguments, |(arguments, _)| arguments);
    let mut names: Vec<PathBuf> = Vec::new();
    for (at, _) in arguments.match_indices(data) {
        let name = arguments[at + data.len()..].split(['"', '>']).next()?;
        names.push(name.trim_start_matches('/').into());
    }
    names.dedup();
    call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some((thread, call, names))
}

/// Which of a row of equal calls are tried.
fn tried(calls: u64) -> impl Iterator<Item = u64> {
    (1..=8).chain((4..).map(|power| 1 << power)).take_while(move |nth| *nth <= calls)
}

/// The fault points of a stage, from the trace of its rehearsal.
fn points_in(stage: Stage, trace: &str, data: &Path) -> Vec<Point> {
    let mut rows: BTreeMap<(&str, String, Place), u64> = BTreeMap::new();
    for (thread, call, names) in trace.lines().filter_map(|line| call_in(line, &data.display().to_string())) {
        let on_anything = matches!(call, "open" | "openat" | "write" | "writev" | "pwritev" | "pwritev2");
        let mut places: BTreeSet<Place> = BTreeSet::new();
        for name in names {
            match is_random(&name) {
                false => places.insert(Place::File(name)),
                true if !on_anything => places.insert(Place::Anywhere),
                true if stage == Stage::Serving => places.insert(Place::Index),
                true => false,
            };
        }
        for place in places {
            *rows.entry((thread, call.to_owned(), place)).or_default() += 1;
        }
    }
    // A row consists of the calls of one thread; the longest row has the points of all.
    let mut longest: BTreeMap<(String, Place), u64> = BTreeMap::new();
    for ((_, call, place), calls) in rows {
        let known = longest.entry((call, place)).or_default();
        *known = calls.max(*known);
    }
    let points = longest.into_iter().flat_map(|((call, place), calls)| {
        let errors = ["EIO", "ENOSPC"].into_iter();
        tried(calls).flat_map(move |nth| {
            let (call, place) = (call.clone(), place.clone());
            errors.clone().map(move |error| Point { stage, call: call.clone(), place: place.clone(), nth, error })
        })
    });
    points.collect()
}

async fn rehearse(stage: Stage, prepared: &Prepared) -> (Vec<Point>, Vec<String>) {
    let options = |_: &Path| vec!["-y".into(), format!("-etrace={CALLS}")];
    let RunResult { trace, data, mut violations, how, .. } = run_with_failed_call(stage, None, options, prepared).await;
    let points = points_in(stage, &trace, &data);
    if how != "closed" || points.len() < 20 {
        violations.push(format!("the rehearsal of {stage:?} {how}, with {} points", points.len()));
    }
    (points, violations)
}

/// Tries a point on a thread of its own, because waiting for a process blocks.
async fn try_in_thread(point: Point, prepared: Arc<Prepared>) -> RunResult {
    let runtime = tokio::runtime::Handle::current();
    let trying = tokio::task::spawn_blocking(move || {
        runtime.block_on(run_with_failed_call(point.stage, point.threads(), |data| point.options(data), &prepared))
    });
    trying.await.expect("the run ends")
}

pub(crate) async fn run(length: Length) -> Outcome {
    strace::probe().map_err(Skipped)?;
    let mut random = fastrand::Rng::with_seed(length.seed);
    let long = length.is_long();
    let mut prepared = Arc::new(Prepared::new(CUSTOMERS).await);
    let all_stages = [Stage::Fresh, Stage::Again, Stage::Serving];
    let stages = if long { all_stages.to_vec() } else { vec![all_stages[random.usize(..all_stages.len())]] };
    let (mut points, mut violations) = (Vec::new(), Vec::new());
    for stage in &stages {
        let (found, wrong) = rehearse(*stage, &prepared).await;
        println!("  {stage:?}: {} fault points", found.len());
        points.extend(found);
        violations.extend(wrong);
    }
    let all = points.len();
    random.shuffle(&mut points);
    let (mut covered, mut missed, mut acknowledged) = (0, 0, 0);
    let began = Instant::now();
    let mut ways: BTreeMap<&'static str, u64> = BTreeMap::new();
    for points in points.chunks(AT_ONCE) {
        let over = !long && covered > 0 && began.elapsed() > SHORT;
        if over || violations.len() > 10 || !length.goes_on(covered + missed, POINTS) {
            break;
        }
        if prepared.is_old() {
            prepared = Arc::new(Prepared::new(CUSTOMERS).await);
        }
        let trying = points.iter().cloned().map(|point| try_in_thread(point, Arc::clone(&prepared)));
        for (point, tried) in points.iter().zip(join_all(trying).await) {
            violations.extend(tried.violations.into_iter().map(|violation| format!("{point}: {violation}")));
            acknowledged += tried.acknowledged;
            if tried.trace.contains("(INJECTED)") {
                covered += 1;
                *ways.entry(tried.how).or_default() += 1;
            } else {
                missed += 1;
            }
            if long {
                println!("  {point}: {}", tried.how);
            }
        }
    }
    if covered == 0 {
        violations.push("no call failed: nothing was tested".into());
    }
    let ways: Vec<String> = ways.iter().map(|(how, times)| format!("{times} {how}")).collect();
    let stages: Vec<String> = stages.iter().map(|stage| format!("{stage:?}")).collect();
    let figure = format!(
        "{covered} / {all} fault points covered in {} ({}), {missed} not met again / {acknowledged} acknowledged",
        stages.join(", "),
        ways.join(", ")
    );
    Ok(Figure { figure, violations })
}
