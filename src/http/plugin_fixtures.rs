//! `POST /v1/admin/plugins/{name}/fixtures`: saves a payload and what becomes of it as a fixture of the plugin.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::Failed;
use super::body::{Json, JsonBody};
use super::call::Call;
use super::events::{body_limit, find};
use super::openapi::examples::Example;
use super::path::{Path, SentName};
use super::problem::Problem;
use super::reply::{Created, List};
use super::trial::{managed, pasted_payload, trial_share, unreadable};
use crate::format::schema::{Violation, Violations};
use crate::integration::fixtures::{self, Fixture};
use crate::integration::gate::{GateFixture, differing, run_gate};
use crate::integration::new_fixture::{NewFixture, fixture_name};
use crate::integration::script::own_folder;
use crate::integration::stop::Stop;
use crate::integration::{Integration, PassedRequest};
use crate::model::audit::Action;
use crate::model::event::Event;
use crate::model::ids::EventId;
use crate::model::time::now;
use crate::service::app::Admin;
use crate::service::scripts::{NotSaved, save_fixture};

/// A new fixture.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewFixtureRequest {
    /// Name of its file, without `.json`: letters, digits, hyphens, dots and underscores.
    name: String,
    /// A stored event whose payload, headers and time it has.
    #[serde(default)]
    event_id: Option<EventId>,
    /// The payload, decoded; in place of the event's if both are sent.
    #[serde(default)]
    payload: Option<Value>,
    /// Headers that the plugin gets, by name.
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    /// The plugin's clock; the event's time, or else now, if left out.
    #[serde(default)]
    received_at: Option<DateTime<Utc>>,
    /// What the plugin must return, as in a fixture's file; what it returns now if left out.
    #[serde(default)]
    expect: Option<Value>,
    /// Whether a fixture of this name is replaced.
    #[serde(default)]
    replace: bool,
}

impl JsonBody for NewFixtureRequest {
    const ABOUT: &'static str = "A payload or an event, and what is expected of it.";
    const EXAMPLES: &'static [Example] = &[];
}

/// A fixture that was saved.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FixtureCreated {
    /// Its file in the plugin's folder.
    file: String,
    /// What it expects.
    expect: Value,
}

/// A fixture of a plugin, and whether the live version passes it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FixtureState {
    /// Its file in the plugin's folder.
    file: String,
    /// What it is an example of; empty if it cannot be read.
    name: String,
    /// Whether the live version passes it.
    passes: bool,
    /// How the result differs from what is expected.
    failures: Vec<Violation>,
}

/// `GET /v1/admin/plugins/{name}/fixtures`: runs all of them.
pub(super) async fn list(
    call: Call,
    admin: Admin,
    Path(SentName(name)): Path<SentName>,
) -> Result<List<FixtureState>, Failed> {
    let integration = managed(&call, &admin, &name)?;
    let _one_of_few = trial_share(&call, &integration)?;
    let app = Arc::clone(&call.app);
    let noted = admin.does(Action::FixturesRead, &integration.name).of(&integration.company_id);
    let run = move || {
        let host = app.host.as_ref().ok_or(Problem::NotFound("this server runs no plugins"))?;
        let folder = own_folder(&app.config.live_plugins_dir(), &integration).map_err(unreadable)?;
        let result = run_gate(host, &integration, &folder).map_err(unreadable)?;
        let shown = result.fixtures.into_iter();
        Ok::<_, Problem>(
            shown
                .map(|GateFixture { file, name, failures }| FixtureState {
                    passes: failures.is_empty(),
                    file,
                    name,
                    failures,
                })
                .collect(),
        )
    };
    let data: Vec<FixtureState> = tokio::task::spawn_blocking(run).await.map_err(|_| Problem::Internal)??;
    // What differs has values of payloads.
    if data.iter().any(|it| !it.failures.is_empty()) {
        call.app.store.note(noted).await?;
    }
    Ok(List { data })
}

