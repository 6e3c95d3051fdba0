//! The pipeline: one line for every way in. The state lives in types, so that no stage can be skipped:
//! [`RawEvent`] → [`Payload`] → [`CheckedPayload`] → [`Mapped`] → [`NewTask`] → [`Task`].

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::app::App;
use crate::event::{Event, EventId, EventStatus, RawEvent, Reason, new_id};
use crate::integration::Integration;
use crate::integration::load::direct;
use crate::payload::{self, DecodeError, Encoding, Loosened, Payload, Rules};
use crate::plugin::{CallContext, Mapped, Outcome, PluginError};
use crate::schema::{self, Schema, Violation};
use crate::store::{Ingested, StoreError};
use crate::task::{NewTask, Task, TaskId};

/// What the sender is told when the line has reached its end.
#[derive(Debug)]
pub enum Receipt {
    /// Tasks were made and are durable.
    Created {
        /// In the plugin's order.
        tasks: Vec<Task>,
        /// What had to be read loosely.
        loosened: Loosened,
    },
    /// The plugin had nothing to do for it.
    Skipped {
        /// Its reason.
        reason: String,
    },
}

/// Why the line ended early.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The body cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The payload does not fit the schema, or the task is not one.
    #[error("{}", sentences(.0))]
    Schema(Vec<Violation>),
    /// The plugin refused it, failed or was stopped.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// What the plugin made is no task: the plugin has to be mended, not the payload.
    #[error("the plugin's output is no task. {}", sentences(.0))]
    Output(Vec<Violation>),
    /// It could not be made durable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What one run of the line has come to, before it is stored.
struct Ready {
    tasks: Vec<NewTask>,
    skip: Option<String>,
    loosened: Loosened,
    plugin_log: String,
}

/// `POST /v1/hooks/{integration}`: the whole line, plugin included.
///
/// # Errors
/// The stage that ended it; the event is then quarantined.
pub async fn hook(app: &App, integration: &Integration, raw: RawEvent) -> Result<Receipt, Stop> {
    let result = mapped_line(integration, &raw).await;
    finish(app, Some(integration), raw, result).await
}

/// `POST /v1/tasks`: the same line with a built-in integration that has no plugin.
///
/// # Errors
/// The stage that ended it; the event is then quarantined.
pub async fn task(app: &App, rules: &Rules, raw: RawEvent) -> Result<Receipt, Stop> {
    let result = direct_line(rules, &raw);
    finish(app, None, raw, result).await
}

async fn mapped_line(integration: &Integration, raw: &RawEvent) -> Result<Ready, Stop> {
    let payload = raw.decode(&integration.schema, &integration.rules)?;
    let checked = CheckedPayload::check(payload, &integration.schema)?;
    let context = integration.context(raw.id, raw.received_at);
    let mapped = integration.plugin.map(Arc::clone(&checked.text), context).await?;
    checked.ready(mapped, &integration.rules)
}

fn direct_line(rules: &Rules, raw: &RawEvent) -> Result<Ready, Stop> {
    let payload = raw.decode(schema::task_create(), rules)?;
    let (task, loosened) = NewTask::parse(payload, rules).map_err(Stop::Schema)?;
    Ok(Ready { tasks: vec![task], skip: None, loosened, plugin_log: String::new() })
}

/// One durable commit, whatever the outcome; then the answer.
async fn finish(
    app: &App,
    integration: Option<&Integration>,
    raw: RawEvent,
    result: Result<Ready, Stop>,
) -> Result<Receipt, Stop> {
    match result {
        Ok(ready) => {
            let (ingested, receipt) = stored(integration, raw, ready);
            app.store.commit(ingested).await?;
            Ok(receipt)
        }
        // Nothing was taken in: the sender tries again, and that is a new delivery.
        Err(Stop::Plugin(PluginError::Busy)) => Err(Stop::Plugin(PluginError::Busy)),
        Err(stop) => {
            // Stored before the answer, so that whoever reads the answer finds the event.
            app.store.commit(quarantined(integration, raw, &stop)).await?;
            Err(stop)
        }
    }
}

fn stored(integration: Option<&Integration>, raw: RawEvent, ready: Ready) -> (Ingested, Receipt) {
    let (event_id, company, now) = (raw.id, raw.company_id.clone(), raw.received_at);
    let into_task = |task: NewTask| task.into_task(TaskId(new_id(now)), event_id, company.clone(), now);
    let tasks: Vec<Task> = ready.tasks.into_iter().map(into_task).collect();
    let mut event = event(integration, raw, EventStatus::Stored, None);
    event.task_ids = tasks.iter().map(|task| task.id).collect();
    event.plugin_log = ready.plugin_log;
    let receipt = match ready.skip {
        Some(reason) => {
            event.status = EventStatus::Skipped;
            event.reason = Some(Reason { stage: "plugin".into(), code: "skipped".into(), message: reason.clone() });
            Receipt::Skipped { reason }
        }
        None => Receipt::Created { tasks: tasks.clone(), loosened: ready.loosened },
    };
    (Ingested { event, tasks }, receipt)
}

