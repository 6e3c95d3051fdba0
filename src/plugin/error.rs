//! Errors of plugins, in words for the plugin's author.

use std::time::Duration;

use super::script::{MappingPlace, located};

/// Why a call failed. Its store is dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// It ran longer than `time_ms`.
    #[error("the plugin did not end within {} ms (time_ms)", limit.as_millis())]
    Deadline {
        /// The limit.
        limit: Duration,
    },
    /// It needed more memory than `memory_mib`.
    #[error("the plugin needs more than {} MiB of memory (memory_mib)", limit >> 20)]
    Memory {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It needed more table elements than any plugin may have.
    #[error("the plugin needs more than {limit} table elements")]
    Table {
        /// The limit, in elements.
        limit: usize,
    },
    /// It wrote more than `output_kib`.
    #[error("the plugin wrote more than {} KiB (output_kib)", limit >> 10)]
    Output {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It exceeded the stack.
    #[error("the plugin ran out of stack; its recursion is too deep")]
    Stack,
    /// It trapped.
    #[error("the plugin crashed: {reason}{}", at(.frames))]
    Trap {
        /// Reason of the trap.
        reason: String,
        /// Names of the guest's functions, innermost first.
        frames: Vec<String>,
    },
    /// A script threw an error.
    #[error("{}", located(message, place.as_ref()))]
    Exception {
        /// The error's name and message.
        message: String,
        /// Where it was thrown, if that is known.
        place: Option<MappingPlace>,
    },
    /// It crashed, and said why before it did: an exception or a panic.
    #[error("the plugin crashed: {message}")]
    Crashed {
        /// File, line and text, in the plugin's words.
        message: String,
    },
    /// It reports that this payload cannot be mapped.
    #[error("{message}")]
    Refused {
        /// The plugin's reason.
        message: String,
        /// JSON Pointer into the payload, if the plugin named one.
        pointer: Option<String>,
    },
    /// Its output is neither tasks nor a skip.
    #[error("the plugin's output is invalid: {0}")]
    BadOutput(String),
    /// Its queue is full, or the calls of all plugins use the whole instance pool.
    #[error("the server has no room for another plugin call; try again in a second")]
    Busy,
    /// It was removed before the call ended.
    #[error("the integration was removed, or moved to another company, before the delivery was processed")]
    Removed,
    /// The server could not run it.
    #[error("the plugin could not be run")]
    Host,
}

impl PluginError {
    /// Returns what the plugin's author or the admin can try; `None` if the plugin itself gave a reason, or if
    /// nothing about the plugin needs fixing.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Deadline { .. } => Some(
                "Look for a loop that never ends with this payload; if the plugin only needs more time, raise time_ms in plugin.toml",
            ),
            Self::Memory { .. } => {
                Some("Let the plugin read the payload in pieces, or raise memory_mib in plugin.toml")
            }
            Self::Table { .. } => Some("This limit cannot be raised; use fewer functions and references"),
            Self::Output { .. } => Some("Create fewer or shorter tasks, or raise output_kib in plugin.toml"),
            Self::Stack => Some("Look for endless recursion; the stack is 512 KiB"),
            Self::Trap { .. } => Some(
                "Repeat the call with `hookmill plugin run` and this payload; build the plugin with debug names to see its functions",
            ),
            Self::Exception { .. } => {
                Some("Repeat the call with `hookmill plugin run` and this payload; its log shows the callers")
            }
            Self::Crashed { .. } => {
                Some("Repeat the call with `hookmill plugin run` and this payload; the plugin's log may have the stack")
            }
            Self::Refused { .. } | Self::BadOutput(_) | Self::Busy | Self::Removed | Self::Host => None,
        }
    }

    /// Returns the error's `detail.code`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Deadline { .. } => "plugin_deadline",
            Self::Memory { .. } => "plugin_memory",
            Self::Table { .. } => "plugin_table",
            Self::Output { .. } => "plugin_output",
            Self::Stack => "plugin_stack",
            Self::Trap { .. } | Self::Crashed { .. } => "plugin_trap",
            Self::Exception { .. } => "plugin_exception",
            Self::Refused { .. } => "plugin_refused",
            Self::BadOutput(_) => "plugin_output_invalid",
            Self::Busy => "plugin_busy",
            Self::Removed => "plugin_removed",
            Self::Host => "plugin_host",
        }
    }
}

fn at(frames: &[String]) -> String {
    if frames.is_empty() { String::new() } else { format!(" in {}", frames.join(" < ")) }
}

/// Why a file cannot be loaded as a plugin.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{file}: {cause}")]
pub struct LoadError {
    /// Path of the file.
    pub file: String,
    /// What is wrong with the file.
    pub cause: String,
}

/// Why the engine cannot be started.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the WebAssembly engine cannot be started: {0}")]
pub struct HostError(pub String);
