//! The engine: the only place that configures wasmtime.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::error::HostError;
use super::room::{Need, Room};

/// Interval at which the epoch advances. A call's time limit is precise to one or two ticks.
const TICK: Duration = Duration::from_millis(2);
/// Native stack that a guest may use, in bytes.
const STACK_BYTES: usize = 512 << 10;
/// Size of an instance's linear memory that stays allocated after a call and is zeroed instead of freed, in bytes.
const KEEP_RESIDENT: usize = 1 << 20;
/// Capacity of the instance pool, for all calls at once. `room.rs` counts a call's share before the call begins.
const POOL: Need = Need { components: 256, memories: 512, tables: 1024 };
/// Maximum number of core instances of one component.
const CORE_INSTANCES: u32 = 64;
/// Maximum that one call may need: a 32nd of the pool.
const CALL: Need = Need { components: 1, memories: 16, tables: 32 };
/// Maximum number of memories and tables of one component in the pool's settings. It is higher than what a call may
/// need, which is checked first.
const PER_COMPONENT: u32 = 1024;
/// Maximum linear memory that a plugin's limits may allow, in bytes.
const MEMORY_BYTES: usize = 1 << 30;

/// Fuel of a call, more than any call can use within its time limit.
const FUEL: u64 = u64::MAX / 2;

/// An engine. The ticker advances its epoch.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    wasmtime: wasmtime::Engine,
    description: Arc<str>,
    counts_fuel: bool,
    room: Option<Arc<Room>>,
}

/// The engines of live plugins and of candidates. Candidates run on threads of idle priority, which must not hold a
/// lock that live plugins wait for, or use the pool.
pub(super) struct Engines {
    pub(super) live: Engine,
    pub(super) aside: Engine,
}

impl Engines {
    pub(super) fn start(counts_fuel: bool) -> Result<Self, HostError> {
        let live = Engine::pooled_or_on_demand(counts_fuel)?;
        let aside = Engine::on_demand(counts_fuel, "on-demand instances: for candidates".into())?;
        start_ticker(vec![live.wasmtime.weak(), aside.wasmtime.weak()])?;
        Ok(Self { live, aside })
    }
}

/// Starts an engine that counts instructions next to those of a server, without a pool.
pub(super) fn counting_next_to_live() -> Result<Engine, HostError> {
    let engine = Engine::on_demand(true, "on-demand instances that count instructions".into())?;
    start_ticker(vec![engine.wasmtime.weak()])?;
    Ok(engine)
}

impl Engine {
    /// Creates an engine with pooled instances if the machine supports them quickly and safely, otherwise with
    /// on-demand instances.
    fn pooled_or_on_demand(counts_fuel: bool) -> Result<Self, HostError> {
        if let Some(reason) = why_not_pooled() {
            return Self::on_demand(counts_fuel, format!("on-demand instances: {reason}"));
        }
        match wasmtime::Engine::new(config(counts_fuel).allocation_strategy(pooled())) {
            Ok(wasmtime) => Ok(Self {
                wasmtime,
                description: "pooled instances with PAGEMAP_SCAN".into(),
                counts_fuel,
                room: Some(Room::new(POOL)),
            }),
            Err(error) => {
                Self::on_demand(counts_fuel, format!("on-demand instances: a pool cannot be created: {error}"))
            }
        }
    }

    fn on_demand(counts_fuel: bool, description: String) -> Result<Self, HostError> {
        let wasmtime = wasmtime::Engine::new(&config(counts_fuel)).map_err(|e| HostError(e.to_string()))?;
        Ok(Self { wasmtime, description: description.into(), counts_fuel, room: None })
    }

    /// Returns the room that calls must reserve; `None` with on-demand instances.
    pub(super) fn room(&self) -> Option<&Arc<Room>> {
        self.room.as_ref()
    }

    /// Gives a call the maximum fuel, if fuel is counted, and returns how much that is.
    pub(super) fn fill<T>(&self, store: &mut wasmtime::Store<T>) -> Option<u64> {
        (self.counts_fuel && store.set_fuel(FUEL).is_ok()).then_some(FUEL)
    }

