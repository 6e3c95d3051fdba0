//! Why the line ends early.

use crate::payload::DecodeError;
use crate::plugin::PluginError;
use crate::schema::Violation;
use crate::store::StoreError;

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

impl Stop {
    /// Whether the event is stored, in quarantine.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        !matches!(self, Self::Plugin(PluginError::Busy) | Self::Store(_))
    }

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
