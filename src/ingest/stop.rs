//! Why the line ends early.

use std::time::Duration;

use super::CheckedPayload;
use crate::event::{EventId, IntegrationName};
use crate::integration::Integration;
use crate::payload::DecodeError;
use crate::plugin::PluginError;
use crate::schema::Violations;
use crate::store::StoreError;

/// Why the line ended early.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The body cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The payload does not fit the schema, or the task is not one.
    #[error("{}", .0.sentences())]
    Schema(Violations),
    /// The schema's check took longer than it may: the schema has to be changed, or the payload is made to hurt.
    #[error(
        "this payload cannot be checked against the schema of \"{plugin}\" within {} ms (plugins.schema_ms in hookmill.toml); use fewer branches and patterns in input.schema.json, or bound the payload's lists with maxItems",
        limit.as_millis()
    )]
    SchemaTime {
        /// The integration.
        plugin: IntegrationName,
        /// Of processor time.
        limit: Duration,
    },
    /// The plugin refused it, failed or was stopped.
    #[error(transparent)]
    Plugin(Box<Failed>),
    /// What the plugin made is no task: the plugin has to be mended, not the payload.
    #[error("the plugin's output is no task. {}", .0.sentences())]
    Output(Violations),
    /// The integration's first version is still being loaded.
    #[error("the integration \"{0}\" is being loaded; send it again in a few seconds")]
    Loading(IntegrationName),
    /// It could not be made durable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A call that gave nothing: what happened, to whom, and over what.
#[derive(Debug)]
pub struct Failed {
    /// What the plugin did.
    pub error: PluginError,
    /// What it logged until then.
    pub log: String,
    /// The plugin.
    pub plugin: IntegrationName,
    /// What it was called for.
    pub event_id: EventId,
    /// The payload's size in bytes, as the plugin got it.
    pub payload_bytes: usize,
}

impl Failed {
    pub(super) fn stop(
        error: PluginError,
        log: String,
        integration: &Integration,
        event_id: EventId,
        payload: &CheckedPayload,
    ) -> Stop {
        let plugin = integration.name.clone();
        Stop::Plugin(Box::new(Self { error, log, plugin, event_id, payload_bytes: payload.text().len() }))
    }

    /// Nothing is known of the payload, so the plugin was not called.
    pub(super) fn unchecked(error: PluginError, integration: &Integration, event_id: EventId) -> Stop {
        let plugin = integration.name.clone();
        Stop::Plugin(Box::new(Self { error, log: String::new(), plugin, event_id, payload_bytes: 0 }))
    }
}

impl std::error::Error for Failed {}

/// A refusal in the plugin's own words; a failure with all that helps to find its cause.
impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(advice) = self.error.advice() else { return write!(f, "{}", self.error) };
        let Self { error, plugin, event_id, payload_bytes, .. } = self;
        write!(f, "{plugin}: {error}. Payload: {payload_bytes} bytes; event {event_id}. {advice}")
    }
}

impl Stop {
    /// Whether the event is stored, in quarantine.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        match self {
            Self::Plugin(failed) => !matches!(failed.error, PluginError::Busy | PluginError::Removed),
            Self::Loading(_) | Self::Store(_) => false,
            _ => true,
        }
    }

    /// The stage that ended the line.
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

    /// The error's `detail.code`.
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
