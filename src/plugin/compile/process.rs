//! Compiles in a separate process, which is killed if it takes too long: a compilation cannot be stopped from
//! inside, and a module of a few hundred KiB can make it use gigabytes.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use rustix::fs::{MemfdFlags, memfd_create};

use super::order::{CompileOutcome, Order};
use crate::plugin::call::Abi;
use crate::plugin::limits::LoadLimits;

/// The hidden subcommand of `hookmill`.
pub(crate) const SUBCOMMAND: &str = "compile-module";
/// Maximum size of the process's response, in bytes.
const SAID: u64 = 64 << 10;
/// Maximum number of characters of an error; it names imports and exports, which may be long.
const SHOWN: usize = 500;
/// Number of threads of one compilation.
const THREADS: usize = 4;
/// On a busy machine, a process may take this many times its limit in wall-clock time until it has used the limit
/// in CPU time: it runs at a low priority and is not slow by itself.
const PATIENCE: u32 = 4;
/// How often the process is checked after its limit.
const LOOK: Duration = Duration::from_millis(100);

/// Runs the compiler's process.
#[derive(Debug, Clone)]
pub(super) struct Compilers {
    pub(super) program: PathBuf,
    pub(super) counts_fuel: bool,
    pub(super) limits: LoadLimits,
}

/// Why a compilation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CompileFailure {
    /// Another attempt would fail too, because of the module or the limits.
    ForGood(String),
    /// Another attempt may succeed: the cause is the machine.
    ForNow(String),
}

/// What the process reports about the artefact that it has written.
pub(super) struct Artefact {
    pub(super) bytes: u64,
    pub(super) sha256: [u8; 32],
}

impl Compilers {
    /// Compiles a module into this file, at its current position.
    pub(super) fn run(&self, wasm: &[u8], abi: Abi, out: &File) -> Result<Artefact, CompileFailure> {
        let cannot = |what: &str, e: std::io::Error| CompileFailure::ForNow(format!("{what}: {e}"));
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        let module = in_memory(wasm).map_err(|e| cannot("memory for the compiler's input cannot be allocated", e))?;
        let order = Order {
            abi,
            counts_fuel: self.counts_fuel,
            memory_bytes: self.limits.compile_bytes,
            cpu: self.limits.compile.saturating_mul(u32::try_from(threads).unwrap_or(1)),
            parent: std::process::id(),
        };
        let mut command = self.command(&order, threads).map_err(|e| cannot("the compiler's process", e))?;
        command.stdin(module).stdout(out.try_clone().map_err(|e| cannot("the artefact's file", e))?);
        let child = command.stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(|e| {
            let program = self.program.display();
            cannot(&format!("the compiler's process ({program} {SUBCOMMAND}) cannot be started"), e)
        })?;
        self.outcome(&mut child)
    }

    /// Creates the command, without the server's environment, which may contain secrets.
    fn command(&self, order: &Order, threads: usize) -> std::io::Result<Command> {
        let mut command = Command::new(&self.program);
        command.arg(SUBCOMMAND).arg(serde_json::to_string(order)?).env_clear().current_dir("/");
        command.env("RAYON_NUM_THREADS", threads.to_string());
        // Address space is limited, so the allocator must reserve little in advance: 32 MiB, not 1 GiB.
        command.env("MIMALLOC_ARENA_RESERVE", (32 << 10).to_string()).env("MIMALLOC_SHOW_ERRORS", "0");
        Ok(command)
    }

    fn outcome(&self, child: &mut Child) -> Result<Artefact, CompileFailure> {
        let (said, answer) = bounded(1);
        let stderr = child.stderr.take();
        let reader = std::thread::Builder::new().name("plugin-compile-said".into()).spawn(move || {
            let mut text = Vec::new();
            let _what_has_come = stderr.map(|it| it.take(SAID).read_to_end(&mut text));
            let _given_up = said.send(text);
        });
        let text = reader.ok().and_then(|_| self.answer(&answer, child.id()));
        let used = text.is_none().then(|| cpu_time(child.id())).flatten();
        // A process that has responded ends by itself; one that has not is killed.
        let _ended_already = child.kill();
        let status = child.wait().map_err(|e| CompileFailure::ForNow(format!("the compiler's process: {e}")))?;
        let Some(text) = text else { return Err(self.too_slow(used)) };
        self.verdict(&text, status)
    }

    /// Returns the process's response, if it comes in time.
    fn answer(&self, said: &Receiver<Vec<u8>>, pid: u32) -> Option<Vec<u8>> {
        let (limit, started) = (self.limits.compile, Instant::now());
        if let Ok(text) = said.recv_timeout(limit) {
            return Some(text);
        }
        while started.elapsed() < limit * PATIENCE && cpu_time(pid)? < limit {
            match said.recv_timeout(LOOK) {
                Ok(text) => return Some(text),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }

    fn verdict(&self, text: &[u8], status: ExitStatus) -> Result<Artefact, CompileFailure> {
        match serde_json::from_slice(text) {
            Ok(CompileOutcome::Compiled { bytes, sha256 }) if status.success() => Ok(Artefact { bytes, sha256 }),
            Ok(CompileOutcome::Refused(cause)) => {
                let cause: String = cause.chars().take(SHOWN).collect();
                Err(CompileFailure::ForGood(format!("cannot be compiled: {cause}")))
            }
            Ok(CompileOutcome::Failed(cause)) => {
                Err(CompileFailure::ForNow(format!("the compiler's process failed: {cause}")))
            }
            _ => Err(self.died(text, status)),
        }
    }

    fn died(&self, text: &[u8], status: ExitStatus) -> CompileFailure {
        let is = |signal: i32| status.signal() == Some(signal);
        // Rust's message before it aborts.
        let out_of_memory = String::from_utf8_lossy(text).contains("memory allocation of");
        if out_of_memory {
            let mib = self.limits.compile_bytes >> 20;
            return CompileFailure::ForGood(format!(
                "takes more than {mib} MiB to compile (plugins.compile_mib in hookmill.toml)"
            ));
        }
        if is(libc::SIGXCPU) {
            return self.too_slow(None);
        }
        if is(libc::SIGKILL) {
            return CompileFailure::ForNow(
                "the compiler's process was killed: the machine may be out of memory".into(),
            );
        }
        CompileFailure::ForGood(format!("cannot be compiled: the compiler crashed ({status})"))
    }

    fn too_slow(&self, used: Option<Duration>) -> CompileFailure {
        let limit = self.limits.compile;
        let said = format!("was not compiled within {} ms (plugins.compile_ms in hookmill.toml)", limit.as_millis());
        match used {
            Some(used) if used < limit => CompileFailure::ForNow(format!("{said}: the machine was too busy")),
            _ => CompileFailure::ForGood(said),
        }
    }
}

fn in_memory(wasm: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("module", MemfdFlags::CLOEXEC)?);
    file.write_all(wasm)?;
    file.rewind()?;
    Ok(file)
}

/// Returns the CPU time of a process (proc(5): fields 14 and 15, in hundredths of a second).
fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 10))
}
