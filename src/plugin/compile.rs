//! From a module's file to machine code: as many modules at a time as there are cores, identical ones once, and each with
//! a clock of its own.
//!
//! A compilation cannot be stopped. One that takes longer than its limit is given up by those who wait for it, and goes
//! on; its result is kept, and [`Compiler::late`] says when it is there.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, Module, component::Component};

use super::cache::Cache;
use super::{Abi, LoadLimits};
use crate::folder::Folder;

/// SHA-256 of a module's bytes.
pub(super) type Digest = [u8; 32];

/// A module as machine code. Plugins with the same module share it.
#[derive(Debug)]
pub(super) enum Code {
    Component(Component),
    Module(Module),
}

/// Why there is no code.
#[derive(Debug, Clone)]
pub(super) struct NoCode {
    pub(super) cause: String,
    /// Names the compilation, where it is still going on.
    pub(super) late: Option<Digest>,
}

impl From<String> for NoCode {
    fn from(cause: String) -> Self {
        Self { cause, late: None }
    }
}

/// Permits for work that keeps a core busy: as many as there are cores, in the order in which they are asked for.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    free: Receiver<()>,
    back: Sender<()>,
}

/// A permit, until it is dropped.
#[derive(Debug)]
pub struct Turn(Sender<()>);

impl Turns {
    pub(super) fn one_a_core() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (back, free) = bounded(cores);
        (0..cores).for_each(|_| back.try_send(()).unwrap_or_default());
        Self { free, back }
    }

    pub(super) fn take(&self) -> Turn {
        // It cannot fail, as this end holds a sender.
        let _taken = self.free.recv();
        Turn(self.back.clone())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _there_is_room = self.0.try_send(());
    }
}

/// Compiles for one engine.
pub(super) struct Compiler {
    engine: Engine,
    cache: Option<Arc<Cache>>,
    limits: LoadLimits,
    turns: Turns,
    modules: Mutex<HashMap<Digest, Entry>>,
    late: (Sender<Digest>, Receiver<Digest>),
}

/// What is known of a module.
enum Entry {
    Running(Arc<Job>),
    Loaded(Weak<Code>),
    /// Came too late for those who waited, and was not asked for since.
    Late(Result<Arc<Code>, String>),
}

/// A compilation.
struct Job {
    started: Instant,
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    /// Reads or writes the cache, which the limit does not cover.
    untimed: bool,
    /// Somebody has waited for as long as the limit says.
    given_up: bool,
    result: Option<Result<Arc<Code>, String>>,
}

impl Compiler {
    pub(super) fn new(engine: Engine, cache: Option<Arc<Cache>>, limits: LoadLimits, turns: Turns) -> Arc<Self> {
        Arc::new(Self { engine, cache, limits, turns, modules: Mutex::default(), late: unbounded() })
    }

    /// Modules whose compilation has ended after it was given up: loading them again takes the result.
    pub(super) fn late(&self) -> &Receiver<Digest> {
        &self.late.1
    }

    /// A file's code: that of an identical module that is loaded, or from the cache, or compiled.
    pub(super) fn code(self: &Arc<Self>, folder: &Folder, file: &str) -> Result<(Arc<Code>, Abi, Digest), NoCode> {
        let turn = self.turns.take();
        let wasm = read_module(folder, file, self.limits.module_bytes)?;
        let sha256 = Sha256::digest(&wasm).into();
        let abi = tell_abi(&wasm)?;
        let job = match self.known(sha256) {
            Known::Ready(result) => return Ok((result?, abi, sha256)),
            // Others may compile while this one waits for what it need not do itself.
            Known::Running(job) => {
                drop((turn, wasm));
                job
            }
            Known::New(job) => {
                self.start(Arc::clone(&job), wasm, abi, sha256);
                let result = job.wait(self.limits.compile, sha256);
                drop(turn);
                return result.map(|code| (code, abi, sha256));
            }
        };
        job.wait(self.limits.compile, sha256).map(|code| (code, abi, sha256))
    }

