//! The engine: the only place that sets wasmtime up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::HostError;
use super::priority::Starter;

/// How often the epoch moves on: a call's time limit is kept to within one tick or two.
const TICK: Duration = Duration::from_millis(2);
/// Native stack that a guest may use.
const STACK_BYTES: usize = 512 << 10;
/// Linear memory of an instance that keeps its pages after a call, to be zeroed instead of given back.
const KEEP_RESIDENT: usize = 1 << 20;
/// Instances at once over all plugins; a component has several core instances, memories and tables.
const INSTANCES: u32 = 256;
/// Largest linear memory that any plugin's limits may allow, in bytes.
const MEMORY_BYTES: usize = 1 << 30;

/// More than any call burns within its time.
const FUEL: u64 = u64::MAX / 2;

/// The engine and its clock.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    wasmtime: wasmtime::Engine,
    description: Arc<str>,
    counts_fuel: bool,
    starter: Arc<Starter>,
}

impl Engine {
    /// Pooled instances where the machine has what makes them quick and safe, else instances on demand.
    pub(super) fn start(counts_fuel: bool) -> Result<Self, HostError> {
        let config = || {
            let mut config = config();
            config.consume_fuel(counts_fuel);
            config
        };
        let on_demand = || wasmtime::Engine::new(&config()).map_err(|e| HostError(e.to_string()));
        let (wasmtime, description) = match why_not_pooled() {
            Some(reason) => (on_demand()?, format!("on-demand instances: {reason}")),
            None => match wasmtime::Engine::new(config().allocation_strategy(pooled())) {
                Ok(engine) => (engine, "pooled instances with PAGEMAP_SCAN".to_owned()),
                Err(error) => (on_demand()?, format!("on-demand instances: a pool cannot be had: {error}")),
            },
        };
        start_ticker(&wasmtime)?;
        let starter = Starter::start().map_err(|e| HostError(e.to_string()))?;
        Ok(Self { wasmtime, description: description.into(), counts_fuel, starter })
    }

    pub(super) fn starter(&self) -> &Starter {
        &self.starter
    }

    /// Gives a call all the fuel there is, where fuel is counted; and says how much that is.
    pub(super) fn fill<T>(&self, store: &mut wasmtime::Store<T>) -> Option<u64> {
        (self.counts_fuel && store.set_fuel(FUEL).is_ok()).then_some(FUEL)
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    pub(super) fn describe(&self) -> &str {
        &self.description
    }

    /// A time limit in ticks, rounded up, and one more for the tick that is under way.
    pub(super) fn ticks(&self, time: Duration) -> u64 {
        u64::try_from(time.as_micros().div_ceil(TICK.as_micros())).unwrap_or(u64::MAX - 1).saturating_add(1)
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .memory_init_cow(true)
        // One call a store, on one thread: nothing of the component model's concurrency is needed.
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
        .total_component_instances(INSTANCES)
        .total_core_instances(INSTANCES * 4)
        .total_memories(INSTANCES * 2)
        .total_tables(INSTANCES * 4)
        .max_core_instances_per_component(64)
        .max_memories_per_component(16)
        .max_tables_per_component(64)
        .max_tables_per_module(16)
        .max_core_instance_size(4 << 20)
        .max_component_instance_size(4 << 20);
    InstanceAllocationStrategy::Pooling(pool)
}

/// Pooling pays with PAGEMAP_SCAN only (Linux 6.7), and that is unsafe where pages may be swapped out: a swapped-out
/// dirty page is not reset, so the next instance could read it (wasmtime pull request 14357).
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

/// One thread moves the epoch on for all plugins, and catches up where it was woken late. It ends with the engine.
fn start_ticker(engine: &wasmtime::Engine) -> Result<(), HostError> {
    let engine = engine.weak();
    let tick = move || {
        let started = Instant::now();
        let mut done = 0_u128;
        loop {
            std::thread::sleep(TICK);
            let Some(engine) = engine.upgrade() else { break };
            let due = started.elapsed().as_micros() / TICK.as_micros();
            (done..due).for_each(|_| engine.increment_epoch());
            done = due;
        }
    };
    std::thread::Builder::new().name("plugin-ticker".into()).spawn(tick).map(drop).map_err(|e| HostError(e.to_string()))
}
