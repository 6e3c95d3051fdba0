//! What can go wrong with a plugin, in words for the person who wrote it.

use std::time::Duration;

/// Why a call gave nothing. The store that it ran in is gone with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// It ran longer than `time_ms`.
    #[error("the plugin did not end within {} ms (time_ms)", limit.as_millis())]
    Deadline {
        /// The limit.
        limit: Duration,
    },
    /// It wanted more memory than `memory_mib`.
    #[error("the plugin needs more than {} MiB of memory (memory_mib)", limit >> 20)]
    Memory {
        /// The limit in bytes.
        limit: usize,
    },
    /// It wanted larger tables than any plugin may have.
    #[error("the plugin needs more than {limit} table elements")]
    Table {
        /// The limit in elements.
        limit: usize,
    },
    /// It wrote more than `output_kib`.
    #[error("the plugin wrote more than {} KiB (output_kib)", limit >> 10)]
    Output {
        /// The limit in bytes.
        limit: usize,
    },
    /// It called itself too deeply.
    #[error("the plugin ran out of stack: too deep a recursion")]
    Stack,
    /// It trapped.
    #[error("the plugin crashed: {reason}{}", at(.frames))]
    Trap {
        /// The reason in words.
        reason: String,
        /// Names of the guest's functions, innermost first.
        frames: Vec<String>,
    },
    /// It says that this payload cannot be mapped.
    #[error("{message}")]
    Refused {
        /// Its reason.
        message: String,
        /// JSON Pointer into the payload, where it named one.
        pointer: Option<String>,
    },
    /// What it wrote is neither tasks nor a skip.
    #[error("the plugin's output is not what it should be: {0}")]
    BadOutput(String),
    /// Its queue is full, or the calls of all plugins together take all that the instance pool has.
    #[error("as many plugin calls are running and waiting as the server has room for; try again in a second")]
    Busy,
    /// It was taken away meanwhile.
    #[error("the integration was removed, or moved to another company, before the delivery was processed")]
    Removed,
    /// It could not be run, through no fault of its own.
    #[error("the plugin could not be run")]
    Host,
}

impl PluginError {
    /// What the plugin's author or the admin can try; none where the plugin has said what it has to say, or there is
    /// nothing to mend in it.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Deadline { .. } => Some(
                "Look for a loop that this payload never leaves; if it only needs longer, raise time_ms in plugin.toml",
            ),
            Self::Memory { .. } => Some("Let it read the payload in pieces, or raise memory_mib in plugin.toml"),
            Self::Table { .. } => Some("No plugin may have more; use fewer functions and references"),
            Self::Output { .. } => Some("Make fewer or shorter tasks, or raise output_kib in plugin.toml"),
            Self::Stack => Some("Look for a function that calls itself without an end; the stack is 512 KiB"),
            Self::Trap { .. } => Some(
                "`hookmill plugin run` repeats it with this payload; build the plugin with names to see its functions",
            ),
            Self::Refused { .. } | Self::BadOutput(_) | Self::Busy | Self::Removed | Self::Host => None,
        }
    }

    /// The error's `detail.code`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Deadline { .. } => "plugin_deadline",
            Self::Memory { .. } => "plugin_memory",
            Self::Table { .. } => "plugin_table",
            Self::Output { .. } => "plugin_output",
            Self::Stack => "plugin_stack",
            Self::Trap { .. } => "plugin_trap",
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

/// Why a file is no plugin.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{file}: {cause}")]
pub struct LoadError {
    /// Its path.
    pub file: String,
    /// What is wrong with it.
    pub cause: String,
}

/// Why there is no engine.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the WebAssembly engine cannot be started: {0}")]
pub struct HostError(pub String);