    fn known(&self, sha256: Digest) -> Known {
        let mut modules = lock(&self.modules);
        match modules.get(&sha256) {
            Some(Entry::Running(job)) => return Known::Running(Arc::clone(job)),
            Some(Entry::Loaded(code)) => {
                if let Some(code) = code.upgrade() {
                    return Known::Ready(Ok(code));
                }
            }
            Some(Entry::Late(_)) => {
                if let Some(Entry::Late(result)) = modules.remove(&sha256) {
                    if let Ok(code) = &result {
                        modules.insert(sha256, Entry::Loaded(Arc::downgrade(code)));
                    }
                    return Known::Ready(result);
                }
            }
            None => {}
        }
        modules.retain(|_, it| !matches!(it, Entry::Loaded(code) if code.strong_count() == 0));
        let job = Arc::new(Job { started: Instant::now(), progress: Mutex::default(), changed: Condvar::new() });
        modules.insert(sha256, Entry::Running(Arc::clone(&job)));
        Known::New(job)
    }

    /// However it ends, those who wait for the job are told.
    fn start(self: &Arc<Self>, job: Arc<Job>, wasm: Vec<u8>, abi: Abi, sha256: Digest) {
        let (compiler, unstarted) = (Arc::clone(self), Arc::clone(&job));
        let work = move || {
            let make = || compiler.make(&job, &wasm, abi, &sha256);
            let made = catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|_| Err("the compiler crashed".into()));
            compiler.end(&job, sha256, made.map_err(|cause| format!("cannot be compiled: {cause}")));
        };
        let thread = std::thread::Builder::new().name("plugin-compile".into()).spawn(work);
        if let Err(error) = thread {
            self.end(&unstarted, sha256, Err(format!("cannot be compiled: {error}")));
        }
    }

    /// Gives the code, and whether the cache has it.
    fn make(&self, job: &Job, wasm: &[u8], abi: Abi, sha256: &Digest) -> Result<(Arc<Code>, bool), String> {
        job.update(|it| it.untimed = true);
        if let Some(code) = self.cache.as_ref().and_then(|it| it.load(&self.engine, abi, sha256)) {
            return Ok((Arc::new(code), true));
        }
        job.update(|it| it.untimed = false);
        let started = Instant::now();
        let code = match abi {
            Abi::Component => Component::from_binary(&self.engine, wasm).map(Code::Component),
            Abi::Command => Module::from_binary(&self.engine, wasm).map(Code::Module),
        };
        let code = Arc::new(code.map_err(|e| format!("{e:#}"))?);
        tracing::info!(bytes = wasm.len(), millis = started.elapsed().as_millis(), "a module is compiled");
        job.update(|it| it.untimed = true);
        let kept = self.cache.as_ref().is_some_and(|it| it.keep(&self.engine, &code, sha256));
        Ok((code, kept))
    }

    fn end(&self, job: &Job, sha256: Digest, made: Result<(Arc<Code>, bool), String>) {
        let kept = made.as_ref().is_ok_and(|(_, kept)| *kept);
        let result = made.map(|(code, _)| code);
        let mut modules = lock(&self.modules);
        let given_up = job.update(|it| {
            it.result = Some(result.clone());
            it.given_up
        });
        match result {
            // An artefact in the cache is as good, and takes no memory.
            Ok(code) if !given_up || kept => drop(modules.insert(sha256, Entry::Loaded(Arc::downgrade(&code)))),
            result if given_up => drop(modules.insert(sha256, Entry::Late(result))),
            _ => drop(modules.remove(&sha256)),
        }
        drop(modules);
        if given_up {
            let _nobody_loads_any_more = self.late.0.send(sha256);
        }
    }
}

enum Known {
    Ready(Result<Arc<Code>, String>),
    Running(Arc<Job>),
    New(Arc<Job>),
}

impl Job {
    fn update<T>(&self, change: impl FnOnce(&mut Progress) -> T) -> T {
        let changed = change(&mut lock(&self.progress));
        self.changed.notify_all();
        changed
    }

    /// The result, unless compiling takes longer than `limit`.
    fn wait(&self, limit: Duration, sha256: Digest) -> Result<Arc<Code>, NoCode> {
        let mut progress = lock(&self.progress);
        loop {
            if let Some(result) = &progress.result {
                return Ok(result.clone()?);
            }
            let left = limit.saturating_sub(self.started.elapsed());
            if progress.untimed {
                progress = self.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
            } else if left.is_zero() {
                progress.given_up = true;
                let cause = format!(
                    "was not compiled within {} ms (plugins.compile_ms in hookmill.toml); it is still being compiled, and is loaded when that has ended",
                    limit.as_millis()
                );
                return Err(NoCode { cause, late: Some(sha256) });
            } else {
                let waited = self.changed.wait_timeout(progress, left);
                progress = waited.unwrap_or_else(PoisonError::into_inner).0;
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
