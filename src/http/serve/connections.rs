//! All connections of a server: how many there may be, of one peer and in all, and the sweeper that ends those whose
//! time is up.
//!
//! When all places are taken, the connections that have been idle for longest make room, so that newcomers are served.
//! That is the one to which nothing was written for longest: one whose requests never come, whose bodies drip, or that
//! does not read.
//!
//! Depends on `config`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::MissedTickBehavior};

use super::{
    super::peer::Peer,
    connection::{Cause, Clock, Connection},
    figures::Figures,
};
use crate::config::Limits;

/// How often the sweeper looks at all connections, in milliseconds.
const SWEEP_MS: u64 = 100;
/// Which part of the connections makes room at once: finding the one that is idle for longest means looking at all of
/// them, so it is not done for each newcomer of a flood.
const BATCH_ONE_OF: usize = 64;

/// The connections of a server.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) limits: Limits,
    pub(super) figures: Arc<Figures>,
    clock: Arc<Clock>,
    table: Mutex<Table>,
    /// A connection has ended.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    by_number: HashMap<u64, (Option<Peer>, Arc<Connection>)>,
    by_peer: HashMap<Peer, usize>,
}

impl Connections {
    pub(super) fn new(limits: Limits, figures: Arc<Figures>) -> Arc<Self> {
        let (clock, freed) = (Arc::new(Clock::new()), Notify::new());
        Arc::new(Self { limits, figures, clock, table: Mutex::default(), freed })
    }

    /// A place for a connection of this peer, who has none if limits by peer do not hold for it. If there is none, it
    /// waits for those that have to make room.
    pub(super) async fn admit(self: &Arc<Self>, peer: Option<Peer>) -> Place {
        loop {
            let freed = self.freed.notified();
            if let Some(place) = self.try_admit(peer) {
                return place;
            }
            freed.await;
        }
    }

    fn try_admit(self: &Arc<Self>, peer: Option<Peer>) -> Option<Place> {
        let mut table = self.table.lock();
        let Limits { connections_max, connections_per_peer_max, .. } = self.limits;
        let of_peer = peer.and_then(|peer| table.by_peer.get(&peer)).copied().unwrap_or(0);
        if of_peer >= connections_per_peer_max {
            self.make_room(&table, peer, connections_per_peer_max);
            return None;
        }
        if table.by_number.len() >= connections_max {
            self.make_room(&table, None, connections_max);
            return None;
        }
        let number = table.next;
        table.next += 1;
        let connection = Arc::new(Connection::new(Arc::clone(&self.clock)));
        table.by_number.insert(number, (peer, Arc::clone(&connection)));
        if let Some(peer) = peer {
            *table.by_peer.entry(peer).or_default() += 1;
        }
        self.figures.opened(table.by_number.len());
        Some(Place { all: Arc::clone(self), number, connection })
    }

    /// Ends the connections that have been idle for longest: those of one peer, or of all.
    fn make_room(&self, table: &Table, peer: Option<Peer>, places: usize) {
        let of_peer = |of: &&(Option<Peer>, Arc<Connection>)| peer.is_none() || of.0 == peer;
        let mut idle: Vec<_> = table.by_number.values().filter(of_peer).map(|(_, connection)| connection).collect();
        let batch = places.div_ceil(BATCH_ONE_OF);
        // Those of an earlier batch are still about to end.
        if idle.iter().any(|connection| connection.is_cut_for(Cause::TooMany)) {
            return;
        }
        idle.sort_unstable_by_key(|connection| connection.active_ms());
        for connection in idle.into_iter().take(batch) {
            self.end(connection, Cause::TooMany);
        }
    }

    fn end(&self, connection: &Connection, cause: Cause) {
        if connection.cut(cause) {
            self.figures.ended(cause);
        }
    }

    /// Looks at all connections for ever.
    pub(super) async fn sweep(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(Duration::from_millis(SWEEP_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sweep_once();
        }
    }

    fn sweep_once(&self) {
        let now_ms = self.clock.tick();
        let table = self.table.lock();
        let mut owed = 0_u64;
        for (_, connection) in table.by_number.values().filter(|(_, connection)| !connection.is_cut()) {
            match connection.overdue(now_ms, &self.limits) {
                Some(cause @ (Cause::Idle | Cause::Stop)) if !connection.is_leaving() => {
                    self.figures.ended(cause);
                    connection.leave(cause);
                }
                Some(cause) => self.end(connection, cause),
                None => owed = owed.saturating_add(connection.owed()),
            }
        }
        if owed > self.limits.unread_bytes_max {
            self.forget_answers(&table, owed);
        }
    }

    /// Ends the connections whose clients have been behind for longest, until the rest owes no more than it may.
    fn forget_answers(&self, table: &Table, mut owed: u64) {
        let all = table.by_number.values().filter(|(_, connection)| !connection.is_cut());
        let mut behind: Vec<_> =
            all.filter_map(|(_, connection)| Some((connection.behind_since_ms()?, connection))).collect();
        behind.sort_unstable_by_key(|(since_ms, _)| *since_ms);
        for (_, connection) in behind {
            if owed <= self.limits.unread_bytes_max {
                break;
            }
            owed = owed.saturating_sub(connection.owed());
            self.end(connection, Cause::Unread);
        }
    }

    /// Tells all connections to end after the requests in flight.
    pub(super) fn stop(&self) {
        for (_, connection) in self.table.lock().by_number.values() {
            connection.leave(Cause::Stop);
        }
    }

    /// Ends all connections now.
    pub(super) fn cut_all(&self) {
        for (_, connection) in self.table.lock().by_number.values() {
            self.end(connection, Cause::Stop);
        }
    }
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Place {
    all: Arc<Connections>,
    number: u64,
    pub(super) connection: Arc<Connection>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.all.table.lock();
        if let Some((Some(peer), _)) = table.by_number.remove(&self.number)
            && let Some(count) = table.by_peer.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                table.by_peer.remove(&peer);
            }
        }
        self.all.figures.closed(table.by_number.len());
        drop(table);
        self.all.freed.notify_one();
    }
}
