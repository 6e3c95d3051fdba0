//! Replays of many events: jobs of this server. A company has one at a time, and only a few run at the same time, in turns.
//!
//! `filter.rs` has which events, `found.rs` finds them, `job.rs` is a job's state, `run.rs` runs it, and `turn.rs` lets others run
//! in between. A job is in the memory of the server that runs it; servers that share a store also write it there (`shared.rs`),
//! so each of them shows it and can stop it. At a restart it ends, and its audit entry says that it was begun. Each event is
//! replayed in one commit, so none is half-done.

mod filter;
mod found;
mod job;
mod run;
mod shared;
mod turn;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::model::company::CompanyId;
use crate::store::{Store, StoreError};

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
    ///
    /// # Errors
    /// Fails if servers share the store, and it cannot be used.
    pub async fn begin(&self, store: &dyn Store, job: ReplayJob) -> Result<Option<Arc<ReplayJob>>, StoreError> {
        let Some(job) = self.add(job) else { return Ok(None) };
        let Some(shared) = shared::of(store) else { return Ok(Some(job)) };
        let begun = match shared::document(&job.report()) {
            Ok(document) => shared.begin(&job.company, job.id, document).await,
            Err(error) => Err(error),
        };
        if !matches!(begun, Ok(true)) {
            self.jobs().remove(&job.id);
        }
        Ok(begun?.then_some(job))
    }

    fn add(&self, job: ReplayJob) -> Option<Arc<ReplayJob>> {
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
    pub async fn forget(&self, store: &dyn Store, job: &ReplayJob) {
        self.jobs().remove(&job.id);
        if let Some(shared) = shared::of(store)
            && let Err(error) = shared.forget(&job.company, job.id).await
        {
            tracing::debug!(%error, job = %job.id, "a replay that could not begin ends as interrupted");
        }
    }

    /// Returns a company's jobs, newest first: those of all servers that share the store.
    ///
    /// # Errors
    /// Fails if servers share the store, and it cannot be read.
    pub async fn of(&self, store: &dyn Store, company: &CompanyId) -> Result<Vec<ReplayJobReport>, StoreError> {
        match shared::of(store) {
            Some(shared) => shared::reports(shared, company, None).await,
            None => Ok(self.jobs().values().rev().filter(|it| it.company == *company).map(|it| it.report()).collect()),
        }
    }

    /// Returns a job of a company.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub async fn find(
        &self,
        store: &dyn Store,
        company: &CompanyId,
        id: Uuid,
    ) -> Result<Option<ReplayJobReport>, StoreError> {
        match shared::of(store) {
            Some(shared) => Ok(shared::reports(shared, company, Some(id)).await?.pop()),
            None => Ok(self.here(company, id).map(|it| it.report())),
        }
    }

    /// Stops a job of a company, on whatever server it runs, and returns it.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub async fn stop_one(
        &self,
        store: &dyn Store,
        company: &CompanyId,
        id: Uuid,
        by: &str,
    ) -> Result<Option<ReplayJobReport>, StoreError> {
        if let Some(job) = self.here(company, id) {
            job.stop(by);
        }
        if let Some(shared) = shared::of(store) {
            shared.ask_to_stop(company, id, by).await?;
        }
        self.find(store, company, id).await
    }

    /// Returns a job of a company that this server runs, or has run.
    fn here(&self, company: &CompanyId, id: Uuid) -> Option<Arc<ReplayJob>> {
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
