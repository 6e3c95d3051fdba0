//! Runs mapping plugins: any WebAssembly, in a sandbox, in a fresh instance for every call.
//!
//! A [`Host`] (`host.rs`) loads a file into a [`Plugin`], whose own threads run the calls. `engine.rs` has the
//! engines' settings, `compile.rs` compiles files in separate processes, and `cache.rs` caches the results.
//! `abi_component.rs` and `abi_command.rs` are the two plugin ABIs; `wasi_stdio.rs` (with `wasi_calls.rs` and
//! `stdio.rs`) is the system interface of a command. `limits.rs` has a call's limits, `output.rs` limits its
//! output, `room.rs` counts the capacity of the instance pool, `threads.rs` runs calls, `priority.rs` prioritizes
//! quick ones, `stats.rs` counts them, and `fixtures.rs` has a plugin's own examples.

mod abi_command;
mod abi_component;
mod cache;
mod compile;
mod engine;
mod error;
pub mod fixtures;
mod host;
mod limits;
mod output;
mod priority;
mod room;
mod state;
mod stats;
mod stdio;
mod threads;
mod wasi_calls;
mod wasi_stdio;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use serde_json::Value;
use wasmtime::Store;

use abi_command::Command;
use abi_component::Component;
use engine::Engine;
use priority::{Habit, Pace};
use room::{Seat, Seats};
use state::CallState;
use threads::{Worker, Workers};

pub(crate) use compile::SUBCOMMAND;
pub use compile::{Turn, compile_here};
pub use error::{HostError, LoadError, PluginError};
pub use host::Host;
pub use limits::{Limits, LoadLimits};
pub use priority::stand_back;
pub use stats::{LastError, Summary};

/// Maximum number of bytes that a call may pass to the host at once apart from its output (a log message). A
/// component that passes more is stopped before anything is copied.
const LARGEST_LOG: usize = 1 << 20;

/// What a plugin knows about the event apart from its payload. The same event always gives the same context.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// Id of the event.
    pub event_id: String,
    /// Name of the integration.
    pub integration: String,
    /// Time that the plugin's clock shows during the whole call.
    pub received_at: DateTime<Utc>,
    /// Company that the tasks belong to.
    pub company_id: String,
    /// `[config]` as a JSON object.
    pub config: Arc<str>,
}

/// The successful result of a plugin call.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Tasks, not parsed yet.
    Tasks(Vec<Value>),
    /// A skip, with its reason.
    Skip(String),
}

/// The result of a call, whether it succeeded or not.
#[derive(Debug)]
pub struct Called {
    /// The outcome, or why the call failed.
    pub result: Result<Outcome, PluginError>,
    /// The plugin's log, truncated at the limit.
    pub log: String,
    /// Resources that the call used.
    pub usage: Usage,
}

/// Resources that a call used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Highest linear memory, all memories together, in bytes.
    pub memory_bytes: usize,
    /// Number of table elements, all tables together.
    pub table_elements: usize,
    /// Size of the output, in bytes.
    pub output_bytes: usize,
    /// Size of the log, in bytes, including dropped parts.
    pub log_bytes: usize,
    /// Approximate number of instructions (wasmtime's fuel), if the host counts them.
    pub fuel: Option<u64>,
}

impl Usage {
    /// Returns the maximum of each value.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            table_elements: self.table_elements.max(other.table_elements),
            output_bytes: self.output_bytes.max(other.output_bytes),
            log_bytes: self.log_bytes.max(other.log_bytes),
            fuel: self.fuel.max(other.fuel),
        }
    }
}

/// How a module receives its payload. It is detected from the module's first bytes, not its file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Abi {
    /// A component of the world in `wit/mapper.wit`.
    Component,
    /// A WASI preview 1 program: payload on stdin, tasks on stdout.
    Command,
}

/// A loaded plugin. When it is dropped, its threads end after their current calls.
#[derive(Debug)]
pub struct Plugin {
    program: Arc<Program>,
    workers: Workers,
    sha256: [u8; 32],
    abi: Abi,
}

impl Plugin {
    /// Maps a payload on one of the plugin's threads. Time in the queue does not count towards the time limit.
    /// Returns [`PluginError::Busy`] if the queue is full.
    pub async fn map(&self, payload: Arc<str>, context: CallContext) -> Called {
        self.workers.call(payload, context).await
    }

