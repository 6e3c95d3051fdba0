//! `POST /v1/admin/plugins/diff`: a plugin that is not live over stored events. For the operator alone, as it names paths
//! of the server's machine.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};
use super::upkeep::{begin, operator};
use crate::app::{Admin, App, now};
use crate::audit::Action;
use crate::dry_run::{self, Options, Report};
use crate::event::IntegrationName;
use crate::folder::Folder;
use crate::integration::Integration;
use crate::integration::check::open;
use crate::plugin::stand_back;
use crate::store::StoreError;
use crate::store::embedded::{History, Wanted};

/// Samples, where nothing is said, and most.
const SAMPLES: (usize, usize) = (10, 1000);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    dir: PathBuf,
    against: Option<PathBuf>,
    integration: Option<String>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    samples: Option<usize>,
}

/// `POST /v1/admin/plugins/diff`: one at a time, and its calls on a thread of low priority.
pub(super) async fn diff(mut call: Call) -> Result<Answer, Failed> {
    operator(&call)?;
    let body = call.body().await?;
    let asked: Asked =
        serde_json::from_slice(&body).map_err(|e| Problem::Invalid(format!("not a request for a dry run: {e}")))?;
    let target = asked.dir.display().to_string();
    let slot = begin(&call.app, &Admin::Operator, "dry run").await?;
    let stop = Arc::new(AtomicBool::new(false));
    let (app, stopped) = (Arc::clone(&call.app), Arc::clone(&stop));
    let mut answer = std::pin::pin!(slot.run(move || run(&app, asked, &stopped)));
    let report = tokio::select! {
        report = &mut answer => report,
        // Nobody is there to read it, and the next dry run would have to wait for its end.
        () = call.gone() => {
            stop.store(true, Ordering::Relaxed);
            answer.await
        }
    };
    let report = report.ok_or(Problem::Internal)??;
    let entry = Admin::Operator.does(Action::PluginCompared, target).with(format!("{} events", report.compared.events));
    call.app.store.note(entry).await?;
    Ok(Answer::json(StatusCode::OK, &report)?)
}

fn run(app: &App, asked: Asked, stop: &AtomicBool) -> Result<Report, Problem> {
    let mut candidate = candidate(app, &asked.dir)?;
    let mut against = asked.against.as_ref().map(|dir| self::candidate(app, dir)).transpose()?;
    if let Some(name) = asked.integration {
        candidate.name = IntegrationName(name.into());
    }
    if let Some(against) = &mut against {
        if against.company_id != candidate.company_id {
            return Err(Problem::Invalid("against: belongs to another company; a dry run compares within one".into()));
        }
        against.name = candidate.name.clone();
    }
    let wanted = Wanted {
        company: candidate.company_id.clone(),
        integration: candidate.name.to_string(),
        since: asked.since,
        until: asked.until,
    };
    let embedded = app.embedded.as_ref();
    let dir = embedded.ok_or(Problem::NotFound("this server's store is not an embedded one"))?.dir();
    let history = History::open(dir).map_err(|e| cannot(&e))?;
    let options = Options { threads: 1, samples: asked.samples.unwrap_or(SAMPLES.0).min(SAMPLES.1) };
    // Loading and unloading code takes locks that others need: this thread does that, and the one of low priority takes none.
    let calls = || {
        stand_back();
        dry_run::run(&history, &candidate, against.as_ref(), &wanted, options, stop, |_| {}).map_err(|e| cannot(&e))
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("dry-run-calls".into()).spawn_scoped(scope, calls);
        thread.map_err(|_| Problem::Internal)?.join().map_err(|_| Problem::Internal)?
    })
}

/// An operator may see what the disk said.
fn cannot(error: &StoreError) -> Problem {
    Problem::Operation(error.to_string())
}

fn candidate(app: &App, dir: &std::path::Path) -> Result<Integration, Problem> {
    if !dir.is_absolute() {
        return Err(Problem::Invalid("dir: an absolute path is needed".into()));
    }
    let host = app.host.as_ref().ok_or(Problem::NotFound("this server runs no plugins"))?;
    let folder = Folder::open(dir).map_err(|e| Problem::Invalid(format!("dir: {e}")))?;
    let checked = open(host.aside(), &folder, &app.config.secrets, now());
    let why = checked.findings.first().map_or_else(String::new, |it| format!("{}: {}", it.file.display(), it.reason));
    checked.integration.ok_or_else(|| Problem::Invalid(format!("dir: {why}")))
}
