//! Jobs where several servers share a store. The server that runs a job writes how far it is about once a second; all of them
//! show what is written there, and ask there to stop it.

use std::time::Duration;

use uuid::Uuid;

use super::job::{JobState, ReplayJob, ReplayJobReport};
use crate::model::company::CompanyId;
use crate::store::{ReplayBeat, ReplayJobStore, SharedReplay, Store, StoreError};

/// How often a job's server writes how far it is.
const BEAT: Duration = Duration::from_secs(1);
/// How often the end of a job is tried to be written.
const TRIES: u32 = 5;

const LOST: &str = "its server was not heard of for too long, and another replay was begun";
const INTERRUPTED: &str = "its server has ended, or was cut off from the database; begin it again";

/// Returns the jobs that servers share, if they share the store.
pub(super) fn of(store: &dyn Store) -> Option<&dyn ReplayJobStore> {
    store.cluster().map(|it| it.replays())
}

/// Returns a job's report as JSON.
pub(super) fn document(report: &ReplayJobReport) -> Result<String, StoreError> {
    serde_json::to_string(report).map_err(|e| StoreError::Write(e.to_string()))
}

/// Returns a company's jobs, or the one with this id, newest first.
pub(super) async fn reports(
    shared: &dyn ReplayJobStore,
    company: &CompanyId,
    id: Option<Uuid>,
) -> Result<Vec<ReplayJobReport>, StoreError> {
    shared.of(company, id).await?.into_iter().map(report).collect()
}

fn report(replay: SharedReplay) -> Result<ReplayJobReport, StoreError> {
    let mut report: ReplayJobReport =
        serde_json::from_str(&replay.document).map_err(|e| StoreError::Read(format!("a stored replay: {e}")))?;
    if report.ended_at.is_none() && !replay.is_alive {
        report.state = JobState::Interrupted;
        report.ended_at = Some(replay.heard_at);
        report.error = Some(INTERRUPTED.into());
    }
    if report.ended_at.is_none() && report.stopped_by.is_none() {
        report.stopped_by = replay.stop_asked_by;
    }
    Ok(report)
}

/// Writes how far a job is, and stops it if another server has asked for that. Never returns.
pub(super) async fn keep(store: &dyn Store, job: &ReplayJob) {
    let Some(shared) = of(store) else { return std::future::pending().await };
    let pause = BEAT.min(shared.silence() / 4);
    loop {
        tokio::time::sleep(pause).await;
        let Ok(document) = document(&job.report()) else { continue };
        match shared.beat(&job.company, job.id, document).await {
            Ok(ReplayBeat::Runs { stop_asked_by: None }) => {}
            Ok(ReplayBeat::Runs { stop_asked_by: Some(by) }) => job.stop(&by),
            Ok(ReplayBeat::Lost) => {
                job.end(JobState::Interrupted, Some(LOST.into()));
                job.stop.cancel();
                return std::future::pending().await;
            }
            Err(error) => tracing::debug!(%error, job = %job.id, "how far a replay is cannot be written now"),
        }
    }
}

/// Writes how a job has ended. If that fails, it counts as interrupted.
pub(super) async fn end(store: &dyn Store, job: &ReplayJob) {
    let Some(shared) = of(store) else { return };
    for tried in 1..=TRIES {
        let ended = match document(&job.report()) {
            Ok(document) => shared.end(&job.company, job.id, document).await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => return,
            Err(error) if tried == TRIES => {
                tracing::warn!(%error, job = %job.id, "the end of a replay of many events is not in the database");
            }
            Err(_) => tokio::time::sleep(BEAT).await,
        }
    }
}