    pub(super) fn counts_fuel(&self) -> bool {
        self.counts_fuel
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    pub(super) fn describe(&self) -> &str {
        &self.description
    }

    /// Converts a time limit to ticks, rounded up, plus one for the current tick.
    pub(super) fn ticks(&self, time: Duration) -> u64 {
        u64::try_from(time.as_micros().div_ceil(TICK.as_micros())).unwrap_or(u64::MAX - 1).saturating_add(1)
    }
}

/// Creates the engine of the compiler's process. Its artefacts fit the other engines, because they do not depend on
/// how instances are allocated.
pub(super) fn for_compiling(counts_fuel: bool) -> Result<wasmtime::Engine, HostError> {
    wasmtime::Engine::new(&config(counts_fuel)).map_err(|e| HostError(e.to_string()))
}

/// Returns what one call of a component needs from the pool. A component that instantiates modules it is given
/// cannot be counted in advance, so the maximum is assumed.
pub(super) fn need_of_component(component: &wasmtime::component::Component) -> Need {
    let needed = component.resources_required();
    let (memories, tables) = needed.map_or((CALL.memories, CALL.tables), |it| (it.num_memories, it.num_tables));
    Need { components: 1, memories, tables }
}

/// Returns what one call of a command needs from the pool.
pub(super) fn need_of_module(module: &wasmtime::Module) -> Need {
    let needed = module.resources_required();
    Need { components: 0, memories: needed.num_memories, tables: needed.num_tables }
}

/// Checks that one call may need this much, independent of the machine.
///
/// # Errors
/// What is too much.
pub(super) fn check_need(need: Need) -> Result<(), String> {
    need.check(CALL)
}

fn config(counts_fuel: bool) -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(counts_fuel)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .memory_init_cow(true)
        // Each call has its own store on one thread, so the component model's concurrency is not needed.
        .concurrency_support(false)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false);
    config
}

fn pooled() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.pagemap_scan(Enabled::Yes)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(64 << 10)
        .max_memory_size(MEMORY_BYTES)
        .table_elements(100_000)
        .total_component_instances(POOL.components)
        // Only a count: components of the largest size, together with commands of one memory each, cannot exceed
        // it.
        .total_core_instances(POOL.components * CORE_INSTANCES + POOL.memories)
        .total_memories(POOL.memories)
        .total_tables(POOL.tables)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(PER_COMPONENT)
        .max_tables_per_component(PER_COMPONENT)
        .max_tables_per_module(16)
        .max_core_instance_size(4 << 20)
        .max_component_instance_size(4 << 20);
    InstanceAllocationStrategy::Pooling(pool)
}

/// Returns why instances are not pooled. Pooling is fast only with PAGEMAP_SCAN (Linux 6.7), which is unsafe if
/// pages can be swapped out: a swapped-out dirty page is not reset, so the next instance could read it (wasmtime
/// pull request 14357).
fn why_not_pooled() -> Option<String> {
    if !PoolingAllocationConfig::is_pagemap_scan_available() {
        return Some("the kernel has no PAGEMAP_SCAN (Linux 6.7)".into());
    }
    match std::fs::read_to_string("/proc/swaps") {
        Ok(text) if text.lines().count() <= 1 => None,
        Ok(_) => Some("the machine can swap".into()),
        Err(error) => Some(format!("whether the machine can swap is unknown: {error}")),
    }
}

/// Starts the thread that advances the epoch for all plugins, and catches up if it was woken late. It ends with the
/// engines.
fn start_ticker(engines: Vec<wasmtime::EngineWeak>) -> Result<(), HostError> {
    let tick = move || {
        let started = Instant::now();
        let mut done = 0_u128;
        loop {
            std::thread::sleep(TICK);
            let there: Vec<_> = engines.iter().map(wasmtime::EngineWeak::upgrade).collect();
            if there.iter().all(Option::is_none) {
                break;
            }
            let due = started.elapsed().as_micros() / TICK.as_micros();
            (done..due).for_each(|_| there.iter().flatten().for_each(wasmtime::Engine::increment_epoch));
            done = due;
        }
    };
    std::thread::Builder::new().name("plugin-ticker".into()).spawn(tick).map(drop).map_err(|e| HostError(e.to_string()))
}
