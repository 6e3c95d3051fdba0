//! Dry runs in the background, of this server: how far each is, and its report until the server restarts.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::run::Report;
use crate::model::audit::SERVER;
use crate::model::company::CompanyId;
use crate::model::time::now;

/// Maximum number of ended jobs that are still shown: their reports are in memory.
const ENDED: usize = 5;
/// Time for the calls that run when the server ends.
const LAST_CALL: Duration = Duration::from_secs(5);

/// The dry runs of this server.
#[derive(Debug, Default)]
pub struct ComparisonJobs {
    jobs: Mutex<BTreeMap<Uuid, Arc<ComparisonJob>>>,
    tasks: TaskTracker,
    ending: AtomicBool,
}

/// A dry run.
#[derive(Debug)]
pub struct ComparisonJob {
    /// Its id.
    pub id: Uuid,
    subject: ComparisonSubject,
    started_at: DateTime<Utc>,
    stop: AtomicBool,
    total: AtomicU64,
    done: AtomicU64,
    progress: Mutex<ComparisonProgress>,
}

/// What is compared.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ComparisonSubject {
    /// The candidate's folder.
    #[schemars(with = "String")]
    pub dir: PathBuf,
    /// The folder that it is compared with; null for what was stored.
    #[schemars(with = "Option<String>")]
    pub against: Option<PathBuf>,
    /// The integration whose events are run; null for the candidate's own.
    pub integration: Option<String>,
    /// Only events that were received at this time or later.
    #[serde(serialize_with = "crate::model::time::utc_or_null")]
    pub since: Option<DateTime<Utc>>,
    /// Only events that were received before this time.
    #[serde(serialize_with = "crate::model::time::utc_or_null")]
    pub until: Option<DateTime<Utc>>,
}

/// The state of a dry run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComparisonState {
    /// It loads the candidate, or runs it.
    Running,
    /// It has run over all events.
    Done,
    /// Somebody has stopped it, or the server was stopped. The report has the events until then.
    Stopped,
    /// It could not go on.
    Failed,
}

#[derive(Debug)]
struct ComparisonProgress {
    state: ComparisonState,
    /// Known once the candidate is loaded.
    company: Option<CompanyId>,
    /// Examples may name what was erased meanwhile.
    forgets: bool,
    report: Option<Report>,
    error: Option<String>,
    stopped_by: Option<String>,
    ended_at: Option<DateTime<Utc>>,
}

/// A dry run, as it is shown.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ComparisonJob")]
pub struct ComparisonReport {
    id: Uuid,
    #[serde(flatten)]
    subject: ComparisonSubject,
    /// Its state.
    state: ComparisonState,
    /// About how many stored events it examines; 0 until the candidate is loaded.
    total: u64,
    /// How many of them it has examined: run, or left out.
    done: u64,
    /// When it was begun.
    #[serde(serialize_with = "crate::model::time::utc")]
    started_at: DateTime<Utc>,
    /// When it ended.
    #[serde(serialize_with = "crate::model::time::utc_or_null")]
    ended_at: Option<DateTime<Utc>>,
    /// Who has stopped it: `operator`, or `server` when that ended.
    stopped_by: Option<String>,
    /// Why it could not go on.
    error: Option<String>,
    /// The result, once it has ended; null in lists.
    report: Option<Report>,
}

impl ComparisonJobs {
    /// Adds a job; `None` if the server is ending.
    pub fn begin(&self, id: Uuid, subject: ComparisonSubject) -> Option<Arc<ComparisonJob>> {
        let mut jobs = self.jobs();
        if self.ending.load(Ordering::Relaxed) {
            return None;
        }
        let ended: Vec<_> = jobs.values().filter(|it| it.has_ended()).map(|it| it.id).collect();
        ended.iter().take((ended.len() + 1).saturating_sub(ENDED)).for_each(|it| drop(jobs.remove(it)));
        let job = Arc::new(ComparisonJob::new(id, subject));
        jobs.insert(id, Arc::clone(&job));
        Some(job)
    }

