//! Loads plugins: from a file to a [`Plugin`] whose threads accept calls.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use wasmtime::Store;

use super::abi_command::CommandModule;
use super::abi_component::Component;
use super::cache::Cache;
use super::call::Abi;
use super::compile;
use super::compile::{Compiler, Permit, Turns};
use super::engine;
use super::engine::{Engine, Engines, check_need, need_of_component, need_of_module};
use super::error::{HostError, LoadError};
use super::limits::{LoadLimits, PluginLimits};
use super::loaded::Plugin;
use super::priority::{Habit, Pace};
use super::program::{Code, Program};
use super::room::{Need, Seats};
use super::script::{INTERPRETER, Interpreter, MappingSource, ScriptCode};
use super::state::CallState;
use super::threads::Workers;
use crate::model::company::CompanyId;
use crate::system::folder::Folder;

/// Path of this program, valid even after an upgrade has replaced the file.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Memory with which the interpreter can map an ordinary payload, in bytes.
const SCRIPT_MEMORY: usize = 8 << 20;
/// Maximum time to compile a script, and to evaluate it up to its function, each.
const SCRIPT: Duration = Duration::from_secs(2);

/// Code that is ready to be called, and what it needs.
struct MadeCode {
    code: Code,
    need: Need,
    machine: Arc<compile::MachineCode>,
    sha256: compile::Digest,
    abi: Abi,
}

/// Loads plugins. It has the engines and the cache of compiled modules.
#[derive(Debug, Clone)]
pub struct Host {
    engine: Engine,
    compiler: Arc<Compiler>,
    turns: Turns,
    limits: LoadLimits,
    /// The interpreter of scripts, once one was loaded.
    interpreter: Arc<OnceLock<Arc<Interpreter>>>,
    /// The host for candidates; `None` in that host itself.
    aside: Option<Arc<Self>>,
}

impl Host {
    /// Starts the engines. Without a cache directory, every load compiles. The compiler's process runs this
    /// program.
    ///
    /// # Errors
    /// Fails if an engine cannot be created on this machine.
    pub fn new(cache_dir: Option<PathBuf>, limits: LoadLimits) -> Result<Self, HostError> {
        Ok(Self::with(Engines::start(false)?, THIS_PROGRAM.into(), cache_dir, limits))
    }

    /// Creates a host in a program other than hookmill: `hookmill` is its path, for the compiler's process.
    ///
    /// # Errors
    /// Fails if an engine cannot be created on this machine.
    pub fn compiling_with(
        hookmill: PathBuf,
        cache_dir: Option<PathBuf>,
        limits: LoadLimits,
    ) -> Result<Self, HostError> {
        Ok(Self::with(Engines::start(false)?, hookmill, cache_dir, limits))
    }

    /// Creates a host whose engines count instructions, which makes calls slower; for plugin authors.
    ///
    /// # Errors
    /// Fails if an engine cannot be created on this machine.
    pub fn counting(cache_dir: Option<PathBuf>, limits: LoadLimits) -> Result<Self, HostError> {
        Ok(Self::with(Engines::start(true)?, THIS_PROGRAM.into(), cache_dir, limits))
    }

    /// Creates a host that counts instructions in the process of a server: it has one engine, and no instance pool. Its plugins
    /// are for calls on the caller's thread.
    ///
    /// # Errors
    /// Fails if an engine cannot be created on this machine.
    pub(crate) fn counting_next_to_live(cache_dir: Option<PathBuf>, limits: LoadLimits) -> Result<Self, HostError> {
        let engine = engine::counting_next_to_live()?;
        let cache = cache_dir.and_then(|dir| Cache::open(&dir)).map(Arc::new);
        let turns = Turns::start();
        let compiler = Compiler::new(&engine, THIS_PROGRAM.into(), cache, limits, turns.clone());
        Ok(Self { engine, compiler, turns, limits, interpreter: Arc::default(), aside: None })
    }

    fn with(engines: Engines, program: PathBuf, cache_dir: Option<PathBuf>, limits: LoadLimits) -> Self {
        let cache = cache_dir.and_then(|dir| Cache::open(&dir)).map(Arc::new);
        let turns = Turns::start();
        let host = |engine: Engine, aside| {
            let compiler = Compiler::new(&engine, program.clone(), cache.clone(), limits, turns.clone());
            Self { engine, compiler, turns: turns.clone(), limits, interpreter: Arc::default(), aside }
        };
        let aside = host(engines.aside, None);
        host(engines.live, Some(Arc::new(aside)))
    }

    /// Returns the host for candidates, whose calls may run on threads of idle priority. It shares neither locks
    /// nor the instance pool with live plugins, but the cached artefacts.
    #[must_use]
    pub fn aside(&self) -> &Self {
        self.aside.as_deref().unwrap_or(self)
    }