fn quarantined(integration: Option<&Integration>, raw: RawEvent, stop: &Stop) -> Ingested {
    let reason = Reason { stage: stop.stage().into(), code: stop.code().into(), message: stop.to_string() };
    Ingested { event: event(integration, raw, EventStatus::Quarantined, Some(reason)), tasks: Vec::new() }
}

/// A delivery that was not let in: noted without its body.
#[must_use]
pub fn rejected(
    integration: &Integration,
    id: EventId,
    now: DateTime<Utc>,
    code: &str,
    message: &str,
    body_bytes: u64,
) -> Ingested {
    let reason = Reason { stage: "auth".into(), code: code.into(), message: message.into() };
    let raw = RawEvent {
        id,
        received_at: now,
        company_id: integration.company_id.clone(),
        content_type: None,
        body: bytes::Bytes::new(),
    };
    let mut event = event(Some(integration), raw, EventStatus::Rejected, Some(reason));
    event.body_bytes = body_bytes;
    Ingested { event, tasks: Vec::new() }
}

fn event(integration: Option<&Integration>, raw: RawEvent, status: EventStatus, reason: Option<Reason>) -> Event {
    Event {
        id: raw.id,
        integration: integration.map_or_else(direct, |it| it.name.clone()),
        company_id: raw.company_id,
        received_at: raw.received_at,
        status,
        reason,
        task_ids: Vec::new(),
        provenance: integration.map(|it| it.provenance.clone()),
        plugin_log: String::new(),
        content_type: raw.content_type,
        body_bytes: raw.body.len() as u64,
        body: raw.body,
    }
}

impl RawEvent {
    /// The body as JSON, whatever it came as and was wrapped in.
    ///
    /// # Errors
    /// Where it is no JSON, no form, or several items.
    pub fn decode(&self, schema: &Schema, rules: &Rules) -> Result<Payload, DecodeError> {
        let payload = payload::decode(self.content_type.as_deref(), &self.body, rules)?;
        payload::unwrap_envelope(payload, schema.shape(), rules)
    }
}

/// A payload that has passed its integration's schema.
#[derive(Debug)]
pub struct CheckedPayload {
    text: Arc<str>,
    loosened: Loosened,
}

impl CheckedPayload {
    /// The one way to get one.
    ///
    /// # Errors
    /// Every violation at once.
    pub fn check(payload: Payload, schema: &Schema) -> Result<Self, Stop> {
        schema.check(&payload.value).map_err(Stop::Schema)?;
        Ok(Self { text: payload.value.to_string().into(), loosened: payload.loosened })
    }

    /// The JSON that the plugin gets.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn ready(self, mapped: Mapped, rules: &Rules) -> Result<Ready, Stop> {
        let mut ready = Ready { tasks: Vec::new(), skip: None, loosened: self.loosened, plugin_log: mapped.log };
        match mapped.outcome {
            Outcome::Skip(reason) => ready.skip = Some(reason),
            Outcome::Tasks(values) if values.is_empty() => return Err(Stop::Output(Vec::new())),
            Outcome::Tasks(values) => {
                for (index, value) in values.into_iter().enumerate() {
                    ready.tasks.push(output_task(index, value, rules, &mut ready.loosened)?);
                }
            }
        }
        Ok(ready)
    }
}

fn output_task(index: usize, value: Value, rules: &Rules, loosened: &mut Loosened) -> Result<NewTask, Stop> {
    let payload = Payload { value, encoding: Encoding::Json, loosened: Loosened::default() };
    let (task, names) =
        NewTask::parse(payload, rules).map_err(|violations| Stop::Output(in_output(index, violations)))?;
    names.iter().for_each(|name| loosened.add(name));
    Ok(task)
}

/// Pointers into the plugin's output instead of into one task of it.
fn in_output(index: usize, violations: Vec<Violation>) -> Vec<Violation> {
    let named = |it: Violation| Violation {
        pointer: format!("/{index}{}", it.pointer),
        message: format!("task {index}: {}", it.message),
        ..it
    };
    violations.into_iter().map(named).collect()
}

impl Integration {
    /// What the plugin is told of an event.
    #[must_use]
    pub fn context(&self, event_id: EventId, received_at: DateTime<Utc>) -> CallContext {
        CallContext {
            event_id: event_id.to_string(),
            integration: self.name.to_string(),
            received_at,
            company_id: self.company_id.to_string(),
            config: Arc::clone(&self.config),
        }
    }
}

impl Stop {
    /// The stage that ended the line.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        match self {
            Self::Decode(_) => "decode",
            Self::Schema(_) => "schema",
            Self::Plugin(_) => "plugin",
            Self::Output(_) => "task",
            Self::Store(_) => "commit",
        }
    }

    /// The error's `detail.code`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Decode(error) => error.code(),
            Self::Schema(_) => "invalid_field",
            Self::Plugin(error) => error.code(),
            Self::Output(_) => "plugin_output_invalid",
            Self::Store(_) => "storage_unavailable",
        }
    }
}

fn sentences(violations: &[Violation]) -> String {
    violations.iter().map(|it| it.message.as_str()).collect::<Vec<_>>().join(". ")
}
