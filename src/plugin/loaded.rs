//! A loaded plugin.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::call::{Abi, CallContext, Called};
use super::limits::PluginLimits;
use super::program::{Code, Program};
use super::script::MappingSource;
use super::stats::CallSummary;
use super::threads::Workers;

/// A loaded plugin. When it is dropped, its threads end after their current calls.
#[derive(Debug)]
pub struct Plugin {
    pub(super) program: Arc<Program>,
    pub(super) workers: Workers,
    pub(super) sha256: [u8; 32],
    pub(super) abi: Abi,
}

impl Plugin {
    /// Maps a payload on one of the plugin's threads. Time in the queue does not count towards the time limit.
    /// Returns [`PluginError::Busy`](super::PluginError::Busy) if the queue is full.
    pub async fn map(&self, payload: Arc<str>, context: CallContext) -> Called {
        self.workers.call(payload, context).await
    }

    /// Maps a payload on the calling thread, without changing its priority.
    #[must_use]
    pub fn map_blocking(&self, payload: &str, context: &CallContext) -> Called {
        self.program.call(payload, context, None).called
    }

    /// Stops the plugin: running calls are stopped after about ten milliseconds, and queued calls are not run. All
    /// of them return [`PluginError::Removed`](super::PluginError::Removed).
    pub fn retire(&self) {
        self.program.retired.store(true, Ordering::Relaxed);
    }

    /// Returns what its author has written, if it is a script or expressions.
    #[must_use]
    pub fn source(&self) -> Option<&MappingSource> {
        match &self.program.code {
            Code::Script(script) => Some(&script.source),
            Code::Component(_) | Code::Command(_) => None,
        }
    }

    /// Returns the SHA-256 of the module; of the interpreter, for a script.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Returns counts and times of the calls so far.
    #[must_use]
    pub fn summary(&self) -> CallSummary {
        self.workers.summary()
    }

    /// Returns the number of calls that wait for a thread.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.workers.waiting()
    }

    /// Returns the module's imports, each once.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        match &self.program.code {
            Code::Component(component) => component.imports(),
            Code::Command(command) => command.imports(),
            Code::Script(_) => &[],
        }
    }

    /// Returns the limits of a call.
    #[must_use]
    pub fn limits(&self) -> &PluginLimits {
        &self.program.limits
    }

    /// Returns the plugin's ABI.
    #[must_use]
    pub fn abi(&self) -> Abi {
        self.abi
    }
}
