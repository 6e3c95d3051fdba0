//! Runs mapping plugins: any WebAssembly, in a sandbox, in a fresh instance for every call.
//!
//! A [`Host`] is one engine for all plugins; it loads a file into a [`Plugin`], whose own threads run the calls.
//! `engine.rs` has the engine's settings, `abi_component.rs` and `abi_command.rs` the two ways to be a plugin,
//! `wasi_stdio.rs` (with `wasi_calls.rs` and `stdio.rs`) all that a command sees of a system, `limits.rs` what a call may cost, `threads.rs` where calls
//! run, `priority.rs` who goes first, `cache.rs` compiled artefacts, `stats.rs` counts, `fixtures.rs` a plugin's own examples.

mod abi_command;
mod abi_component;
mod cache;
mod engine;
mod error;
pub mod fixtures;
mod limits;
mod priority;
mod state;
mod stats;
mod stdio;
mod threads;
mod wasi_calls;
mod wasi_stdio;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use wasmtime::Store;

use abi_command::Command;
use abi_component::Component;
use cache::{Cache, Source};
use engine::Engine;
use state::CallState;
use threads::Workers;

pub use error::{HostError, LoadError, PluginError};
pub use limits::{Limits, LoadLimits};
pub use priority::stand_back;
pub use stats::{LastError, Summary};

/// What a plugin is told of the event. The same event always gives the same context.
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
    /// It took so long that its thread has stepped back.
    slow: bool,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Abi {
    /// A component of the world in `wit/mapper.wit`.
    Component,
    /// A WASI preview 1 program: payload on stdin, tasks on stdout.
    Command,
}

/// One engine, and where its artefacts are kept.
#[derive(Debug, Clone)]
pub struct Host {
    engine: Engine,
    cache: Option<Arc<Cache>>,
    limits: LoadLimits,
}

impl Host {
    /// Starts the engine. Without a cache directory every load compiles.
    ///
    /// # Errors
    /// Where the engine cannot be made on this machine.
    pub fn new(cache_dir: Option<PathBuf>, limits: LoadLimits) -> Result<Self, HostError> {
        Self::with(Engine::start(false)?, cache_dir, limits)
    }

    /// The same with an engine that counts instructions, which makes calls slower: for those who write plugins.
    ///
    /// # Errors
    /// Where the engine cannot be made on this machine.
    pub fn counting(cache_dir: Option<PathBuf>, limits: LoadLimits) -> Result<Self, HostError> {
        Self::with(Engine::start(true)?, cache_dir, limits)
    }

    fn with(engine: Engine, cache_dir: Option<PathBuf>, limits: LoadLimits) -> Result<Self, HostError> {
        Ok(Self { engine, cache: cache_dir.and_then(|dir| Cache::open(&dir)).map(Arc::new), limits })
    }

    /// What loading a plugin may cost.
    #[must_use]
    pub fn limits(&self) -> &LoadLimits {
        &self.limits
    }

    /// Which allocator is used, and why: for the log.
    #[must_use]
    pub fn describe(&self) -> &str {
        self.engine.describe()
    }

    /// Compiles a module, or takes its artefact from the cache, and starts its threads.
    ///
    /// # Errors
    /// The file and what is wrong with it.
    pub fn load(&self, name: &str, file: &Path, limits: Limits) -> Result<Plugin, LoadError> {
        let failed = |cause| LoadError { file: file.display().to_string(), cause };
        let wasm: Arc<[u8]> = read_module(file, self.limits.module_bytes).map_err(failed)?.into();
        let sha256: [u8; 32] = Sha256::digest(&wasm).into();
        let abi = tell_abi(&wasm).map_err(failed)?;
        let source = Source { wasm, sha256, cache: self.cache.as_deref(), limit: self.limits.compile };
        let code = match abi {
            Abi::Component => Component::load(&self.engine, &source).map(Code::Component),
            Abi::Command => Command::load(&self.engine, &source).map(Code::Command),
        };
        let code = code.map_err(failed)?;
        let program = Arc::new(Program { engine: self.engine.clone(), code, limits, name: name.to_owned() });
        let workers = Workers::start(&program).map_err(|e| failed(format!("its threads cannot be started: {e}")))?;
        Ok(Plugin { program, workers, sha256, abi })
    }
}

/// The component model's layer field tells a component from a core module (bytes 4 to 7 of the file).
fn tell_abi(wasm: &[u8]) -> Result<Abi, String> {
    match wasm.get(..8) {
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => Ok(Abi::Command),
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(Abi::Component),
        Some([0, b'a', b's', b'm', ..]) => Err("is WebAssembly of a version that is not known".into()),
        _ => Err("is not WebAssembly; precompiled or text files are not taken".into()),
    }
}

fn read_module(file: &Path, most: u64) -> Result<Vec<u8>, String> {
    let unreadable = |e: std::io::Error| format!("cannot be read: {e}");
    let metadata = std::fs::metadata(file).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err("is no file".into());
    }
    let size = metadata.len();
    if size > most {
        return Err(format!("has {size} bytes, and {most} are the most (plugins.module_mib in hookmill.toml)"));
    }
    std::fs::read(file).map_err(unreadable)
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

    /// Maps a payload on this thread.
    #[must_use]
    pub fn map_blocking(&self, payload: &str, context: &CallContext) -> Called {
        self.program.call(payload, context)
    }

    /// SHA-256 of the module.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// What its calls have come to so far.
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
    limits: Limits,
    name: String,
}

#[derive(Debug)]
enum Code {
    Component(Component),
    Command(Command),
}

impl Program {
    /// The call is looked at from time to time, steps back where it takes long, and is stopped at its limit.
    fn set_deadline(&self, store: &mut Store<CallState>) {
        let (limit, look) = (self.engine.ticks(self.limits.time), self.engine.ticks(priority::LOOK));
        let mut left = limit.saturating_sub(look);
        store.set_epoch_deadline(limit.min(look));
        store.epoch_deadline_callback(move |mut context| {
            if left == 0 {
                return Err(wasmtime::Trap::Interrupt.into());
            }
            context.data_mut().pace.look();
            let next = left.min(look);
            left -= next;
            Ok(wasmtime::UpdateDeadline::Continue(next))
        });
    }

    /// One call in a store of its own, which is dropped whatever happens.
    fn call(&self, payload: &str, context: &CallContext) -> Called {
        let mut store = Store::new(self.engine.wasmtime(), CallState::new(&self.limits, context.received_at));
        store.limiter(|state| &mut state.meter);
        self.set_deadline(&mut store);
        let tank = self.engine.fill(&mut store);
        let result = match &self.code {
            Code::Component(component) => component.call(&mut store, payload, context),
            Code::Command(command) => command.call(&mut store, payload, context),
        };
        let fuel = tank.and_then(|full| store.get_fuel().ok().map(|left| full - left));
        let state = store.into_data();
        let usage = Usage { fuel, ..state.usage() };
        let slow = state.pace.is_slow();
        let result = result.map_err(|error| state.explain(error, &self.limits));
        Called { result, log: state.log.into_text(), usage, slow }
    }
}

impl Called {
    /// A call that was not made.
    fn not_made(error: PluginError) -> Self {
        Self { result: Err(error), log: String::new(), usage: Usage::default(), slow: false }
    }
}
