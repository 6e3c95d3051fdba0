//! Compiles modules off the serving path.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use sha2::{Digest as _, Sha256};

use super::code::{Digest, MachineCode};
use super::process::{CompileFailure, Compilers};
use super::turns::{Permit, Turns};
use crate::metrics::plugins::PLUGINS;
use crate::plugin::cache::Cache;
use crate::plugin::call::Abi;
use crate::plugin::engine::Engine;
use crate::plugin::limits::LoadLimits;
use crate::system::folder::Folder;

/// Maximum number of refused modules that are remembered.
const REFUSED: usize = 1000;

/// Compiles modules for one engine.
pub(crate) struct Compiler {
    engine: wasmtime::Engine,
    cache: Option<Arc<Cache>>,
    limits: LoadLimits,
    turns: Turns,
    compilers: Compilers,
    modules: Mutex<HashMap<Digest, ModuleState>>,
}

/// The state of a module.
enum ModuleState {
    Running(Arc<Compilation>),
    Loaded(Weak<MachineCode>),
    Refused(String),
}

type Made = Result<Arc<MachineCode>, CompileFailure>;

/// A running compilation that callers can wait for.
#[derive(Default)]
struct Compilation {
    made: Mutex<Option<Made>>,
    ended: Condvar,
}

impl Compiler {
    /// Creates a compiler. `program` is the path of hookmill itself.
    pub(crate) fn new(
        engine: &Engine,
        program: PathBuf,
        cache: Option<Arc<Cache>>,
        limits: LoadLimits,
        turns: Turns,
    ) -> Arc<Self> {
        let compilers = Compilers { program, counts_fuel: engine.counts_fuel(), limits };
        let engine = engine.wasmtime().clone();
        Arc::new(Self { engine, cache, limits, turns, compilers, modules: Mutex::default() })
    }

    /// Returns a file's code: that of an identical module that is loaded, or from the cache, or newly compiled. It
    /// takes a turn of `company`.
    pub(crate) fn code(
        &self,
        company: &str,
        folder: &Folder,
        file: &str,
    ) -> Result<(Arc<MachineCode>, Abi, Digest), String> {
        let turn = self.turns.take(company);
        let wasm = read_module(folder, file, self.limits.module_bytes)?;
        let sha256 = Sha256::digest(&wasm).into();
        let abi = tell_abi(&wasm)?;
        Ok((self.compiled(turn, wasm, abi, sha256)?, abi, sha256))
    }

    /// Returns the code of a module that is part of hookmill. It takes a turn of `company`.
    pub(crate) fn own_code(&self, company: &str, wasm: &'static [u8], abi: Abi) -> Result<Arc<MachineCode>, String> {
        self.compiled(self.turns.take(company), wasm, abi, Sha256::digest(wasm).into())
    }

    fn compiled(
        &self,
        turn: Permit,
        wasm: impl AsRef<[u8]>,
        abi: Abi,
        sha256: Digest,
    ) -> Result<Arc<MachineCode>, String> {
        let made = match self.known(sha256) {
            Known::Ready(made) => made,
            // Another caller compiles the same module. Release the turn while waiting, so that others can compile.
            Known::Running(job) => {
                drop((turn, wasm));
                job.wait()
            }
            Known::New(job) => {
                // The waiting callers get a result even if this panics.
                let make = || self.make(wasm.as_ref(), abi, &sha256);
                let crashed = |_| Err(CompileFailure::ForNow("loading the compiled module failed unexpectedly".into()));
                let made = catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(crashed);
                self.end(&job, sha256, &made);
                made
            }
        };
        match made {
            Ok(code) => Ok(code),
            Err(CompileFailure::ForGood(cause)) => {
                Err(format!("{cause}; it is not compiled again until the file or the limits change"))
            }
            Err(CompileFailure::ForNow(cause)) => Err(format!("{cause}; a reload tries again")),
        }
    }

