//! Builds a state from a base, when a start finds no state or a damaged one.
//!
//! Depends on `base`, `state` and `checkpoint`.

use super::base::{BaseEntry, BaseReader};
use crate::storage::{
    batch::Link,
    checkpoint,
    errors::Fault,
    layout::{self, run_entries, snapshot_entries},
    memtable::Kept,
    record::{Record, Stream},
    state::State,
};

/// Fills an empty state from a base, durably, and marks a checkpoint at its position.
///
/// # Errors
/// The base is damaged, or the state cannot be written. The state must then be thrown away.
pub(in crate::storage) fn rebuild(state: &State, base: BaseReader, slice_bytes_max: usize) -> Result<Link, Fault> {
    let mut builder = Builder { state, slice_bytes_max, entries: Vec::new(), bytes: 0, run: None };
    let base = base.read(&mut |entry| builder.take(entry))?;
    builder.end_run()?;
    builder.write()?;
    checkpoint::set_mark(state, base.link)?;
    Ok(base.link)
}

/// Collects entries and writes them slice by slice.
struct Builder<'a> {
    state: &'a State,
    slice_bytes_max: usize,
    entries: Vec<layout::StateEntry>,
    bytes: usize,
    /// Consecutive records of one stream, which are stored together in one value.
    run: Option<(Stream, Vec<Kept>)>,
}

impl Builder<'_> {
    fn take(&mut self, entry: BaseEntry) -> Result<(), Fault> {
        match entry {
            BaseEntry::Snapshot(stream, snapshot) => {
                self.end_run()?;
                let (_, mut entries, head) = snapshot_entries(&stream, &snapshot, 1);
                entries.push(head);
                self.put(entries)
            }
            BaseEntry::Record(Record { stream, sequence, version, payload }) => {
                let kept = Kept { sequence, version, payload };
                match &mut self.run {
                    Some((last, records)) if *last == stream => records.push(kept),
                    _ => {
                        self.end_run()?;
                        self.run = Some((stream, vec![kept]));
                    }
                }
                Ok(())
            }
        }
    }

    fn end_run(&mut self) -> Result<(), Fault> {
        let Some((stream, records)) = self.run.take() else { return Ok(()) };
        run_entries(&stream, &records).into_iter().try_for_each(|entries| self.put(entries))
    }

    fn put(&mut self, entries: Vec<layout::StateEntry>) -> Result<(), Fault> {
        self.bytes += entries.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum::<usize>();
        self.entries.extend(entries);
        if self.bytes >= self.slice_bytes_max { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Fault> {
        self.bytes = 0;
        self.state.apply(std::mem::take(&mut self.entries))
    }
}
