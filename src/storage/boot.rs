//! The start of a journal: finds out what is in its directory, and refuses what is incomplete.
//!
//! No path through this file turns data that is missing into an empty shop. Depends on `log`, `manifest`, `state` and
//! `checkpoint`.

use std::{
    hash::{BuildHasher, RandomState},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;

use super::{
    batch::{Header, Link, records},
    checkpoint,
    errors::{Damage, Fault, OpenError},
    files::Files,
    limits::JournalLimits,
    log::{self, Recovered},
    manifest::{Known, Manifest},
    memtable::{Kept, Memtable},
    read_models::ReadModels,
    record::{Position, Stream},
    retention::{
        base::{self, Base},
        rebuild::rebuild,
    },
    segment::Segment,
    shared::Target,
    state::{State, Unopened},
    watchdog::Watchdog,
};

/// What a start found.
pub(super) struct Booted {
    pub store: u64,
    pub state: Arc<State>,
    pub read_models: ReadModels,
    pub manifest: Arc<Manifest>,
    pub memtable: Memtable,
    pub log: Recovered,
    /// Every segment, in order.
    pub segments: Vec<Segment>,
    pub checkpoint: Link,
    pub base: Option<Base>,
}

/// The parts of a journal, apart from its lock.
pub(super) const PARTS: [&str; 4] = ["manifest", "log", "base", "state"];

/// Reads manifest, log and base, and opens or rebuilds the state. The caller holds the lock.
pub(super) fn boot(
    dir: &Path,
    files: &Arc<dyn Files>,
    limits: &JournalLimits,
    watchdog: &Arc<Watchdog>,
) -> Result<Booted, OpenError> {
    let log_dir = dir.join("log");
    let base_dir = dir.join("base");
    let state_dir = dir.join("state");
    for dir in [dir, &log_dir] {
        files.create_dir(dir).map_err(Fault::io(format!("create {}", dir.display())))?;
    }
    files.sync_dir(dir).map_err(Fault::io(format!("sync {}", dir.display())))?;
    let firsts = log::segment_positions(files.as_ref(), &log_dir)?;
    let known = match Manifest::read(files.as_ref(), dir)? {
        Some(known) => known,
        // The manifest of a new store becomes durable before anything else is written.
        None if firsts.is_empty() && !state_dir.exists() && no_base(files.as_ref(), &base_dir)? => {
            Known { store: new_store_id(), ..Known::default() }
        }
        None => return Err(OpenError::ManifestMissing(dir.to_owned())),
    };
    let store = known.store;
    let manifest = Arc::new(Manifest::new(Arc::clone(files), dir.to_owned(), known));
    manifest.update(|_| {})?;
    if known.segment.is_some_and(|newest| firsts.last().is_none_or(|last| *last < newest)) {
        let end = Position(firsts.last().copied().unwrap_or(0));
        return Err(OpenError::Short { log: log_dir, known: known.position, segment: known.segment, end });
    }
    let mut segments = log::open_segments(files.as_ref(), &log_dir, store, &firsts)?;
    if segments.is_empty() {
        let segment = Segment::create(files.as_ref(), &log_dir, (store, 0, limits.segment_bytes), &mut || {});
        segments.push(segment.map_err(Fault::io(format!("make the first segment in {}", log_dir.display())))?);
    }
    let newest = segments.last().map(|segment| segment.first);
    manifest.update(|known| known.segment = newest)?;
    let oldest = Position(segments[0].first);
    let found = base::newest(files.as_ref(), &base_dir, store);
    if let Err(error) = &found {
        tracing::error!(%error, "the base is unusable; the next one is taken soon");
    }
    let opener = StateOpener { state_dir: &state_dir, files: files.as_ref(), manifest: &manifest, limits, watchdog };
    let (state, read_models, from) = opener.open_state(&known, oldest, &found)?;

    let memtable = Memtable::new();
    let target = Target {
        memtable: &memtable,
        state: &state,
        read_models: &read_models,
        manifest: &manifest,
        slice_bytes_max: limits.slice_bytes_max,
    };
    let log = {
        let mut on_batch = |header: &Header, payload: &[u8]| take_in(&target, limits, &segments, header, payload);
        log::recover(segments.clone(), store, from, &mut on_batch)?
    };
    if log.link.end < known.position {
        let (segment, end) = (known.segment, log.link.end);
        return Err(OpenError::Short { log: log_dir, known: known.position, segment, end });
    }
    Ok(Booted {
        store,
        state,
        read_models,
        manifest,
        memtable,
        log,
        segments,
        checkpoint: from,
        base: found.ok().flatten(),
    })
}

fn no_base(files: &dyn Files, dir: &Path) -> Result<bool, OpenError> {
    Ok(files.list(dir).map_err(Fault::io(format!("list {}", dir.display())))?.is_empty())
}

/// What a state is opened or rebuilt with.
struct StateOpener<'a> {
    state_dir: &'a Path,
    files: &'a dyn Files,
    manifest: &'a Manifest,
    limits: &'a JournalLimits,
    watchdog: &'a Arc<Watchdog>,
}

