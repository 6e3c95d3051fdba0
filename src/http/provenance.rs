//! `GET /v1/tasks/{id}/provenance`: what a task was made from.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use warp::http::StatusCode;

use super::answer::{Answer, Failed};
use super::call::Call;
use super::openapi::describer::Describer;
use super::openapi::headers;
use super::path::{NO_TASK, Path};
use super::problem::Problem;
use super::reply::TypedReply;
use crate::auth::ApiKey;
use crate::model::ids::{EventId, IntegrationName, TaskId};
use crate::model::origin::Origin;

/// What a task was made from, so that it can be made again.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TaskProvenance {
    /// The task.
    task_id: TaskId,
    /// The event that it was made from.
    event_id: EventId,
    /// The event has expired: only its id is left.
    event_expired: bool,
    /// The integration that received the event.
    integration: Option<IntegrationName>,
    /// When the event was received.
    #[serde(serialize_with = "crate::model::time::utc_or_null")]
    received_at: Option<DateTime<Utc>>,
    /// How the event was made, if no sender has sent it: a copy of another event, or a test delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_origin: Option<Origin>,
    /// `version` in plugin.toml.
    plugin_version: Option<String>,
    /// SHA-256 of the plugin's module, hexadecimal; of the interpreter's module, for a script.
    module_sha256: Option<String>,
    /// SHA-256 of the script with the files that it imports, or of the expressions, hexadecimal.
    script_sha256: Option<String>,
    /// SHA-256 of input.schema.json, hexadecimal.
    schema_sha256: Option<String>,
}

/// 200 with a task's provenance.
pub(super) struct ProvenanceFound(TaskProvenance);

/// `GET /v1/tasks/{id}/provenance`
pub(super) async fn show(call: Call, key: Arc<ApiKey>, Path(id): Path<TaskId>) -> Result<ProvenanceFound, Failed> {
    let task = call.app.store.task(&key.company_id, id).await?.ok_or(NO_TASK)?;
    let event = call.app.store.event(&key.company_id, task.event_id).await?;
    let derived = event.as_ref().and_then(|it| it.provenance.as_ref());
    Ok(ProvenanceFound(TaskProvenance {
        task_id: task.id,
        event_id: task.event_id,
        event_expired: event.is_none(),
        integration: event.as_ref().map(|it| it.integration.clone()),
        received_at: event.as_ref().map(|it| it.received_at),
        event_origin: event.as_ref().and_then(|it| it.origin.clone()),
        plugin_version: derived.map(|it| it.plugin_version.clone()),
        module_sha256: derived.map(|it| it.module_sha256.clone()),
        script_sha256: derived.and_then(|it| it.script_sha256.clone()),
        schema_sha256: derived.map(|it| it.schema_sha256.clone()),
    }))
}

impl TypedReply for ProvenanceFound {
    fn write(self) -> Result<Answer<Self>, Problem> {
        Ok(Answer::json(StatusCode::OK, &self.0)?.for_event(self.0.event_id))
    }

    fn describe(to: &mut Describer<'_>) {
        to.answers::<TaskProvenance>(200, "Where the task comes from.", &[headers::EVENT_ID]);
    }
}
