//! `POST /v1/admin/plugins/{name}/try`: runs a payload through an integration's schema and plugin, and stores nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::answer::Failed;
use super::body::{Json, JsonBody};
use super::call::Call;
use super::events::{body_limit, find};
use super::openapi::examples::Example;
use super::path::{Path, SentName};
use super::problem::Problem;
use super::reply::Success;
use crate::format::payload;
use crate::format::payload::{Loosened, Rules};
use crate::integration::fixtures::{self, FixtureQuery, FixtureRun};
use crate::integration::script::{FolderScript, edited, own_folder, with_script};
use crate::integration::stop::Stop;
use crate::integration::{Integration, LoadFailure};
use crate::model::audit::Action;
use crate::model::event::{Event, RawEvent};
use crate::model::ids::EventId;
use crate::model::task::Task;
use crate::model::time::now;
use crate::pipeline::verdict::Verdict;
use crate::plugin::CallContext;
use crate::service::app::{Admin, App};
use crate::service::counting::CountFailure;
use crate::service::scripts::NotSaved;
use crate::service::trial::{StoredResult, Trial};
use crate::store::Past;

/// What to try.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TrialRequest {
    /// A stored event of the integration's company. Its result is compared with what was stored.
    event_id: Option<EventId>,
    /// The payload, decoded; in place of the event's body if both are sent.
    payload: Option<Value>,
    /// Headers that the plugin gets, by name; those of the event if left out.
    headers: Option<BTreeMap<String, String>>,
    /// Parameters of the query that the plugin gets: by name, or as a list of pairs; those of the event if left out.
    query: Option<FixtureQuery>,
    /// The rest of the path that the plugin gets; that of the event if left out.
    path: Option<String>,
    /// The plugin's clock; the event's time, or else now, if left out.
    received_at: Option<DateTime<Utc>>,
    /// A text to run in place of the script that plugin.toml names, or of its table `[task]`.
    script: Option<String>,
    /// Texts to run in place of the script's files, by name; of `[task]` as `plugin.toml#task`.
    files: Option<BTreeMap<String, String>>,
    /// Whether to count instructions: the plugin is then called twice, because counting makes calls slower. The first time for a
    /// version it may be compiled, which can take as long as loading it.
    count_fuel: bool,
}

impl JsonBody for TrialRequest {
    const ABOUT: &'static str = "What to try: a stored event, a payload, or both.";
    const EXAMPLES: &'static [Example] = &[];
}

/// `POST /v1/admin/plugins/{name}/try`
pub(super) async fn run(
    mut call: Call,
    admin: Admin,
    (Path(SentName(name)), Json { value: asked, bytes }): (Path<SentName>, Json<TrialRequest>),
) -> Result<Success<Trial>, Failed> {
    let integration = managed(&call, &admin, &name)?;
    let _one_of_few = trial_share(&call, &integration)?;
    let pasted = pasted_payload(&integration, asked.payload.is_some(), &bytes)?;
    let (event, stored) = match asked.event_id {
        Some(id) => {
            let event = find(&call, &integration.company_id, id).await?.event;
            if pasted.is_none()
                && let Some(why) = event.no_body()
            {
                return Err(Problem::NotFound(why.sentence()).into());
            }
            let limit = body_limit(&call, &event);
            call.weigh_event(&event, limit).await?;
            let read = admin.does(Action::EventRead, id).of(&integration.company_id);
            call.app.store.note(read.with(format!("tried with {name}"))).await?;
            let stored = stored_result(&call.app, &event).await?;
            (Some(event), stored)
        }
        None if pasted.is_none() => {
            return Err(Problem::Invalid("body: needs an event_id, a payload, or both".into()).into());
        }
        None => (None, None),
    };
    let app = Arc::clone(&call.app);
    let work = move || tried(&app, &integration, asked, pasted, event.as_ref(), stored.as_ref());
    Ok(Success(tokio::task::spawn_blocking(work).await.map_err(|_| Problem::Internal)??))
}

/// The live integration of this name, if the admin may manage it.
pub(super) fn managed(call: &Call, admin: &Admin, name: &str) -> Result<Arc<Integration>, Problem> {
    let live = call.app.registry.get(name).filter(|it| admin.manages(&it.company_id));
    live.ok_or(Problem::NotFound("no such plugin is live"))
}

/// A part of what a company may try at the same time.
pub(super) fn trial_share(call: &Call, integration: &Integration) -> Result<crate::limits::shares::Share, Problem> {
    call.app.trials.take(&integration.company_id, &integration.name, 1).map_err(Problem::TrialShare)
}

/// The payload in a request's body, read as a delivery of this integration is: a number that would be rounded becomes text, or is
/// refused.
pub(super) fn pasted_payload(
    integration: &Integration,
    is_there: bool,
    bytes: &[u8],
) -> Result<Option<PastedPayload>, Problem> {
    if !is_there {
        return Ok(None);
    }
    let rules = Rules { unwrap: false, strict: integration.rules.strict, ..Rules::default() };
    let body = payload::decode(Some("application/json"), bytes, &rules).map_err(Stop::Decode)?;
    let value = body.value.get("payload").cloned();
    Ok(value.map(|value| PastedPayload { value, loosened: body.loosened }))
}

