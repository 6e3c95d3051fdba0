//! Limits of plugin calls and of loading plugins.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Limits of one plugin; `[limits]` in plugin.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginLimits {
    /// Maximum duration of a call (wall clock), including start functions; 100 ms by default.
    pub time: Duration,
    /// Maximum linear memory of a call, all memories together, in bytes; 64 MiB by default.
    pub memory_bytes: usize,
    /// Maximum output of a call, in bytes; 256 KiB by default.
    pub output_bytes: usize,
    /// Maximum size of a call's log, in bytes; 16 KiB by default. The rest is dropped.
    pub log_bytes: usize,
    /// Maximum number of table elements of a call, all tables together; 100,000.
    pub table_elements: usize,
    /// Maximum number of concurrent calls, each on a thread of the plugin's own; 2 by default.
    pub concurrency: usize,
    /// Maximum number of calls that wait for a thread; 256 by default. More calls get 503.
    pub queue: usize,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_millis(100),
            memory_bytes: 64 << 20,
            output_bytes: 256 << 10,
            log_bytes: 16 << 10,
            table_elements: 100_000,
            concurrency: 2,
            queue: 256,
        }
    }
}

/// Limits for loading a plugin; `[plugins]` in `hookmill.toml`.
#[derive(Debug, Clone, Copy)]
pub struct LoadLimits {
    /// `module_mib`: maximum size of a module, in bytes; 64 MiB by default. Bundled Python and JavaScript engines
    /// need up to 20 MiB.
    pub module_bytes: u64,
    /// `compile_ms`: maximum time to compile a module; 60 s by default.
    pub compile: Duration,
    /// `compile_mib`: maximum memory (address space) of the process that compiles a module, in bytes; 2 GiB by
    /// default.
    pub compile_bytes: u64,
    /// `fixtures_ms`: maximum time for all fixtures of a plugin together; 30 s by default.
    pub fixtures: Duration,
    /// `body_bytes` under `[limits]`: maximum size of a delivery's body, if plugin.toml has none; 1 MiB by default.
    pub body_bytes: usize,
    /// `schema_ms`: maximum CPU time of a payload's schema check; 1 s by default.
    pub schema: Duration,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self {
            module_bytes: 64 << 20,
            compile: Duration::from_secs(60),
            compile_bytes: 2 << 30,
            fixtures: Duration::from_secs(30),
            body_bytes: 1 << 20,
            schema: Duration::from_secs(1),
        }
    }
}

/// The limit that a call exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hit {
    Memory,
    Table,
    Output,
}

/// Tracks a call's memory and tables. If a refused growth leads to a trap, the limit is reported as the cause.
#[derive(Debug)]
pub(super) struct MemoryMeter {
    memory_limit: usize,
    table_limit: usize,
    memory: usize,
    peak: usize,
    elements: usize,
    hit: Option<Hit>,
}

impl MemoryMeter {
    pub(super) fn new(limits: &PluginLimits) -> Self {
        Self {
            memory_limit: limits.memory_bytes,
            table_limit: limits.table_elements,
            memory: 0,
            peak: 0,
            elements: 0,
            hit: None,
        }
    }

    pub(super) fn peak_memory(&self) -> usize {
        self.peak
    }

    pub(super) fn elements(&self) -> usize {
        self.elements
    }

    pub(super) fn hit(&self) -> Option<Hit> {
        self.hit
    }

    pub(super) fn set_hit(&mut self, hit: Hit) {
        self.hit = Some(hit);
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = (self.memory - current.min(self.memory)).saturating_add(desired);
        if total > self.memory_limit {
            self.hit = Some(Hit::Memory);
            return Ok(false);
        }
        if maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        self.memory = total;
        self.peak = self.peak.max(total);
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = (self.elements - current.min(self.elements)).saturating_add(desired);
        if total > self.table_limit {
            self.hit = Some(Hit::Table);
            return Ok(false);
        }
        if maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        self.elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        64
    }
}
