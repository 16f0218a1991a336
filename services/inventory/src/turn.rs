//! Turns at Postgres for what visitors do: a few at once, so that the pool's other connections are
//! there for whoever buys. Who comes to a full queue is told to come back; who waits leaves it when
//! their deadline ends.

use std::{future::Future, sync::Arc};

use firstcome_proto::Refusal;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use crate::error;

/// So many at once, and so many who wait. Clones share them.
#[derive(Clone)]
pub struct Turns {
    at_once: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

impl Turns {
    /// So many at once, and so many behind them.
    pub fn new(at_once: usize, waiting_max: usize) -> Self {
        let room = Arc::new(Semaphore::new(at_once + waiting_max));
        Self { at_once: Arc::new(Semaphore::new(at_once)), room }
    }

    /// Does this when its turn has come; OVERLOADED when too many wait.
    ///
    /// It runs in a task that keeps the turn to its end: a caller who leaves in the middle gives
    /// nothing back while Postgres is still busy with what they asked.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let room = Arc::clone(&self.room).try_acquire_owned();
        let room = room.map_err(|_| error::overloaded())?;
        let turn = Arc::clone(&self.at_once).acquire_owned().await;
        let turn = turn.expect("the semaphore is never closed");
        let task = async move {
            let done = work.await;
            drop((turn, room));
            done
        };
        tokio::spawn(task.in_current_span()).await.map_err(|error| {
            tracing::error!(%error, "a statement of a visitor ended without an answer");
            Refusal::internal()
        })
    }
}

#[cfg(test)]
mod tests {
    use firstcome_proto::Reason;
    use futures::{FutureExt as _, future::pending};
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_few_go_some_wait_and_the_rest_come_back() {
        let turns = Turns::new(1, 1);
        let (end, ended) = oneshot::channel();
        let mut first = Box::pin(turns.run(async { ended.await.unwrap() }));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(turns.run(async { 2 }));
        assert!(second.as_mut().now_or_never().is_none(), "waits");
        let third = turns.run(async { 3 }).await.expect_err("no room");
        assert_eq!(third.reason(), Reason::Overloaded);
        assert!(third.retry_after.is_some());

        end.send(1).unwrap();
        assert_eq!((first.await, second.await), (Ok(1), Ok(2)));
        assert_eq!(turns.run(async { 3 }).await, Ok(3));
    }

    #[tokio::test]
    async fn who_leaves_gives_up_a_place_in_the_queue_but_no_turn_that_is_busy() {
        let turns = Turns::new(1, 1);
        assert!(turns.run(pending::<()>()).now_or_never().is_none(), "begun, and left");
        for _ in 0..3 {
            assert!(turns.run(async {}).now_or_never().is_none(), "waits, and leaves");
        }
        assert_eq!(turns.at_once.available_permits(), 0);
        assert_eq!(turns.room.available_permits(), 1);
    }
}
