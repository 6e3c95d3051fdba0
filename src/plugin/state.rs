//! The state of one call, and the classification of its failure.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use wasmtime::{Memory, PoolConcurrencyLimitError, Trap, WasmBacktrace};

use super::bounded::cut;
use super::call::Usage;
use super::crash_text;
use super::error::PluginError;
use super::limits::{Hit, MemoryMeter, PluginLimits};
use super::priority::Pace;
use super::stdio::Stdio;

/// Maximum number of functions that an error names.
const FRAMES: usize = 8;

/// Part of wasmtime's error if a component passes more than it may.
const TOO_MUCH: &str = "fuel allocated for hostcalls has been exhausted";

/// How a component begins the error message that says why it is about to crash (wit/mapper.wit).
const CRASH: &str = "crash: ";

/// The data of a call's store.
pub(super) struct CallState {
    pub(super) meter: MemoryMeter,
    pub(super) log: Log,
    pub(super) stdio: Stdio,
    /// Headers of the request, for a component.
    pub(super) headers: Arc<[(String, String)]>,
    /// Parameters of its query, and the rest of its path.
    pub(super) query: Arc<[(String, String)]>,
    pub(super) path: Arc<str>,
    pub(super) received_at: DateTime<Utc>,
    /// The priority of its thread.
    pub(super) pace: Pace,
    /// A command's memory, once it is known.
    pub(super) memory: Option<Memory>,
    /// Why a component is about to crash, if it has said so in its log.
    crash: Option<String>,
    /// The first bytes of invalid output.
    pub(super) excerpt: Option<String>,
}

impl CallState {
    pub(super) fn new(limits: &PluginLimits, received_at: DateTime<Utc>, pace: Pace) -> Self {
        Self {
            meter: MemoryMeter::new(limits),
            log: Log { text: Vec::new(), limit: limits.log_bytes, written: 0 },
            stdio: Stdio::new(limits.output_bytes),
            headers: Arc::default(),
            query: Arc::default(),
            path: Arc::default(),
            received_at,
            pace,
            memory: None,
            crash: None,
            excerpt: None,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            memory_bytes: self.meter.peak_memory(),
            table_elements: self.meter.elements(),
            output_bytes: self.stdio.output_bytes(),
            log_bytes: self.log.written,
            fuel: None,
        }
    }

    /// Returns the error for a failure. An exceeded limit is more informative than the trap that followed.
    pub(super) fn explain(&self, failure: CallFailure, limits: &PluginLimits) -> PluginError {
        match (self.meter.hit(), failure) {
            (Some(Hit::Memory), CallFailure::Wasm(_) | CallFailure::Exit) => {
                PluginError::Memory { limit: limits.memory_bytes }
            }
            (Some(Hit::Table), CallFailure::Wasm(_) | CallFailure::Exit) => {
                PluginError::Table { limit: limits.table_elements }
            }
            (Some(Hit::Output), _) => PluginError::Output { limit: limits.output_bytes },
            (_, CallFailure::Exit) => match crash_text::of_exit(&self.stdio.tail()) {
                Some(message) => PluginError::Crashed { message },
                None => PluginError::Refused { message: self.stdio.last_words(), pointer: None },
            },
            (_, CallFailure::Error(error)) => error,
            (_, CallFailure::Wasm(error)) => match trapped(&error, limits) {
                PluginError::Trap { reason, frames } => {
                    let said = self.crash.clone().or_else(|| crash_text::of_trap(&self.stdio.tail()));
                    said.map_or(PluginError::Trap { reason, frames }, |message| PluginError::Crashed { message })
                }
                other => other,
            },
        }
    }

    /// Writes a component's message to its log. An error that begins with [`CRASH`] is the reason of the trap that follows.
    pub(super) fn say(&mut self, level: &str, message: &str) {
        if level == "error"
            && let Some(reason) = message.strip_prefix(CRASH)
        {
            self.crash = reason.lines().next().map(cut);
        }
        for piece in [level, ": ", message, "\n"] {
            self.log.write(piece.as_bytes());
        }
    }
}

/// How a call failed.
pub(super) enum CallFailure {
    /// The engine stopped it.
    Wasm(wasmtime::Error),
    /// A command ended with a non-zero exit code.
    Exit,
    /// The plugin returned an error, or an invalid result.
    Error(PluginError),
}

impl From<wasmtime::Error> for CallFailure {
    fn from(error: wasmtime::Error) -> Self {
        Self::Wasm(error)
    }
}

fn trapped(error: &wasmtime::Error, limits: &PluginLimits) -> PluginError {
    // A full pool, not the plugin's fault. Capacity is reserved before calls begin (`room.rs`), so this is a second
    // safeguard.
    if error.is::<PoolConcurrencyLimitError>() {
        return PluginError::Busy;
    }
    // The engine has no error type for it. A test passes too much and fails if the message changes.
    if error.root_cause().to_string().contains(TOO_MUCH) {
        return PluginError::Output { limit: limits.output_bytes };
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => PluginError::Deadline { limit: limits.time },
        Some(Trap::StackOverflow) => PluginError::Stack,
        Some(trap) => PluginError::Trap { reason: trap.to_string(), frames: frames(error) },
        None => PluginError::Trap { reason: cut(&error.root_cause().to_string()), frames: frames(error) },
    }
}

fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let name =
        |frame: &wasmtime::FrameInfo| frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), cut);
    trace.frames().iter().take(FRAMES).map(name).collect()
}

/// A call's log, truncated at the limit.
pub(super) struct Log {
    text: Vec<u8>,
    limit: usize,
    written: usize,
}

impl Log {
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.written = self.written.saturating_add(bytes.len());
        let room = self.limit.saturating_sub(self.text.len()).min(bytes.len());
        self.text.extend_from_slice(&bytes[..room]);
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }
}