    /// Maps a payload on the calling thread, without changing its priority.
    #[must_use]
    pub fn map_blocking(&self, payload: &str, context: &CallContext) -> Called {
        self.program.call(payload, context, None).called
    }

    /// Stops the plugin: running calls are stopped after about ten milliseconds, and queued calls are not run. All
    /// of them return [`PluginError::Removed`].
    pub fn retire(&self) {
        self.program.retired.store(true, Ordering::Relaxed);
    }

    /// Returns the module's SHA-256.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Returns counts and times of the calls so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.workers.summary()
    }

    /// Returns the module's imports, each once.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        match &self.program.code {
            Code::Component(component) => component.imports(),
            Code::Command(command) => command.imports(),
        }
    }

    /// Returns the limits of a call.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.program.limits
    }

    /// Returns the plugin's ABI.
    #[must_use]
    pub fn abi(&self) -> Abi {
        self.abi
    }
}

/// State that is shared by the threads of a plugin.
#[derive(Debug)]
struct Program {
    engine: Engine,
    code: Code,
    /// Keeps the shared machine code alive.
    _machine: Arc<compile::Code>,
    /// Room in the instance pool, if there is a pool.
    seats: Option<Seats>,
    habit: Habit,
    limits: Limits,
    name: String,
    /// Set by [`Plugin::retire`].
    retired: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Code {
    Component(Component),
    Command(Command),
}

impl Program {
    /// Sets up a call's epoch deadline: the call is checked periodically, gets a lower priority if it takes long,
    /// and is stopped at its limit.
    fn set_deadline(&self, store: &mut Store<CallState>) {
        let look = self.engine.ticks(store.data().pace.every());
        let limit = self.engine.ticks(self.limits.time);
        let mut left = limit.saturating_sub(look);
        let retired = Arc::clone(&self.retired);
        store.set_epoch_deadline(limit.min(look));
        store.epoch_deadline_callback(move |mut context| {
            if left == 0 || retired.load(Ordering::Relaxed) {
                return Err(wasmtime::Trap::Interrupt.into());
            }
            context.data_mut().pace.look();
            let next = left.min(look);
            left -= next;
            Ok(wasmtime::UpdateDeadline::Continue(next))
        });
    }

    /// Runs one call in a store of its own, and returns the store so that the caller can drop it. `worker` is the
    /// thread's worker if the thread may lower its priority.
    fn call(&self, payload: &str, context: &CallContext, worker: Option<Arc<Worker>>) -> Ended {
        let retired = || self.retired.load(Ordering::Relaxed);
        if retired() {
            return Ended::not_made(PluginError::Removed);
        }
        let learns = worker.is_some();
        let patience = if learns { room::PATIENCE } else { room::LOAD_PATIENCE };
        let seat = self.seats.as_ref().map(|it| it.seat(patience));
        if let Some(None) = seat {
            return Ended::not_made(PluginError::Busy);
        }
        let pace = Pace::of(worker, self.habit.is_slow());
        let state = CallState::new(&self.limits, context.received_at, pace);
        let mut store = Store::new(self.engine.wasmtime(), state);
        store.limiter(|state| &mut state.meter);
        store.set_hostcall_fuel(self.limits.output_bytes.saturating_add(LARGEST_LOG));
        self.set_deadline(&mut store);
        let tank = self.engine.fill(&mut store);
        let result = match &self.code {
            Code::Component(component) => component.call(&mut store, payload, context),
            Code::Command(command) => command.call(&mut store, payload, context),
        };
        let fuel = tank.and_then(|full| store.get_fuel().ok().map(|left| full - left));
        let state = store.data();
        let usage = Usage { fuel, ..state.usage() };
        if learns {
            self.habit.learn(state.pace.was_slow());
        }
        let result = if retired() {
            Err(PluginError::Removed)
        } else {
            result.map_err(|error| state.explain(error, &self.limits))
        };
        let called = Called { result, log: state.log.text(), usage };
        Ended { called, store: Some(store), seat: seat.flatten() }
    }
}

/// The result of a call, with the resources that it still holds.
struct Ended {
    called: Called,
    store: Option<Store<CallState>>,
    seat: Option<Seat>,
}

impl Ended {
    fn not_made(error: PluginError) -> Self {
        Self { called: Called::not_made(error), store: None, seat: None }
    }
}

impl Called {
    /// Returns the result of a call that was not run.
    fn not_made(error: PluginError) -> Self {
        Self { result: Err(error), log: String::new(), usage: Usage::default() }
    }
}