    /// Runs a job's work in the background.
    pub fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }

    /// Forgets a job that could not begin.
    pub fn forget(&self, id: Uuid) {
        self.jobs().remove(&id);
    }

    /// Forgets the examples of a company's events, some of which were erased.
    pub fn forget_examples(&self, company: &CompanyId) {
        self.jobs().values().for_each(|it| it.forget_examples(company));
    }

    /// Returns the jobs, newest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<ComparisonJob>> {
        self.jobs().values().rev().cloned().collect()
    }

    /// Returns a job.
    #[must_use]
    pub fn find(&self, id: Uuid) -> Option<Arc<ComparisonJob>> {
        self.jobs().get(&id).cloned()
    }

    /// Stops all jobs, and waits for the calls that they make.
    pub async fn stop(&self) {
        {
            let jobs = self.jobs();
            self.ending.store(true, Ordering::Relaxed);
            jobs.values().for_each(|it| it.stop(SERVER));
        }
        self.tasks.close();
        if tokio::time::timeout(LAST_CALL, self.tasks.wait()).await.is_err() {
            tracing::warn!("a dry run did not stop in time");
        }
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<Uuid, Arc<ComparisonJob>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ComparisonJob {
    fn new(id: Uuid, subject: ComparisonSubject) -> Self {
        let progress = ComparisonProgress {
            state: ComparisonState::Running,
            company: None,
            forgets: false,
            report: None,
            error: None,
            stopped_by: None,
            ended_at: None,
        };
        Self {
            id,
            subject,
            started_at: now(),
            stop: AtomicBool::new(false),
            total: AtomicU64::new(0),
            done: AtomicU64::new(0),
            progress: Mutex::new(progress),
        }
    }

    /// Asks it to stop after the event that it runs. Does nothing to a job that has ended.
    pub fn stop(&self, by: &str) {
        let mut progress = self.progress();
        if progress.ended_at.is_none() && progress.stopped_by.is_none() {
            progress.stopped_by = Some(by.to_owned());
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Is true once it is to stop.
    #[must_use]
    pub fn stops(&self) -> &AtomicBool {
        &self.stop
    }

    /// Notes that it begins: with so many events of this company.
    pub fn found(&self, company: &CompanyId, total: u64) {
        self.progress().company = Some(company.clone());
        self.total.store(total, Ordering::Relaxed);
    }

    /// Counts events that were examined.
    pub fn count(&self, events: u64) {
        self.done.fetch_add(events, Ordering::Relaxed);
    }

    /// Ends it, with its report or with why there is none.
    pub fn end(&self, result: Result<Report, String>) {
        let mut progress = self.progress();
        match result {
            Ok(mut report) => {
                if progress.forgets {
                    report.compared.tally.forget_samples();
                }
                let stopped = report.stopped;
                progress.state = if stopped { ComparisonState::Stopped } else { ComparisonState::Done };
                progress.report = Some(report);
                if !stopped {
                    // What is known of their number before is about right.
                    self.total.store(self.done.load(Ordering::Relaxed), Ordering::Relaxed);
                }
            }
            Err(cause) => (progress.state, progress.error) = (ComparisonState::Failed, Some(cause)),
        }
        progress.ended_at = Some(now());
    }

    /// Returns its state; its report only if `whole`.
    #[must_use]
    pub fn report(&self, whole: bool) -> ComparisonReport {
        let progress = self.progress();
        let done = self.done.load(Ordering::Relaxed);
        ComparisonReport {
            id: self.id,
            subject: self.subject.clone(),
            state: progress.state,
            // More may have arrived since they were counted.
            total: self.total.load(Ordering::Relaxed).max(done),
            done,
            started_at: self.started_at,
            ended_at: progress.ended_at,
            stopped_by: progress.stopped_by.clone(),
            error: progress.error.clone(),
            report: progress.report.clone().filter(|_| whole),
        }
    }

    fn forget_examples(&self, company: &CompanyId) {
        if self.progress().company.as_ref().is_none_or(|it| it == company) {
            self.forget_all_examples();
        }
    }

    /// When it was begun.
    #[must_use]
    pub fn started_at(&self) -> DateTime<Utc> {
        self.started_at
    }

    /// Forgets its examples: something was erased.
    pub fn forget_all_examples(&self) {
        let mut progress = self.progress();
        progress.forgets = true;
        if let Some(report) = &mut progress.report {
            report.compared.tally.forget_samples();
        }
    }

    fn has_ended(&self) -> bool {
        self.progress().ended_at.is_some()
    }

    fn progress(&self) -> MutexGuard<'_, ComparisonProgress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
