//! `POST /v1/admin/plugins/diff`: runs a plugin that is not live over stored events. Only for the operator, because it names
//! paths on the server's machine.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::Failed;
use super::body::{Json, JsonBody};
use super::call::Call;
use super::openapi::examples::Example;
use super::problem::Problem;
use super::reply::Success;
use super::upkeep::begin;
use crate::integration::Integration;
use crate::integration::check::open;
use crate::integration::load::NO_MAPPING;
use crate::model::audit::Action;
use crate::model::ids::IntegrationName;
use crate::model::time::now;
use crate::plugin::{Host, stand_back};
use crate::service::app::{Admin, App};
use crate::service::dry_run;
use crate::service::dry_run::{ComparisonJob, ComparisonSubject, DryRunOptions, Report};
use crate::store::StoreError;
use crate::store::Wanted;
use crate::system::folder::Folder;

/// Samples: the default and the maximum.
const SAMPLES: (usize, usize) = (10, 1000);

/// What to run over which events.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DryRunRequest {
    /// The candidate's folder: an absolute path on the server's machine.
    pub(super) dir: PathBuf,
    /// Compare with this folder's plugin instead of with what was stored.
    against: Option<PathBuf>,
    /// The integration whose events are run; the candidate's own if left out.
    integration: Option<String>,
    /// Only events that were received at this time or later.
    since: Option<DateTime<Utc>>,
    /// Only events that were received before this time.
    until: Option<DateTime<Utc>>,
    /// How many events that differ are shown, at most 1000; 10 if left out.
    samples: Option<usize>,
}

impl JsonBody for DryRunRequest {
    const ABOUT: &'static str = "What to run over which events.";
    const EXAMPLES: &'static [Example] = &[];
}

/// `POST /v1/admin/plugins/diff`: one at a time, and its calls on a thread of low priority.
pub(super) async fn diff(
    call: Call,
    (): (),
    Json { value: asked, .. }: Json<DryRunRequest>,
) -> Result<Success<Report>, Failed> {
    let target = asked.dir.display().to_string();
    let slot = begin(&call.app, &Admin::Operator, "dry run").await?;
    let stop = Arc::new(AtomicBool::new(false));
    let (app, stopped) = (Arc::clone(&call.app), Arc::clone(&stop));
    let mut answer = std::pin::pin!(slot.run(move || run(&app, asked, &stopped, None)));
    let report = tokio::select! {
        report = &mut answer => report,
        // Nobody would read the report, and the next dry run would wait for it.
        () = call.gone() => {
            stop.store(true, Ordering::Relaxed);
            answer.await
        }
    };
    let report = report.ok_or(Problem::Internal)??;
    let entry = Admin::Operator.does(Action::PluginCompared, target).with(format!("{} events", report.compared.events));
    call.app.store.note(entry).await?;
    Ok(Success(report))
}

/// Loads the candidate, and runs it. A job counts its events meanwhile.
pub(super) fn run(
    app: &App,
    asked: DryRunRequest,
    stop: &AtomicBool,
    job: Option<&ComparisonJob>,
) -> Result<Report, Problem> {
    let mut candidate = candidate(app, &asked.dir)?;
    let mut against = asked.against.as_ref().map(|dir| self::candidate(app, dir)).transpose()?;
    if let Some(name) = asked.integration {
        candidate.name = IntegrationName(name.into());
    }
    if let Some(against) = &mut against {
        if against.company_id != candidate.company_id {
            return Err(Problem::Invalid(
                "against: the plugin belongs to another company; a dry run compares plugins of one company".into(),
            ));
        }
        against.name = candidate.name.clone();
    }
    let wanted = Wanted {
        company: candidate.company_id.clone(),
        integration: candidate.name.to_string(),
        since: asked.since,
        until: asked.until,
    };
    let history = app.store.history().map_err(|e| cannot(&e))?;
    let options = DryRunOptions { threads: 1, samples: asked.samples.unwrap_or(SAMPLES.0).min(SAMPLES.1) };
    if let Some(job) = job {
        job.found(&wanted.company, history.events(&wanted));
    }
    let done = |events| job.into_iter().for_each(|it| it.count(events));
    // This thread loads and unloads code, which takes locks that others need; the low-priority thread takes none.
    let calls = || {
        stand_back();
        dry_run::run(&*history, &candidate, against.as_ref(), &wanted, options, stop, &done).map_err(|e| cannot(&e))
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("dry-run-calls".into()).spawn_scoped(scope, calls);
        thread.map_err(|_| Problem::Internal)?.join().map_err(|_| Problem::Internal)?
    })
}

/// The operator may see errors of the disk.
fn cannot(error: &StoreError) -> Problem {
    Problem::Operation(error.to_string())
}

/// The host of plugins, and a candidate's folder.
fn place<'a>(app: &'a App, dir: &std::path::Path) -> Result<(&'a Host, Folder), Problem> {
    if !dir.is_absolute() {
        return Err(Problem::Invalid("dir: must be an absolute path".into()));
    }
    let host = app.host.as_ref().ok_or(Problem::NotFound("this server runs no plugins"))?;
    Ok((host, Folder::open(dir).map_err(|e| Problem::Invalid(format!("dir: {e}")))?))
}

impl DryRunRequest {
    /// Checks what can be seen without loading anything.
    pub(super) fn check(&self, app: &App) -> Result<(), Problem> {
        std::iter::once(&self.dir).chain(&self.against).try_for_each(|it| place(app, it).map(drop))
    }

    /// What is compared.
    pub(super) fn subject(&self) -> ComparisonSubject {
        let Self { dir, against, integration, since, until, .. } = self;
        ComparisonSubject {
            dir: dir.clone(),
            against: against.clone(),
            integration: integration.clone(),
            since: *since,
            until: *until,
        }
    }
}

fn candidate(app: &App, dir: &std::path::Path) -> Result<Integration, Problem> {
    let (host, folder) = place(app, dir)?;
    let checked = open(host.aside(), &folder, &app.senders.get(), now());
    let why = checked.findings.first().map_or_else(String::new, |it| format!("{}: {}", it.file.display(), it.reason));
    if checked.integration.as_ref().is_some_and(|it| it.plugin.is_none()) {
        return Err(Problem::Invalid(format!("dir: plugin.toml: {NO_MAPPING}")));
    }
    checked.integration.ok_or_else(|| Problem::Invalid(format!("dir: {why}")))
}
