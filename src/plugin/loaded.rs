//! A loaded plugin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::Store;

use super::abi_command::Command;
use super::abi_component::Component;
use super::call::{Abi, CallContext, Called, LARGEST_LOG, Usage};
use super::engine::Engine;
use super::error::PluginError;
use super::limits::Limits;
use super::priority::{Habit, Pace};
use super::room::{Seat, Seats};
use super::state::CallState;
use super::stats::Summary;
use super::threads::{Worker, Workers};
use super::{compile, room};

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
pub(super) struct Program {
    pub(super) engine: Engine,
    pub(super) code: Code,
    /// Keeps the shared machine code alive.
    pub(super) _machine: Arc<compile::Code>,
    /// Room in the instance pool, if there is a pool.
    pub(super) seats: Option<Seats>,
    pub(super) habit: Habit,
    pub(super) limits: Limits,
    pub(super) name: String,
    /// Set by [`Plugin::retire`].
    pub(super) retired: Arc<AtomicBool>,
}

#[derive(Debug)]
pub(super) enum Code {
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
    pub(super) fn call(&self, payload: &str, context: &CallContext, worker: Option<Arc<Worker>>) -> Ended {
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
pub(super) struct Ended {
    pub(super) called: Called,
    pub(super) store: Option<Store<CallState>>,
    pub(super) seat: Option<Seat>,
}

impl Ended {
    pub(super) fn not_made(error: PluginError) -> Self {
        Self { called: Called::not_made(error), store: None, seat: None }
    }
}
