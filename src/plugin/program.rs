//! The code of a plugin, and one call of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::Store;

use super::abi_command::CommandModule;
use super::abi_component::Component;
use super::call::{CallContext, Called, LARGEST_LOG, Usage};
use super::engine::Engine;
use super::error::PluginError;
use super::limits::PluginLimits;
use super::priority::{Habit, Pace, StartSuccessor};
use super::room::{Seat, Seats};
use super::script::ScriptCode;
use super::state::CallState;
use super::{compile, room};
use crate::metrics::plugins::PLUGINS;
use crate::metrics::value::GaugeGuard;

/// State that is shared by the threads of a plugin.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) engine: Engine,
    pub(crate) code: Code,
    /// Keeps the shared machine code alive.
    pub(crate) _machine: Arc<compile::MachineCode>,
    /// Room in the instance pool, if there is a pool.
    pub(crate) seats: Option<Seats>,
    pub(crate) habit: Habit,
    pub(crate) limits: PluginLimits,
    pub(crate) name: String,
    /// Set by [`Plugin::retire`](super::Plugin::retire).
    pub(crate) retired: Arc<AtomicBool>,
}

#[derive(Debug)]
pub(crate) enum Code {
    Component(Component),
    Command(CommandModule),
    Script(ScriptCode),
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

    /// Runs one call in a store of its own, and returns the store so that the caller can drop it. `successor`
    /// starts the thread's successor if the thread may lower its priority.
    pub(crate) fn call(&self, payload: &str, context: &CallContext, successor: Option<StartSuccessor>) -> EndedCall {
        let retired = || self.retired.load(Ordering::Relaxed);
        if retired() {
            return EndedCall::not_made(PluginError::Removed);
        }
        let learns = successor.is_some();
        let patience = if learns { room::PATIENCE } else { room::LOAD_PATIENCE };
        let seat = self.seats.as_ref().map(|it| it.seat(patience));
        if let Some(None) = seat {
            return EndedCall::not_made(PluginError::Busy);
        }
        let instance = PLUGINS.instances.hold();
        let pace = Pace::of(successor, self.habit.is_slow());
        let state = CallState::new(&self.limits, context.received_at, pace);
        let mut store = Store::new(self.engine.wasmtime(), state);
        store.limiter(|state| &mut state.meter);
        store.set_hostcall_fuel(self.limits.output_bytes.saturating_add(LARGEST_LOG));
        self.set_deadline(&mut store);
        let tank = self.engine.fill(&mut store);
        let result = match &self.code {
            Code::Component(component) => component.call(&mut store, payload, context),
            Code::Command(command) => command.call(&mut store, payload, context),
            Code::Script(script) => script.call(&mut store, payload, context),
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
        let excerpt = state.excerpt.clone();
        let called = Called { result, log: state.log.text(), usage, excerpt };
        EndedCall { called, store: Some(store), seat: seat.flatten(), instance: Some(instance) }
    }
}

/// The result of a call, with the resources that it still holds.
pub(crate) struct EndedCall {
    pub(crate) called: Called,
    pub(crate) store: Option<Store<CallState>>,
    pub(crate) seat: Option<Seat>,
    pub(super) instance: Option<GaugeGuard>,
}

impl EndedCall {
    pub(crate) fn not_made(error: PluginError) -> Self {
        Self { called: Called::not_made(error), store: None, seat: None, instance: None }
    }
}