    fn known(&self, sha256: Digest) -> Known {
        let mut modules = lock(&self.modules);
        match modules.get(&sha256) {
            Some(ModuleState::Running(job)) => return Known::Running(Arc::clone(job)),
            Some(ModuleState::Refused(cause)) => return Known::Ready(Err(CompileFailure::ForGood(cause.clone()))),
            Some(ModuleState::Loaded(code)) => {
                if let Some(code) = code.upgrade() {
                    return Known::Ready(Ok(code));
                }
            }
            None => {}
        }
        modules.retain(|_, it| !matches!(it, ModuleState::Loaded(code) if code.strong_count() == 0));
        let job = Arc::<Compilation>::default();
        modules.insert(sha256, ModuleState::Running(Arc::clone(&job)));
        Known::New(job)
    }

    fn make(&self, wasm: &[u8], abi: Abi, sha256: &Digest) -> Made {
        if let Some(code) = self.cache.as_ref().and_then(|it| it.load(&self.engine, abi, sha256)) {
            return Ok(Arc::new(code));
        }
        let started = Instant::now();
        let new = Cache::begin(self.cache.as_deref(), &self.engine, sha256);
        let mut new =
            new.map_err(|e| CompileFailure::ForNow(format!("the file for its artefact cannot be created: {e}")))?;
        let written = self.compilers.run(wasm, abi, new.file());
        PLUGINS.compilation.took(started.elapsed());
        let written = written.inspect_err(|_| {
            PLUGINS.not_compiled.count();
            let millis = started.elapsed().as_millis();
            tracing::warn!(bytes = wasm.len(), millis, "a module could not be compiled");
        })?;
        let code = new.finish(&self.engine, abi, written.bytes, &written.sha256).map_err(CompileFailure::ForNow)?;
        tracing::info!(bytes = wasm.len(), millis = started.elapsed().as_millis(), "a module is compiled");
        Ok(Arc::new(code))
    }

    fn end(&self, job: &Compilation, sha256: Digest, made: &Made) {
        let mut modules = lock(&self.modules);
        match made {
            Ok(code) => drop(modules.insert(sha256, ModuleState::Loaded(Arc::downgrade(code)))),
            Err(CompileFailure::ForGood(cause)) => {
                let refused = modules.iter().filter(|(_, it)| matches!(it, ModuleState::Refused(_)));
                // Forget any one of them. It may be compiled once more, which is bounded too.
                let one = refused.clone().map(|(digest, _)| *digest).next();
                if refused.count() >= REFUSED {
                    one.map(|it| modules.remove(&it));
                }
                modules.insert(sha256, ModuleState::Refused(cause.clone()));
            }
            Err(CompileFailure::ForNow(_)) => drop(modules.remove(&sha256)),
        }
        drop(modules);
        *lock(&job.made) = Some(made.clone());
        job.ended.notify_all();
    }
}

enum Known {
    Ready(Made),
    Running(Arc<Compilation>),
    New(Arc<Compilation>),
}

impl Compilation {
    fn wait(&self) -> Made {
        let mut made = lock(&self.made);
        loop {
            match &*made {
                Some(made) => return made.clone(),
                None => made = self.ended.wait(made).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Detects the ABI: the component model's layer field distinguishes a component from a core module (bytes 4 to 7 of
/// the file).
fn tell_abi(wasm: &[u8]) -> Result<Abi, String> {
    match wasm.get(..8) {
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => Ok(Abi::Command),
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(Abi::Component),
        Some([0, b'a', b's', b'm', ..]) => Err("is WebAssembly of an unknown version".into()),
        _ => Err("is not WebAssembly; precompiled and text files are not accepted".into()),
    }
}

fn read_module(folder: &Folder, file: &str, most: u64) -> Result<Vec<u8>, String> {
    let unreadable = |e: std::io::Error| format!("cannot be read: {e}");
    let size = folder.metadata(file).map_err(unreadable)?.len();
    if size > most {
        return Err(format!("has {size} bytes; the maximum is {most} (plugins.module_mib in hookmill.toml)"));
    }
    folder.read(file, most).map_err(unreadable)
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compiler")
    }
}
