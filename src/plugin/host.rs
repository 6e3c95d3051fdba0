//! Loads plugins: from a file to a [`Plugin`] whose threads accept calls.

use std::path::PathBuf;
use std::sync::Arc;

use super::abi_command::CommandModule;
use super::abi_component::Component;
use super::cache::Cache;
use super::compile;
use super::compile::{Compiler, Permit, Turns};
use super::engine::{Engine, Engines, check_need, need_of_component, need_of_module};
use super::error::{HostError, LoadError};
use super::limits::{LoadLimits, PluginLimits};
use super::loaded::Plugin;
use super::priority::Habit;
use super::program::{Code, Program};
use super::room::Seats;
use super::threads::Workers;
use crate::model::company::CompanyId;
use crate::system::folder::Folder;

/// Path of this program, valid even after an upgrade has replaced the file.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Loads plugins. It has the engines and the cache of compiled modules.
#[derive(Debug, Clone)]
pub struct Host {
    engine: Engine,
    compiler: Arc<Compiler>,
    turns: Turns,
    limits: LoadLimits,
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

    fn with(engines: Engines, program: PathBuf, cache_dir: Option<PathBuf>, limits: LoadLimits) -> Self {
        let cache = cache_dir.and_then(|dir| Cache::open(&dir)).map(Arc::new);
        let turns = Turns::start();
        let host = |engine: Engine, aside| {
            let compiler = Compiler::new(&engine, program.clone(), cache.clone(), limits, turns.clone());
            Self { engine, compiler, turns: turns.clone(), limits, aside }
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
        let workers = workers.map_err(|e| failed(format!("its threads cannot be started: {e}")))?;
        Ok(Plugin { program, workers, sha256, abi })
    }
}
