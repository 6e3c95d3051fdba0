//! Runs mapping plugins: any WebAssembly, in a sandbox, in a fresh instance for every call.
//!
//! A [`Host`] (`host.rs`) loads a file into a [`Plugin`], whose own threads run the calls.
//! `engine.rs` has the engines' settings, `compile.rs` turns files into machine code, in processes of their own, `cache.rs` keeps that,
//! `abi_component.rs` and `abi_command.rs` are the two ways to be a plugin, `wasi_stdio.rs` (with `wasi_calls.rs` and
//! `stdio.rs`) is all that a command sees of a system, `limits.rs` what a call may cost, `output.rs` how much it may say, `room.rs` what the instance pool
//! has room for, `threads.rs` where calls run, `priority.rs` which of them go first, `stats.rs` counts, `fixtures.rs` a
//! plugin's own examples.

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

/// Bytes that a call may hand to the host at a time, beyond its output: a log message. A component that hands over more is
/// stopped before any of it is copied.
const LARGEST_LOG: usize = 1 << 20;

/// What a plugin learns of the event besides its payload. The same event always gives the same context.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The event's id.
    pub event_id: String,
    /// The integration's name.
    pub integration: String,
    /// What a plugin's clock says, for the whole call.
    pub received_at: DateTime<Utc>,
    /// Whose tasks these become.
    pub company_id: String,
    /// `[config]` as a JSON object's text.
    pub config: Arc<str>,
}

/// What a plugin made of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Tasks, not yet read as such.
    Tasks(Vec<Value>),
    /// Nothing to do, and why.
    Skip(String),
}

/// A call that has ended, well or not.
#[derive(Debug)]
pub struct Called {
    /// What came out, or why nothing did.
    pub result: Result<Outcome, PluginError>,
    /// What was logged, cut at the limit.
    pub log: String,
    /// What it cost.
    pub usage: Usage,
}

/// What a call has used of its limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Most linear memory at a time, all memories together, in bytes.
    pub memory_bytes: usize,
    /// Table elements, all tables together.
    pub table_elements: usize,
    /// Bytes of output.
    pub output_bytes: usize,
    /// Bytes that were logged, those that were dropped as well.
    pub log_bytes: usize,
    /// Instructions, about, where the host counts them: wasmtime's fuel.
    pub fuel: Option<u64>,
}

impl Usage {
    /// The larger of the two, of each.
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

/// How a module takes its payload; told by its first bytes, never by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Abi {
    /// A component of the world in `wit/mapper.wit`.
    Component,
    /// A WASI preview 1 program: payload on stdin, tasks on stdout.
    Command,
}

/// A loaded plugin. When it is dropped, its threads end after the calls under way.
#[derive(Debug)]
pub struct Plugin {
    program: Arc<Program>,
    workers: Workers,
    sha256: [u8; 32],
    abi: Abi,
}

impl Plugin {
    /// Maps a payload on one of the plugin's threads. Time in the queue does not count as the plugin's. Where the
    /// queue is full, that is [`PluginError::Busy`].
    pub async fn map(&self, payload: Arc<str>, context: CallContext) -> Called {
        self.workers.call(payload, context).await
    }

    /// Maps a payload on this thread, whose priority stays as it is.
    #[must_use]
    pub fn map_blocking(&self, payload: &str, context: &CallContext) -> Called {
        self.program.call(payload, context, None).called
    }

    /// Runs nothing more: calls under way are stopped within about ten milliseconds of their time, those that wait are not
    /// made. Each gives [`PluginError::Removed`].
    pub fn retire(&self) {
        self.program.retired.store(true, Ordering::Relaxed);
    }

    /// SHA-256 of the module.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Counts and times of its calls so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.workers.summary()
    }

    /// What it imports, each once.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        match &self.program.code {
            Code::Component(component) => component.imports(),
            Code::Command(command) => command.imports(),
        }
    }

    /// What a call may cost.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.program.limits
    }

    /// How it takes its payload.
    #[must_use]
    pub fn abi(&self) -> Abi {
        self.abi
    }
}

/// What the threads of a plugin share.
#[derive(Debug)]
struct Program {
    engine: Engine,
    code: Code,
    /// The code behind it: known, and shared, for as long as this is there.
    _machine: Arc<compile::Code>,
    /// Room in the instance pool, where there is one.
    seats: Option<Seats>,
    habit: Habit,
    limits: Limits,
    name: String,
    /// See [`Plugin::retire`].
    retired: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Code {
    Component(Component),
    Command(Command),
}

impl Program {
    /// The call is checked from time to time, steps back if it takes long, and is stopped at its limit.
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

    /// One call in a store of its own, which is given back to be dropped. `worker` is who makes it, where that may step
    /// back.
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

/// A call that has ended, and what it still holds.
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
    /// A call that was not made.
    fn not_made(error: PluginError) -> Self {
        Self { result: Err(error), log: String::new(), usage: Usage::default() }
    }
}
