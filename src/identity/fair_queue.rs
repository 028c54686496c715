//! A queue for work that anybody can cause and that costs much: fair between those who cause it, not first come first
//! served.
//!
//! Each peer has a share. Of those who wait, the next one is from the peer that was served least of late, and when
//! there is no room the one that gives way is from the peer that was served and waits most. So a peer that floods the
//! queue delays itself, and 200 peers that guess passwords do not keep out one that does not.
//!
//! Depends on `parking_lot` and `tokio`.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

/// After this time, what a peer was served counts half. Long enough for a guesser to stay behind everybody else, short
/// enough for somebody who mistyped a password.
const HALF_LIFE: Duration = Duration::from_secs(10);
/// What a wrong password counts beside the work that it caused: so much more than a right one that whoever logs in
/// every second comes before 200 peers that guess as fast as they are served.
const WRONG_COST: u32 = 31;

/// The peer that causes the work; `None` for the program itself.
pub type Peer = Option<IpAddr>;

/// There is no room in the queue for this peer.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// A queue with its permits. Clones are the same queue.
#[derive(Debug, Clone)]
pub struct FairQueue {
    at_once_max: usize,
    waiting_max: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    running: usize,
    /// In the order of their arrival.
    waiting: Vec<Waiting>,
    /// What each peer was served of late. An entry lives for some half-lives, so there are no more than the work of a
    /// minute.
    served: HashMap<Peer, u32>,
    halved_at: Instant,
}

#[derive(Debug)]
struct Waiting {
    peer: Peer,
    granted: oneshot::Sender<Permit>,
}

/// The right to work. Dropping it gives the right to the next one.
#[derive(Debug)]
pub struct Permit(Option<FairQueue>);

impl FairQueue {
    /// A queue of which so many work at once and so many wait.
    #[must_use]
    pub fn new(at_once_max: usize, waiting_max: usize) -> Self {
        let (waiting, served) = (Vec::with_capacity(waiting_max), HashMap::new());
        let state = State { running: 0, waiting, served, halved_at: Instant::now() };
        Self { at_once_max, waiting_max, state: Arc::new(Mutex::new(state)) }
    }

    /// Waits for a permit. Dropping the future gives the place in the queue up.
    ///
    /// # Errors
    /// [`Full`], at once or when somebody comes who was served less.
    pub async fn permit(&self, peer: Peer) -> Result<Permit, Full> {
        let (granted, permit) = oneshot::channel();
        {
            let mut state = self.state.lock();
            state.waiting.retain(|waiting| !waiting.granted.is_closed());
            state.waiting.push(Waiting { peer, granted });
            self.grant(&mut state);
            if state.waiting.len() > self.waiting_max
                && let Some(last) = state.last()
            {
                state.waiting.remove(last);
            }
        }
        permit.await.map_err(|_| Full)
    }

    /// A wrong password came from this peer.
    pub fn count_wrong(&self, peer: Peer) {
        self.state.lock().serve(peer, WRONG_COST);
    }

    fn grant(&self, state: &mut State) {
        while state.running < self.at_once_max
            && let Some(next) = state.next()
        {
            let Waiting { peer, granted } = state.waiting.remove(next);
            if let Err(mut unwanted) = granted.send(Permit(Some(self.clone()))) {
                unwanted.0 = None;
                continue;
            }
            state.running += 1;
            state.serve(peer, 1);
        }
    }
}

impl State {
    /// Who is next: the first one of the lowest rank.
    fn next(&self) -> Option<usize> {
        let ranks = self.ranks();
        (0..ranks.len()).min_by_key(|index| ranks[*index])
    }

    /// Who gives way: the last one of the highest rank.
    fn last(&self) -> Option<usize> {
        let ranks = self.ranks();
        (0..ranks.len()).max_by_key(|index| ranks[*index])
    }

    /// What the peer of each was served, and is to be served before it.
    fn ranks(&self) -> Vec<u32> {
        let mut ahead: HashMap<Peer, u32> = HashMap::new();
        let rank = |waiting: &Waiting| {
            let before =
                ahead.entry(waiting.peer).or_insert_with(|| self.served.get(&waiting.peer).copied().unwrap_or(0));
            *before = before.saturating_add(1);
            *before
        };
        self.waiting.iter().map(rank).collect()
    }

