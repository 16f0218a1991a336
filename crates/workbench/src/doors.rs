//! The way into the shop as a client that behaves has it: connections to every edge, and what was
//! not answered is asked again, with the same key, at the next edge.

use std::{
    error::Error as _,
    future::Future,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use firstcome_mesh::upstream;
use firstcome_proto::Refusal;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status, transport::Channel};

use crate::journal::Journal;

/// Calls in all, the first included: together with their pauses they outlast whatever a restart
/// costs, and a person waits no longer.
const TRIES_MAX: u32 = 5;
/// The pause before the second try, about; each further one is twice the last.
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// Connections to the edges of one shop.
pub struct Doors {
    edges: Vec<Vec<Channel>>,
    next: AtomicUsize,
    tries_max: u32,
    journal: Option<Journal>,
}

impl Doors {
    /// So many connections to one edge; an unanswered call is the caller's to make again.
    pub fn of_one(edge: &str, connections: u16) -> Result<Self> {
        Self::open(&[edge.to_owned()], connections, 1, None)
    }

    /// So many connections to each edge; calls are made again as clients do, and written down.
    pub fn of_all(edges: &[String], connections: u16, journal: Journal) -> Result<Self> {
        Self::open(edges, connections, TRIES_MAX, Some(journal))
    }

    fn open(
        edges: &[String],
        connections: u16,
        tries_max: u32,
        journal: Option<Journal>,
    ) -> Result<Self> {
        ensure!(!edges.is_empty() && connections > 0, "buyers need a connection");
        let connect = |edge: &String| (0..connections).map(|_| upstream::channel(edge)).collect();
        let edges = edges.iter().map(connect).collect::<Result<_, _>>();
        let edges = edges.context("read the edges' addresses")?;
        Ok(Self { edges, next: AtomicUsize::new(0), tries_max, journal })
    }

    /// A connection, the edges in turn.
    pub fn channel(&self) -> Channel {
        self.nth(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Calls, and where nobody answered calls again elsewhere. Only for calls that are idempotent.
    pub async fn call<T, F, Fut>(&self, call: F) -> Result<T, Status>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let (asked, turn) = (Instant::now(), self.next.fetch_add(1, Ordering::Relaxed));
        let (mut tries, mut pause) = (1, PAUSE_FIRST);
        for place in turn.. {
            let answer = call(self.nth(place)).await;
            match &answer {
                Err(status) if tries < self.tries_max && is_unanswered(status) => {
                    let wait = wished(status).max(pause);
                    sleep(wait.mul_f64(rand::random_range(0.5..1.5))).await;
                    tries += 1;
                    pause *= 2;
                }
                _ => {
                    if let Some(journal) = &self.journal {
                        journal.write(asked, tries, answer.as_ref().err());
                    }
                    return answer;
                }
            }
        }
        unreachable!("there is always another place")
    }

    fn nth(&self, place: usize) -> Channel {
        let (edge, connection) = nth_of(place, self.edges.len(), self.edges[0].len());
        self.edges[edge][connection].clone()
    }
}

/// The edge and its connection of this place: neighbours are different edges.
fn nth_of(place: usize, edges: usize, connections: usize) -> (usize, usize) {
    (place % edges, place / edges % connections)
}

/// True when nobody said what became of the call: the shop could not take it, or the connection
/// ended. What we made ourselves out of such an end has a source; what was received has none.
fn is_unanswered(status: &Status) -> bool {
    status.code() == Code::Unavailable || status.source().is_some()
}

/// How long the shop wants the caller to wait.
fn wished(status: &Status) -> Duration {
    let wait = Refusal::from_status(status).retry_after;
    wait.and_then(|wait| wait.try_into().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn doors(tries_max: u32) -> Doors {
        let edges = ["http://127.0.0.1:1".to_owned(), "http://127.0.0.1:2".to_owned()];
        Doors::open(&edges, 2, tries_max, None).unwrap()
    }

    /// Gives this answer at every try; how often it was tried.
    async fn tries(tries_max: u32, answer: impl Fn() -> Status) -> u32 {
        let tries = Mutex::new(0);
        let doors = doors(tries_max);
        let answered = doors.call(|_| async {
            *tries.lock().unwrap() += 1;
            Err::<(), _>(answer())
        });
        answered.await.unwrap_err();
        tries.into_inner().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_nobody_answered_is_asked_again_and_not_for_ever() {
        let broken = || Status::from_error(std::io::Error::other("a connection ended").into());
        assert_eq!(tries(TRIES_MAX, || Status::unavailable("")).await, TRIES_MAX);
        assert_eq!(tries(TRIES_MAX, broken).await, TRIES_MAX);
        assert_eq!(tries(TRIES_MAX, || Status::internal("")).await, 1);
        assert_eq!(tries(TRIES_MAX, || Status::resource_exhausted("")).await, 1);
        assert_eq!(tries(1, || Status::unavailable("")).await, 1);
    }

    #[test]
    fn neighbours_are_different_edges_and_all_connections_are_used() {
        let places: Vec<_> = (0..5).map(|place| nth_of(place, 2, 2)).collect();
        assert_eq!(places, [(0, 0), (1, 0), (0, 1), (1, 1), (0, 0)]);
    }
}
