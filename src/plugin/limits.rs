//! What a call may cost.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Limits of one plugin; `[limits]` in plugin.toml.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest call by the wall clock, start functions included: 100 ms.
    pub time: Duration,
    /// Linear memory of a call, all memories together, in bytes: 64 MiB.
    pub memory_bytes: usize,
    /// Output of a call in bytes: 256 KiB.
    pub output_bytes: usize,
    /// Most of a call's log that is kept, in bytes: 16 KiB. The rest is dropped.
    pub log_bytes: usize,
    /// Table elements of a call, all tables together: 100,000.
    pub table_elements: usize,
    /// Calls at once, each on a thread of the plugin's own: 2.
    pub concurrency: usize,
    /// Calls that wait for a thread: 256. One more is answered 503.
    pub queue: usize,
}

impl Default for Limits {
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

/// What loading a plugin may cost; `[plugins]` in `hookmill.toml`.
#[derive(Debug, Clone, Copy)]
pub struct LoadLimits {
    /// `module_mib`: largest module, in bytes: 64 MiB. Python and JavaScript engines in one piece need up to 20.
    pub module_bytes: u64,
    /// `compile_ms`: until a module is compiled: 60 s.
    pub compile: Duration,
    /// `compile_mib`: memory (address space) of the process that compiles a module, in bytes: 2 GiB.
    pub compile_bytes: u64,
    /// `fixtures_ms`: for all fixtures of a plugin together: 30 s.
    pub fixtures: Duration,
    /// `schema_ms`: processor time of a check of a payload against its schema: 1 s.
    pub schema: Duration,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self {
            module_bytes: 64 << 20,
            compile: Duration::from_secs(60),
            compile_bytes: 2 << 30,
            fixtures: Duration::from_secs(30),
            schema: Duration::from_secs(1),
        }
    }
}

/// A limit that a call ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hit {
    Memory,
    Table,
    Output,
}

/// Watches a call's memory and tables. A refused growth tells the guest so; if it then traps, the limit is the cause.
#[derive(Debug)]
pub(super) struct Meter {
    memory_limit: usize,
    table_limit: usize,
    memory: usize,
    peak: usize,
    elements: usize,
    hit: Option<Hit>,
}

impl Meter {
    pub(super) fn new(limits: &Limits) -> Self {
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

impl ResourceLimiter for Meter {
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