impl StateOpener<'_> {
    /// Opens the state and returns from where on the log has to be replayed into it. A state that cannot be used is
    /// moved aside and rebuilt from the base and the log, which are the source of truth.
    fn open_state(
        &self,
        known: &Known,
        oldest: Position,
        base: &Result<Option<Base>, Fault>,
    ) -> Result<Found, OpenError> {
        let dir = self.state_dir;
        let was_there = dir.exists();
        let why = match self.try_state(known)? {
            Ok((state, read_models, link)) if link.end >= oldest => return Ok((state, read_models, link)),
            Ok((state, _, link)) => {
                state.close();
                format!("its checkpoint is at byte {}, before the log begins", link.end.0)
            }
            Err(why) => why,
        };
        let lost = |why: String| OpenError::CannotRebuild { state: dir.to_owned(), why, oldest };
        let base = match base {
            Ok(Some(base)) if base.link.end >= oldest => Some(base),
            Ok(_) if oldest == Position::BEGINNING => None,
            Ok(_) => return Err(lost(why)),
            Err(_) if oldest == Position::BEGINNING => None,
            Err(error) => return Err(lost(format!("{why}; {error}"))),
        };
        self.move_away(was_there, &why)?;
        match base.map(|base| self.state_of_base(known, base)) {
            Some(Ok(found)) => return Ok(found),
            Some(Err(error)) if oldest > Position::BEGINNING => {
                return Err(lost(format!("{why}; {error}")));
            }
            Some(Err(error)) => {
                tracing::error!(%error, "the base is unusable; the state is rebuilt from the whole log");
                self.move_away(false, &why)?;
            }
            None => {}
        }
        self.new_state(known)
    }

    /// A state that the start found is kept for inspection; one that this start made itself is removed.
    fn move_away(&self, was_there: bool, why: &str) -> Result<(), OpenError> {
        if was_there {
            let aside = State::move_aside(self.state_dir)?;
            tracing::error!(%why, aside = %aside.display(), "the state is unusable: it was moved aside and is rebuilt");
            return self.expect_no_length();
        }
        tracing::warn!("there is no state: it is rebuilt");
        Ok(State::remove(self.state_dir)?)
    }

    /// From here on sled may cut its file, and nobody notices when, until a checkpoint of the running journal.
    fn expect_no_length(&self) -> Result<(), OpenError> {
        if self.manifest.state_bytes() > 0 {
            self.manifest.update(|known| known.state_bytes = 0)?;
        }
        Ok(())
    }

    fn new_state(&self, known: &Known) -> Result<Found, OpenError> {
        let again = |why| OpenError::Fault(Fault::State(format!("a new state is unusable, too: {why}")));
        let nothing_known = Known { checkpoint: Position::BEGINNING, state_bytes: 0, ..*known };
        self.try_state(&nothing_known)?.map_err(again)
    }

    fn state_of_base(&self, known: &Known, base: &Base) -> Result<Found, OpenError> {
        let (state, read_models, _) = self.new_state(known)?;
        let file = self.files.open(&base.path).map_err(Fault::io(format!("open {}", base.path.display())))?;
        let reader = base::BaseReader::open(file, base.path.clone(), known.store)?;
        match rebuild(&state, reader, self.limits.slice_bytes_max) {
            Ok(link) => Ok((state, read_models, link)),
            Err(fault) => {
                state.close();
                Err(fault.into())
            }
        }
    }

    /// The state with its read models and its last checkpoint, or why it cannot be used.
    fn try_state(&self, known: &Known) -> Result<Result<Found, String>, OpenError> {
        if let Err(why) = State::check_length(self.state_dir, known.state_bytes) {
            return Ok(Err(why));
        }
        self.expect_no_length()?;
        let state = match State::open(self.state_dir, self.limits.state_cache_bytes, self.watchdog) {
            Ok(state) => Arc::new(state),
            Err(Unopened::Damaged(why)) => return Ok(Err(why)),
            Err(Unopened::Refused(fault)) => return Err(fault.into()),
        };
        let opened = checkpoint::stored_mark(&state, known.store).and_then(|mark| {
            if mark.is_none() {
                checkpoint::claim(&state, known.store)?;
            }
            Ok((mark.unwrap_or_default(), ReadModels::open(Arc::clone(&state))?))
        });
        Ok(match opened {
            Ok((mark, _)) if mark.end < known.checkpoint => {
                state.close();
                Err(format!(
                    "its checkpoint is at byte {}, but there was one at byte {}",
                    mark.end.0, known.checkpoint.0
                ))
            }
            Ok((mark, read_models)) => Ok((state, read_models, mark)),
            Err(error) => {
                state.close();
                Err(error.to_string())
            }
        })
    }
}

type Found = (Arc<State>, ReadModels, Link);

/// Inserts the records of a batch into the memtable, and writes the memtable into the state when it is large.
fn take_in(
    target: &Target<'_>,
    limits: &JournalLimits,
    segments: &[Segment],
    header: &Header,
    payload: &[u8],
) -> Result<(), OpenError> {
    let damage = |what: &str| -> OpenError {
        let segment = segments.iter().rfind(|segment| segment.first <= header.position.0);
        let (file, offset) =
            segment.map(|segment| (segment.path.clone(), header.position.0 - segment.first)).unwrap_or_default();
        Damage { file, offset, what: what.to_owned() }.into()
    };
    let mut count = 0;
    for view in records(payload) {
        let view = view.ok_or_else(|| damage("the batch holds no records"))?;
        let stream = Stream::from_bytes(view.stream).ok_or_else(|| damage("a record has no stream"))?;
        let kept =
            Kept { sequence: view.sequence, version: view.version, payload: Bytes::copy_from_slice(view.payload) };
        if !target.memtable.insert(&stream, [kept]) {
            return Err(damage(&format!("record {} of {stream:?} does not follow the one before", view.sequence)));
        }
        count += 1;
    }
    if count != header.records {
        return Err(damage("the batch has another number of records than it says"));
    }
    if target.memtable.bytes() > limits.checkpoint_bytes() {
        checkpoint::still(target, header.link(), checkpoint::Moment::Start)?;
    }
    Ok(())
}

/// Random, so that no payload can imitate a batch. It need not withstand an attacker who can read the directory.
fn new_store_id() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