/// A payload that was sent to be tried.
pub(super) struct PastedPayload {
    pub(super) value: Value,
    /// What was read loosely in it.
    loosened: Loosened,
}

/// What was stored for an event, if it was processed.
async fn stored_result(app: &App, event: &Event) -> Result<Option<StoredResult>, Problem> {
    let mut tasks: Vec<Task> = Vec::new();
    for id in &event.task_ids {
        tasks.extend(app.store.task(&event.company_id, *id).await?);
    }
    let changed = tasks.iter().filter(|it| it.version > 1).count();
    let changed_since = changed + event.task_ids.len() - tasks.len();
    let verdict = Verdict::of(Past { event: event.clone(), tasks });
    Ok(verdict.map(|verdict| StoredResult { verdict, changed_since }))
}

/// Runs it, on this thread.
fn tried(
    app: &App,
    integration: &Arc<Integration>,
    asked: TrialRequest,
    pasted: Option<PastedPayload>,
    event: Option<&Event>,
    stored: Option<&StoredResult>,
) -> Result<Trial, Problem> {
    let files = asked.files.unwrap_or_default();
    let edits = (!files.is_empty() || asked.script.is_some()).then_some((asked.script, files));
    let candidate = match edits {
        Some((script, files)) => match with_edits(app, integration, script, files)? {
            Ok(candidate) => Some(candidate),
            Err(cause) => return Ok(Trial::unloadable(integration, &cause)),
        },
        None => None,
    };
    let integration: &Integration = candidate.as_ref().unwrap_or(integration);
    if integration.plugin.is_none() {
        return Err(Problem::NotFound("this integration has no mapping yet; it only captures deliveries"));
    }
    let (counting, not_counted) = match asked.count_fuel.then(|| app.counting.of(integration, &app.config)) {
        None => (None, None),
        Some(Ok(counting)) => (Some(counting), None),
        Some(Err(CountFailure::Busy)) => return Err(Problem::CountingBusy),
        Some(Err(CountFailure::Failed(why))) => (None, Some(why)),
    };
    let counting = counting.as_deref();
    let raw = event.map(Event::raw);
    let received_at = asked.received_at.or_else(|| raw.as_ref().map(|it| it.received_at)).unwrap_or_else(now);
    let mut context = context(integration, raw.as_ref(), received_at);
    if let Some(headers) = asked.headers {
        context.headers = headers.into_iter().map(|(name, it)| (name.to_ascii_lowercase(), it)).collect();
    }
    if let Some(query) = asked.query {
        context.query = query.pairs().into();
    }
    if let Some(path) = asked.path {
        context.path = path.into();
    }
    let result = match (pasted, raw) {
        (Some(PastedPayload { value, loosened }), _) => {
            fixtures::run_in(integration, &value, context, counting).map(|run| FixtureRun { loosened, ..run })
        }
        (None, Some(raw)) => fixtures::run_event(integration, &raw, context, counting),
        (None, None) => return Err(Problem::Internal),
    };
    Ok(Trial::of(integration, result, received_at, stored).not_counted(not_counted))
}

fn context(integration: &Integration, raw: Option<&RawEvent>, received_at: DateTime<Utc>) -> CallContext {
    match raw {
        Some(raw) => CallContext { received_at, ..integration.context(raw) },
        None => integration.context_with(fixtures::EVENT_ID, received_at, crate::integration::PassedRequest::default()),
    }
}

/// The integration with other files of its script, or why these cannot be loaded.
fn with_edits(
    app: &App,
    integration: &Integration,
    script: Option<String>,
    mut files: BTreeMap<String, String>,
) -> Result<Result<Integration, String>, Problem> {
    let host = app.host.as_ref().ok_or(Problem::NotFound("this server runs no plugins"))?;
    let folder = own_folder(&app.config.live_plugins_dir(), integration).map_err(unreadable)?;
    let now_there = FolderScript::of(&folder).map_err(unreadable)?.ok_or(Problem::Invalid(NO_SCRIPT.into()))?;
    if let Some(script) = script {
        files.insert(now_there.file.clone(), script);
    }
    let files = edited(&folder, &now_there, &files).map_err(Problem::Invalid)?;
    match with_script(host, integration, &folder, files, &app.senders.get(), now()) {
        Ok(edited) => Ok(Ok(edited)),
        Err(failure @ LoadFailure::Script(_)) => Ok(Err(failure.to_string())),
        Err(failure) => Err(unreadable(failure)),
    }
}

/// What cannot be done with a plugin that is not a script.
pub(super) const NO_SCRIPT: &str = "script: this plugin has no text that can be changed here: it is a module, or [task] is not a table of its own in plugin.toml";

/// A folder that cannot be read, or belongs to another company. The error names a path, which only the operator's log has.
pub(super) fn unreadable(failure: LoadFailure) -> Problem {
    // A failure of a save, so that every route says the same.
    let failure = NotSaved::from(failure);
    if let NotSaved::Unreadable(cause) = &failure {
        tracing::warn!(%cause, "a plugin folder cannot be read");
    }
    failure.into()
}
