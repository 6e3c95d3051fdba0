//! Why the pipeline ended early.

use std::time::Duration;

use super::live::Integration;
use crate::format::payload::DecodeError;
use crate::format::schema::Violations;
use crate::model::ids::{EventId, IntegrationName};
use crate::plugin::PluginError;
use crate::store::StoreError;

/// Why the pipeline ended early.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The body cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The payload violates the schema, or is not a valid task.
    #[error("{}", .0.sentences())]
    Schema(Violations),
    /// The schema check took too long: the schema needs to be changed, or the payload is an attack.
    #[error(
        "this payload cannot be checked against the schema of \"{plugin}\" within {} ms (plugins.schema_ms in hookmill.toml); use fewer branches and patterns in input.schema.json, or bound the payload's lists with maxItems",
        limit.as_millis()
    )]
    SchemaTime {
        /// Name of the integration.
        plugin: IntegrationName,
        /// CPU time limit.
        limit: Duration,
    },
    /// The plugin refused it, failed or was stopped.
    #[error(transparent)]
    Plugin(Box<FailedCall>),
    /// The plugin's output is not a valid task: the plugin needs to be fixed, not the payload.
    #[error("the plugin's output is not a valid task. {}", .0.sentences())]
    Output(Violations),
    /// The integration's first version is still being loaded, or this server has refused it and others run it.
    #[error("the integration \"{0}\" is not ready on this server; send it again in a few seconds")]
    Loading(IntegrationName),
    /// It could not be made durable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A failed plugin call.
#[derive(Debug)]
pub struct FailedCall {
    /// Error of the plugin.
    pub error: PluginError,
    /// The plugin's log until then.
    pub log: String,
    /// Name of the plugin's integration.
    pub plugin: IntegrationName,
    /// Event that was processed.
    pub event_id: EventId,
    /// Size of the payload as passed to the plugin, in bytes.
    pub payload_bytes: usize,
}

impl FailedCall {
    pub(crate) fn stop(
        error: PluginError,
        log: String,
        integration: &Integration,
        event_id: EventId,
        payload_bytes: usize,
    ) -> Stop {
        let plugin = integration.name.clone();
        Stop::Plugin(Box::new(Self { error, log, plugin, event_id, payload_bytes }))
    }

    /// Creates the error for a payload that could not be checked, so that the plugin was not called.
    pub(super) fn unchecked(error: PluginError, integration: &Integration, event_id: EventId) -> Stop {
        let plugin = integration.name.clone();
        Stop::Plugin(Box::new(Self { error, log: String::new(), plugin, event_id, payload_bytes: 0 }))
    }
}

impl std::error::Error for FailedCall {}

/// Displays a refusal in the plugin's own words, and a failure with details that help to find the cause.
impl std::fmt::Display for FailedCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(advice) = self.error.advice() else { return write!(f, "{}", self.error) };
        let Self { error, plugin, event_id, payload_bytes, .. } = self;
        write!(f, "{plugin}: {error}. Payload: {payload_bytes} bytes; event {event_id}. {advice}")
    }
}

impl Stop {
    /// Returns whether the event is stored as quarantined.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        match self {
            Self::Plugin(failed) => !matches!(failed.error, PluginError::Busy | PluginError::Removed),
            Self::Loading(_) | Self::Store(_) => false,
            _ => true,
        }
    }

    /// Returns the stage that failed.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        match self {
            Self::Decode(_) => "decode",
            Self::Schema(_) | Self::SchemaTime { .. } => "schema",
            Self::Plugin(_) | Self::Loading(_) => "plugin",
            Self::Output(_) => "task",
            Self::Store(_) => "commit",
        }
    }

    /// Returns the error's `detail.code`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Decode(error) => error.code(),
            Self::Schema(_) => "invalid_field",
            Self::SchemaTime { .. } => "schema_time",
            Self::Plugin(failed) => failed.error.code(),
            Self::Output(_) => "plugin_output_invalid",
            Self::Loading(_) => "plugin_loading",
            Self::Store(_) => "storage_unavailable",
        }
    }
}
