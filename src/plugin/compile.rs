//! From a module's file to machine code: a few modules at a time, identical ones once, and each in a process of its own
//! with limits on its time and memory (`compile/process.rs`, and `compile/child.rs` for what runs there).
//!
//! A module that the compiler does not take, or not within its limits, is remembered: asking again costs nothing until
//! the file changes.

mod child;
mod order;
mod process;
mod turns;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use wasmtime::{Module, component::Component};

use super::cache::Cache;
use super::engine::Engine;
use super::{Abi, LoadLimits};
use crate::folder::Folder;
use process::{Compilers, Failed};

pub use child::compile_here;
pub(crate) use process::SUBCOMMAND;
pub use turns::Turn;
pub(super) use turns::Turns;

/// SHA-256 of a module's bytes.
pub(super) type Digest = [u8; 32];

/// Most modules that are remembered as refused.
const REFUSED: usize = 1000;

/// A module as machine code. Plugins with the same module share it.
#[derive(Debug)]
pub(super) enum Code {
    Component(Component),
    Module(Module),
}

/// Compiles for one engine.
pub(super) struct Compiler {
    engine: wasmtime::Engine,
    cache: Option<Arc<Cache>>,
    limits: LoadLimits,
    turns: Turns,
    compilers: Compilers,
    modules: Mutex<HashMap<Digest, Entry>>,
}

/// What is known of a module.
enum Entry {
    Running(Arc<Job>),
    Loaded(Weak<Code>),
    Refused(String),
}

type Made = Result<Arc<Code>, Failed>;

/// A compilation, for those who wait for it.
#[derive(Default)]
struct Job {
    made: Mutex<Option<Made>>,
    ended: Condvar,
}

impl Compiler {
    /// `program` is hookmill itself.
    pub(super) fn new(
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

    /// A file's code: that of an identical module that is loaded, or from the cache, or compiled. `company` is whose turn
    /// it takes.
    pub(super) fn code(&self, company: &str, folder: &Folder, file: &str) -> Result<(Arc<Code>, Abi, Digest), String> {
        let turn = self.turns.take(company);
        let wasm = read_module(folder, file, self.limits.module_bytes)?;
        let sha256 = Sha256::digest(&wasm).into();
        let abi = tell_abi(&wasm)?;
        let made = match self.known(sha256) {
            Known::Ready(made) => made,
            // Others may compile while this one waits for what it need not do itself.
            Known::Running(job) => {
                drop((turn, wasm));
                job.wait()
            }
            Known::New(job) => {
                // However it ends, those who wait for the job get an answer.
                let make = || self.make(&wasm, abi, &sha256);
                let crashed = |_| Err(Failed::ForNow("loading the compiled module failed unexpectedly".into()));
                let made = catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(crashed);
                self.end(&job, sha256, &made);
                made
            }
        };
        match made {
            Ok(code) => Ok((code, abi, sha256)),
            Err(Failed::ForGood(cause)) => {
                Err(format!("{cause}; it is not compiled again until the file or the limits change"))
            }
            Err(Failed::ForNow(cause)) => Err(format!("{cause}; a reload tries again")),
        }
    }

    fn known(&self, sha256: Digest) -> Known {
        let mut modules = lock(&self.modules);
        match modules.get(&sha256) {
            Some(Entry::Running(job)) => return Known::Running(Arc::clone(job)),
            Some(Entry::Refused(cause)) => return Known::Ready(Err(Failed::ForGood(cause.clone()))),
            Some(Entry::Loaded(code)) => {
                if let Some(code) = code.upgrade() {
                    return Known::Ready(Ok(code));
                }
            }
            None => {}
        }
        modules.retain(|_, it| !matches!(it, Entry::Loaded(code) if code.strong_count() == 0));
        let job = Arc::<Job>::default();
        modules.insert(sha256, Entry::Running(Arc::clone(&job)));
        Known::New(job)
    }

    fn make(&self, wasm: &[u8], abi: Abi, sha256: &Digest) -> Made {
        if let Some(code) = self.cache.as_ref().and_then(|it| it.load(&self.engine, abi, sha256)) {
            return Ok(Arc::new(code));
        }
        let started = Instant::now();
        let new = Cache::begin(self.cache.as_deref(), &self.engine, sha256);
        let mut new = new.map_err(|e| Failed::ForNow(format!("no file for its artefact can be made: {e}")))?;
        let written = self.compilers.run(wasm, abi, new.file()).inspect_err(|_| {
            let millis = started.elapsed().as_millis();
            tracing::warn!(bytes = wasm.len(), millis, "a module could not be compiled");
        })?;
        let code = new.finish(&self.engine, abi, written.bytes, &written.sha256).map_err(Failed::ForNow)?;
        tracing::info!(bytes = wasm.len(), millis = started.elapsed().as_millis(), "a module is compiled");
        Ok(Arc::new(code))
    }

    fn end(&self, job: &Job, sha256: Digest, made: &Made) {
        let mut modules = lock(&self.modules);
        match made {
            Ok(code) => drop(modules.insert(sha256, Entry::Loaded(Arc::downgrade(code)))),
            Err(Failed::ForGood(cause)) => {
                let refused = modules.iter().filter(|(_, it)| matches!(it, Entry::Refused(_)));
                // Any of them: to compile it once more is bounded as well.
                let one = refused.clone().map(|(digest, _)| *digest).next();
                if refused.count() >= REFUSED {
                    one.map(|it| modules.remove(&it));
                }
                modules.insert(sha256, Entry::Refused(cause.clone()));
            }
            Err(Failed::ForNow(_)) => drop(modules.remove(&sha256)),
        }
        drop(modules);
        *lock(&job.made) = Some(made.clone());
        job.ended.notify_all();
    }
}

enum Known {
    Ready(Made),
    Running(Arc<Job>),
    New(Arc<Job>),
}

impl Job {
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

/// The component model's layer field tells a component from a core module (bytes 4 to 7 of the file).
fn tell_abi(wasm: &[u8]) -> Result<Abi, String> {
    match wasm.get(..8) {
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => Ok(Abi::Command),
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(Abi::Component),
        Some([0, b'a', b's', b'm', ..]) => Err("is WebAssembly of a version that is not known".into()),
        _ => Err("is not WebAssembly; precompiled or text files are not taken".into()),
    }
}

fn read_module(folder: &Folder, file: &str, most: u64) -> Result<Vec<u8>, String> {
    let unreadable = |e: std::io::Error| format!("cannot be read: {e}");
    let size = folder.metadata(file).map_err(unreadable)?.len();
    if size > most {
        return Err(format!("has {size} bytes, and {most} are the most (plugins.module_mib in hookmill.toml)"));
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