    fn serve(&mut self, peer: Peer, cost: u32) {
        while self.halved_at.elapsed() >= HALF_LIFE {
            self.halved_at = if self.served.is_empty() { Instant::now() } else { self.halved_at + HALF_LIFE };
            self.served.retain(|_, served| {
                *served /= 2;
                *served > 0
            });
        }
        let served = self.served.entry(peer).or_default();
        *served = served.saturating_add(cost);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            let mut state = queue.state.lock();
            state.running -= 1;
            queue.grant(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, pin::pin};

    use futures::{FutureExt, future::BoxFuture};

    use super::*;

    fn peer(number: u32) -> Peer {
        Some(Ipv4Addr::from_bits(number).into())
    }

    type Waiter = BoxFuture<'static, Result<Permit, Full>>;

    /// Begins to wait.
    fn enter(queue: &FairQueue, peer: Peer) -> Waiter {
        let queue = queue.clone();
        let mut waiter = async move { queue.permit(peer).await }.boxed();
        match waiter.as_mut().now_or_never() {
            None => waiter,
            Some(answer) => std::future::ready(answer).boxed(),
        }
    }

    fn granted(waiter: &mut Waiter) -> Option<Result<Permit, Full>> {
        pin!(waiter).now_or_never()
    }

    #[tokio::test(start_paused = true)]
    async fn the_peer_that_was_served_least_is_next() {
        let queue = FairQueue::new(1, 8);
        let running = enter(&queue, peer(1)).await.unwrap();
        let [mut second, mut third, mut other] = [1, 1, 2].map(|number| enter(&queue, peer(number)));
        drop(running);
        let permit = granted(&mut other).unwrap().unwrap();
        assert!(granted(&mut second).is_none() && granted(&mut third).is_none());
        drop(permit);
        let permit = granted(&mut second).unwrap().unwrap();
        drop(permit);
        assert!(granted(&mut third).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_queue_is_full_the_peer_with_the_most_gives_way() {
        let queue = FairQueue::new(1, 3);
        let running = enter(&queue, peer(9)).await.unwrap();
        let mut flood: Vec<_> = (0..3).map(|_| enter(&queue, peer(1))).collect();
        assert_eq!(enter(&queue, peer(1)).await.unwrap_err(), Full, "at once");
        let mut honest = enter(&queue, peer(2));
        assert_eq!(granted(&mut flood[2]).unwrap().unwrap_err(), Full, "the newest one of the flood");
        // Who gives up leaves room.
        drop(flood.remove(1));
        let mut third = enter(&queue, peer(3));
        drop(running);
        let order = [&mut flood[0], &mut honest, &mut third];
        for waiter in order {
            granted(waiter).unwrap().unwrap();
        }
        assert_eq!(queue.state.lock().running, 0);
    }

    /// The bar for logins: one honest peer that logs in every second, and 200 that guess without a pause.
    #[tokio::test(start_paused = true)]
    async fn guessing_peers_do_not_keep_an_honest_one_out() {
        const WORK: Duration = Duration::from_millis(15);
        let queue = FairQueue::new(1, 64);
        for number in 0..200 {
            let queue = queue.clone();
            tokio::spawn(async move {
                loop {
                    match queue.permit(peer(number)).await {
                        Ok(permit) => {
                            tokio::time::sleep(WORK).await;
                            queue.count_wrong(peer(number));
                            drop(permit);
                        }
                        Err(Full) => tokio::time::sleep(Duration::from_millis(50)).await,
                    }
                }
            });
        }
        tokio::time::sleep(Duration::from_secs(8)).await;
        for second in 0..20 {
            let asked = Instant::now();
            let permit = queue.permit(peer(1_000)).await;
            assert!(permit.is_ok() && asked.elapsed() <= 2 * WORK, "second {second}: {:?}", asked.elapsed());
            tokio::time::sleep(WORK).await;
            drop(permit);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(queue.state.lock().served.len() <= 201);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_served_long_ago_is_forgotten() {
        let queue = FairQueue::new(1, 8);
        queue.count_wrong(peer(1));
        tokio::time::sleep(6 * HALF_LIFE).await;
        drop(queue.permit(peer(2)).await);
        assert_eq!(queue.state.lock().served.keys().collect::<Vec<_>>(), [&peer(2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_that_nobody_wants_any_more_goes_to_the_next() {
        let queue = FairQueue::new(1, 8);
        let running = enter(&queue, peer(1)).await.unwrap();
        let (given_up, mut next) = (enter(&queue, peer(2)), enter(&queue, peer(3)));
        let also_given_up = enter(&queue, peer(4));
        drop((given_up, running));
        let permit = granted(&mut next).unwrap().unwrap();
        drop(permit);
        // Granted, but not yet seen.
        drop(also_given_up);
        assert_eq!(queue.state.lock().running, 0);
    }
}
