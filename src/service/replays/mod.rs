//! Replays of many events: jobs of this server. A company has one at a time, and only a few run at the same time, in turns.
//!
//! `filter.rs` has which events, `found.rs` finds them, `job.rs` is a job's state, `run.rs` runs it, and `turn.rs` lets others run
//! in between. A job is in memory: at a
//! restart it is gone, and its audit entry says that it was begun. Each event is replayed in one commit, so none is half-done.

mod filter;
mod found;
mod job;
mod run;
mod turn;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::model::company::CompanyId;

pub use filter::{ReplayFilter, newest_now};
pub use found::CountedEvents;
pub(crate) use found::count;
pub use job::{FailedReplays, JobState, OneReplay, ReplayJob, ReplayJobReport};
pub use run::RunningJob;

/// Maximum number of jobs that run at the same time; each uses one place among the requests.
const AT_ONCE: usize = 2;
/// Maximum number of ended jobs of a company that are still shown.
const ENDED: usize = 20;
/// Time for running jobs and their audit entries when the server ends.
const LAST_EVENT: Duration = Duration::from_secs(5);

/// The jobs of this server.
#[derive(Debug)]
pub struct ReplayJobs {
    jobs: Mutex<BTreeMap<Uuid, Arc<ReplayJob>>>,
    turns: Arc<Semaphore>,
    tasks: TaskTracker,
    ended: CancellationToken,
}

impl Default for ReplayJobs {
    fn default() -> Self {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Self { jobs: Mutex::default(), turns, tasks: TaskTracker::new(), ended: CancellationToken::new() }
    }
}

impl ReplayJobs {
    /// Adds a job; `None` if its company has one that has not ended, or the server is ending.
    pub fn begin(&self, job: ReplayJob) -> Option<Arc<ReplayJob>> {
        let mut jobs = self.jobs();
        let own = |it: &&Arc<ReplayJob>| it.company == job.company;
        if self.ended.is_cancelled() || jobs.values().filter(own).any(|it| !it.has_ended()) {
            return None;
        }
        let ended: Vec<_> = jobs.values().filter(own).map(|it| it.id).collect();
        let too_many = (ended.len() + 1).saturating_sub(ENDED);
        ended.iter().take(too_many).for_each(|it| drop(jobs.remove(it)));
        let job = Arc::new(job);
        jobs.insert(job.id, Arc::clone(&job));
        Some(job)
    }

    /// Forgets a job that could not begin.
    pub fn forget(&self, id: Uuid) {
        self.jobs().remove(&id);
    }

    /// Returns a company's jobs, newest first.
    #[must_use]
    pub fn of(&self, company: &CompanyId) -> Vec<Arc<ReplayJob>> {
        self.jobs().values().rev().filter(|it| it.company == *company).cloned().collect()
    }

    /// Returns a job of a company.
    #[must_use]
    pub fn find(&self, company: &CompanyId, id: Uuid) -> Option<Arc<ReplayJob>> {
        self.jobs().get(&id).filter(|it| it.company == *company).cloned()
    }

    /// Stops all jobs, and waits for the event that each of them is replaying.
    pub async fn stop(&self) {
        self.ended.cancel();
        self.tasks.close();
        if tokio::time::timeout(LAST_EVENT, self.tasks.wait()).await.is_err() {
            tracing::warn!(jobs = self.tasks.len(), "replays of many events did not stop in time");
        }
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<Uuid, Arc<ReplayJob>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
