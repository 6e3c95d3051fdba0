//! A job's turn: only a few jobs run at the same time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How long a turn is, if other jobs wait.
const TURN: Duration = Duration::from_secs(1);

/// The turn of a running job. It passes it on from time to time, so that a long job, or one that waits for the server, does
/// not stop those of other companies.
pub(super) struct JobTurn {
    turns: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    began: Instant,
}

impl JobTurn {
    /// Waits for a turn, behind the jobs that wait already.
    pub(super) async fn wait(turns: Arc<Semaphore>) -> Self {
        let held = Arc::clone(&turns).acquire_owned().await.ok();
        Self { turns, held, began: Instant::now() }
    }

    /// Returns whether the turn is over.
    pub(super) fn is_over(&self) -> bool {
        self.began.elapsed() >= TURN
    }

    /// Lets the jobs that wait go first, and waits for the next turn; `None` if the job was stopped meanwhile.
    pub(super) async fn pass_on(&mut self, stop: &CancellationToken) -> Option<()> {
        self.held = None;
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            next = Self::wait(Arc::clone(&self.turns)) => {
                *self = next;
                Some(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise the long jobs of as many companies as there are turns stop all others.
    #[tokio::test]
    async fn a_job_that_waits_goes_before_the_next_turn_of_another() {
        let (turns, stop) = (Arc::new(Semaphore::new(1)), CancellationToken::new());
        let mut long = JobTurn::wait(Arc::clone(&turns)).await;
        assert!(!long.is_over());
        long.pass_on(&stop).await.unwrap();
        let mut other = std::pin::pin!(JobTurn::wait(Arc::clone(&turns)));
        assert!(futures_util::poll!(&mut other).is_pending());
        let mut next = std::pin::pin!(long.pass_on(&stop));
        assert!(futures_util::poll!(&mut next).is_pending());
        let other = other.await;
        assert!(futures_util::poll!(&mut next).is_pending());
        drop(other);
        assert!(next.await.is_some());
    }
}
