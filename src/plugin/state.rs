//! What belongs to one call, and what its failure means.

use chrono::{DateTime, Utc};
use wasmtime::{Memory, PoolConcurrencyLimitError, Trap, WasmBacktrace};

use super::limits::{Hit, Limits, Meter};
use super::priority::Pace;
use super::stdio::Stdio;
use super::{PluginError, Usage};

/// Most functions that an error names.
const FRAMES: usize = 8;
/// What the engine says where a component hands over more than it may.
const TOO_MUCH: &str = "fuel allocated for hostcalls has been exhausted";
/// Longest reason of a plugin that is kept, in bytes.
const MESSAGE_BYTES: usize = 1024;

/// The data of a call's store.
pub(super) struct CallState {
    pub(super) meter: Meter,
    pub(super) log: Log,
    pub(super) stdio: Stdio,
    pub(super) received_at: DateTime<Utc>,
    /// Whether its thread steps back.
    pub(super) pace: Pace,
    /// A command's memory, once it is known.
    pub(super) memory: Option<Memory>,
}

impl CallState {
    pub(super) fn new(limits: &Limits, received_at: DateTime<Utc>, pace: Pace) -> Self {
        Self {
            meter: Meter::new(limits),
            log: Log { text: Vec::new(), limit: limits.log_bytes, written: 0 },
            stdio: Stdio::new(limits.output_bytes),
            received_at,
            pace,
            memory: None,
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

    /// A limit that was hit says more than the trap that followed.
    pub(super) fn explain(&self, failure: Failure, limits: &Limits) -> PluginError {
        match (self.meter.hit(), failure) {
            (Some(Hit::Memory), Failure::Wasm(_) | Failure::Exit) => PluginError::Memory { limit: limits.memory_bytes },
            (Some(Hit::Table), Failure::Wasm(_) | Failure::Exit) => PluginError::Table { limit: limits.table_elements },
            (Some(Hit::Output), _) => PluginError::Output { limit: limits.output_bytes },
            (_, Failure::Exit) => PluginError::Refused { message: self.stdio.last_words(), pointer: None },
            (_, Failure::Error(error)) => error,
            (_, Failure::Wasm(error)) => trapped(&error, limits),
        }
    }
}

/// How a call failed.
pub(super) enum Failure {
    /// The engine stopped it.
    Wasm(wasmtime::Error),
    /// A command ended with a code other than 0.
    Exit,
    /// The plugin answered, and not well.
    Error(PluginError),
}

impl From<wasmtime::Error> for Failure {
    fn from(error: wasmtime::Error) -> Self {
        Self::Wasm(error)
    }
}

fn trapped(error: &wasmtime::Error, limits: &Limits) -> PluginError {
    // The pool's doing, not the plugin's. Calls are counted before they begin (`room.rs`), so this is a second line.
    if error.is::<PoolConcurrencyLimitError>() {
        return PluginError::Busy;
    }
    // The engine has no type for it; a test hands over too much, and notices where the words change.
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

/// The start of a text, at most as long as an error may be.
pub(super) fn cut(text: &str) -> String {
    let end = (0..=MESSAGE_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}

/// A call's log: the first so many bytes of it.
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
