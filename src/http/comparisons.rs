//! `/v1/admin/comparisons`: dry runs in the background, which go on when the caller hangs up. Only for the operator, because they
//! name paths on the server's machine.

use std::sync::Arc;

use super::answer::Failed;
use super::body::Json;
use super::call::Call;
use super::dry_run::{DryRunRequest, run};
use super::path::{ComparisonId, Path};
use super::problem::Problem;
use super::reply::{Created, List, Success};
use super::upkeep::begin as slot;
use crate::model::audit::{Action, Entry};
use crate::model::ids::new_id;
use crate::model::time::now;
use crate::service::app::{Admin, App};
use crate::service::dry_run::{ComparisonJob, ComparisonReport};
use crate::service::operations::Slot;

/// No dry run has the id, on this server.
const NO_JOB: Problem = Problem::NotFound(
    "no such dry run on this server; it knows the last few of those in the background, until it restarts",
);

/// `POST /v1/admin/comparisons`: one at a time, and its calls on a thread of low priority.
pub(super) async fn begin(
    call: Call,
    (): (),
    Json { value: asked, .. }: Json<DryRunRequest>,
) -> Result<Created<ComparisonReport>, Failed> {
    let app = &call.app;
    asked.check(app)?;
    let slot = slot(app, &Admin::Operator, "dry run").await?;
    let job = app.comparisons.begin(new_id(now()), asked.subject()).ok_or(Problem::Internal)?;
    let target = asked.dir.display().to_string();
    if let Err(error) = app.store.note(entry(&target, "begun")).await {
        app.comparisons.forget(job.id);
        return Err(error.into());
    }
    app.comparisons.run(work(Arc::clone(app), slot, Arc::clone(&job), asked, target));
    Ok(Created(job.report(true)))
}

/// `GET /v1/admin/comparisons`: newest first, without their reports.
pub(super) async fn list(call: Call, (): (), (): ()) -> Result<List<ComparisonReport>, Failed> {
    Ok(List { data: call.app.comparisons.all().iter().map(|it| it.report(false)).collect() })
}

/// `GET /v1/admin/comparisons/{id}`
pub(super) async fn show(
    call: Call,
    (): (),
    Path(ComparisonId(id)): Path<ComparisonId>,
) -> Result<Success<ComparisonReport>, Failed> {
    let job = call.app.comparisons.find(id).ok_or(NO_JOB)?;
    forget_erased(&call.app, &job).await?;
    Ok(Success(job.report(true)))
}

/// Takes the examples out of a report if something was erased on another server since.
async fn forget_erased(app: &App, job: &ComparisonJob) -> Result<(), Failed> {
    if let Some(cluster) = app.store.cluster()
        && !cluster.audited(Action::EventsErased, job.started_at()).await?.is_empty()
    {
        job.forget_all_examples();
    }
    Ok(())
}

/// `POST /v1/admin/comparisons/{id}/stop`: it ends after the event that it runs.
pub(super) async fn stop(
    call: Call,
    (): (),
    Path(ComparisonId(id)): Path<ComparisonId>,
) -> Result<Success<ComparisonReport>, Failed> {
    let job = call.app.comparisons.find(id).ok_or(NO_JOB)?;
    job.stop(Admin::Operator.name());
    forget_erased(&call.app, &job).await?;
    Ok(Success(job.report(true)))
}

fn entry(target: &str, detail: &str) -> Entry {
    Admin::Operator.does(Action::PluginCompared, target).with(detail)
}

/// Runs a job to its end. The audit log has that it was begun, so its report is shown even if its end cannot be noted.
async fn work(app: Arc<App>, slot: Slot, job: Arc<ComparisonJob>, asked: DryRunRequest, target: String) {
    let ran = {
        let (app, job) = (Arc::clone(&app), Arc::clone(&job));
        slot.run(move || run(&app, asked, job.stops(), Some(&job)))
    };
    let result = ran.await.unwrap_or(Err(Problem::Internal)).map_err(|it| it.to_string());
    let detail = match &result {
        Ok(report) if report.stopped => format!("{} events, then stopped", report.compared.events),
        Ok(report) => format!("{} events", report.compared.events),
        Err(_) => "not finished".to_owned(),
    };
    if let Err(error) = app.store.note(entry(&target, &detail)).await {
        tracing::warn!(%error, "the end of a dry run is not in the audit log");
    }
    job.end(result);
}