    /// Returns the limits for loading a plugin.
    #[must_use]
    pub fn limits(&self) -> &LoadLimits {
        &self.limits
    }

    /// Returns which allocator is used and why, for the log.
    #[must_use]
    pub fn describe(&self) -> &str {
        self.engine.describe()
    }

    /// Takes a permit for CPU-bound work, as compilations do. A company has one at a time.
    #[must_use]
    pub fn turn(&self, company: &str) -> Permit {
        self.turns.take(company)
    }

    /// Compiles a module, or takes its artefact from the cache, and starts its threads. The calls and the
    /// compilation count towards the company's share.
    ///
    /// # Errors
    /// The file and what is wrong with it.
    pub fn load(
        &self,
        company: &CompanyId,
        name: &str,
        folder: &Folder,
        file: &str,
        limits: PluginLimits,
    ) -> Result<Plugin, LoadError> {
        let failed = |cause| LoadError { file: folder.join(file).display().to_string(), cause };
        let (machine, abi, sha256) = self.compiler.code(company.as_str(), folder, file).map_err(failed)?;
        let (code, need) = match &*machine {
            compile::MachineCode::Component(it) => {
                (Component::link(&self.engine, it).map(Code::Component), need_of_component(it))
            }
            compile::MachineCode::Module(it) => {
                (CommandModule::link(&self.engine, it).map(Code::Command), need_of_module(it))
            }
        };
        let code = code.map_err(failed)?;
        check_need(need).map_err(failed)?;
        let made = MadeCode { code, need, machine, sha256, abi };
        self.start(company, name, made, limits).map_err(failed)
    }

    /// Compiles a script in the interpreter, and starts the threads of its plugin. The interpreter itself is compiled
    /// once, for all scripts.
    ///
    /// # Errors
    /// What is wrong with the script, with its place.
    pub fn load_script(
        &self,
        company: &CompanyId,
        name: &str,
        source: MappingSource,
        limits: PluginLimits,
    ) -> Result<Plugin, String> {
        if limits.memory_bytes < SCRIPT_MEMORY {
            return Err(format!("a script needs a memory_mib of {} or more", SCRIPT_MEMORY >> 20));
        }
        let interpreter = self.interpreter(company)?;
        // Not in the instance pool, in which live calls have reserved their places.
        let aside = self.aside();
        let compiling = aside.interpreter(company)?;
        let code = {
            let _turn = self.turns.take(company.as_str());
            ScriptCode::compile(&compiling, source, || aside.loading_store(&limits))?
        };
        let code = code.for_engine(Arc::clone(&interpreter));
        let (machine, sha256) = (Arc::clone(&interpreter.machine), interpreter.sha256);
        let made = MadeCode { code: Code::Script(code), need: interpreter.need, machine, sha256, abi: Abi::Script };
        self.start(company, name, made, limits)
    }

    /// Returns the interpreter for this host's engine.
    fn interpreter(&self, company: &CompanyId) -> Result<Arc<Interpreter>, String> {
        if let Some(there) = self.interpreter.get() {
            return Ok(Arc::clone(there));
        }
        let machine = self.compiler.own_code(company.as_str(), INTERPRETER, Abi::Script)?;
        let linked = Interpreter::link(&self.engine, machine)?;
        check_need(linked.need)?;
        Ok(Arc::clone(self.interpreter.get_or_init(|| linked)))
    }

    /// Creates the store in which a script is compiled, with time to do so.
    fn loading_store(&self, limits: &PluginLimits) -> Store<CallState> {
        let state = CallState::new(limits, crate::model::time::now(), Pace::of(None, false));
        let mut store = Store::new(self.engine.wasmtime(), state);
        store.limiter(|state| &mut state.meter);
        store.set_epoch_deadline(self.engine.ticks(limits.time.max(SCRIPT)));
        self.engine.fill(&mut store);
        store
    }

    fn start(&self, company: &CompanyId, name: &str, made: MadeCode, limits: PluginLimits) -> Result<Plugin, String> {
        let MadeCode { code, need, machine, sha256, abi } = made;
        let seats = self.engine.room().map(|room| Seats::reserve(room, company, name, need));
        let engine = self.engine.clone();
        let program = Arc::new(Program {
            engine,
            code,
            _machine: machine,
            seats,
            habit: Habit::default(),
            limits,
            name: name.to_owned(),
            retired: Arc::default(),
        });
        let workers = Workers::start(&program);
        let workers = workers.map_err(|e| format!("its threads cannot be started: {e}"))?;
        Ok(Plugin { program, workers, sha256, abi })
    }
}