/// `POST /v1/admin/plugins/{name}/fixtures`
pub(super) async fn create(
    mut call: Call,
    admin: Admin,
    (Path(SentName(name)), Json { value: asked, bytes }): (Path<SentName>, Json<NewFixtureRequest>),
) -> Result<Created<FixtureCreated>, Failed> {
    let integration = managed(&call, &admin, &name)?;
    let _one_of_few = trial_share(&call, &integration)?;
    let file_name = fixture_name(&asked.name).map_err(|why| Problem::Invalid(format!("name: {why}")))?;
    let pasted = pasted_payload(&integration, asked.payload.is_some(), &bytes)?.map(|it| it.value);
    let event = match asked.event_id {
        Some(id) => Some(read_event(&mut call, &admin, &integration, id).await?),
        None if pasted.is_none() => {
            return Err(Problem::Invalid("body: needs an event_id, a payload, or both".into()).into());
        }
        None => None,
    };
    let _alone = call.app.edits.begin(&integration.name.0).ok_or(Problem::BeingEdited)?;
    let (replace, of) = (asked.replace, Arc::clone(&integration));
    let written = tokio::task::spawn_blocking(move || written(&of, asked, pasted, event.as_ref()));
    let (text, expect) = written.await.map_err(|_| Problem::Internal)??;
    let file = format!("fixtures/{file_name}.json");
    save_fixture(&call.app, &integration, file.clone(), text, replace, &admin).await.map_err(Problem::from)?;
    Ok(Created(FixtureCreated { file, expect }))
}

/// Reads an event with its body, which is audited.
async fn read_event(call: &mut Call, admin: &Admin, integration: &Integration, id: EventId) -> Result<Event, Problem> {
    let event = find(call, &integration.company_id, id).await?.event;
    if let Some(why) = event.no_body() {
        return Err(Problem::NotFound(why.sentence()));
    }
    let limit = body_limit(call, &event);
    call.weigh_event(&event, limit).await?;
    let read = admin.does(Action::EventRead, id).of(&integration.company_id);
    call.app.store.note(read.with(format!("saved as a fixture of {}", integration.name))).await?;
    Ok(event)
}

/// The text of the file, and what it expects, once the plugin has passed it.
fn written(
    integration: &Integration,
    asked: NewFixtureRequest,
    pasted: Option<Value>,
    event: Option<&Event>,
) -> Result<(String, Value), Problem> {
    let raw = event.map(Event::raw);
    let received_at = asked.received_at.or_else(|| raw.as_ref().map(|it| it.received_at)).unwrap_or_else(now);
    let payload = match (pasted, &raw) {
        (Some(payload), _) => payload,
        (None, Some(raw)) => integration.payload(raw).map_err(Stop::Decode)?.value,
        (None, None) => return Err(Problem::Internal),
    };
    let mut request = raw.as_ref().map_or_else(PassedRequest::default, |raw| {
        let context = integration.context(raw);
        PassedRequest { headers: context.headers, query: context.query, path: context.path }
    });
    if let Some(headers) = asked.headers {
        request.headers = headers.into_iter().map(|(name, it)| (name.to_ascii_lowercase(), it)).collect();
    }
    let run = fixtures::run(integration, &payload, received_at, request.clone())?;
    let name = asked.name.as_str();
    let fixture = NewFixture { name, received_at, request: &request, payload: &payload, came: &run.came };
    let text = match &asked.expect {
        None => fixture.text(),
        Some(expect) => fixture.text_expecting(expect),
    };
    let text = text.map_err(Problem::Invalid)?;
    let wrong = |e: serde_json::Error| Problem::Invalid(format!("expect: {e}"));
    let parsed: Fixture = serde_json::from_str(&text).map_err(wrong)?;
    let failed = differing(&format!("fixtures/{name}.json"), &parsed, &run, integration);
    if !failed.is_empty() {
        return Err(NotSaved::Fixtures(Violations::from(failed).to_vec()).into());
    }
    let whole: Value = serde_json::from_str(&text).map_err(wrong)?;
    Ok((text, whole.get("expect").cloned().unwrap_or_default()))
}
