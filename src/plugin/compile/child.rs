//! The compiler's process: it limits itself, reads one module, writes one artefact, and ends.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use sha2::{Digest as _, Sha256};

use super::order::{CompileOutcome, Order};
use crate::plugin::call::Abi;
use crate::plugin::engine;

/// Maximum number of open files: the three streams, and those that a library opens.
const FILES: u64 = 16;
/// Lower priority than everything that serves requests.
const NICE: i32 = 10;

/// Runs as the compiler's process. `order` is its only argument.
#[must_use]
pub fn compile_here(order: &str) -> ExitCode {
    // The message of a panic may quote the module.
    std::panic::set_hook(Box::new(|_| {}));
    let verdict = work(order).unwrap_or_else(|verdict| verdict);
    let text = serde_json::to_vec(&verdict).unwrap_or_default();
    let told = std::io::stderr().write_all(&text);
    let compiled = matches!(verdict, CompileOutcome::Compiled { .. });
    if told.is_ok() && compiled { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work(order: &str) -> Result<CompileOutcome, CompileOutcome> {
    let failed = |error: &dyn std::fmt::Display| CompileOutcome::Failed(error.to_string());
    let order: Order = serde_json::from_str(order).map_err(|e| failed(&e))?;
    confine(&order).map_err(|e| failed(&e))?;
    let mut wasm = Vec::new();
    std::io::stdin().lock().read_to_end(&mut wasm).map_err(|e| failed(&e))?;
    let engine = engine::for_compiling(order.counts_fuel).map_err(|e| failed(&e))?;
    let compiled = match order.abi {
        Abi::Component => engine.precompile_component(&wasm),
        Abi::Command | Abi::Script => engine.precompile_module(&wasm),
    };
    let artefact = compiled.map_err(|e| CompileOutcome::Refused(format!("{e:#}")))?;
    let out = std::io::stdout().as_fd().try_clone_to_owned().map_err(|e| failed(&e))?;
    File::from(out).write_all(&artefact).map_err(|e| failed(&e))?;
    Ok(CompileOutcome::Compiled { bytes: artefact.len() as u64, sha256: Sha256::digest(&artefact).into() })
}

/// Sets the limits of this process. They cannot be lifted again.
fn confine(order: &Order) -> std::io::Result<()> {
    limit(libc::RLIMIT_AS, order.memory_bytes)?;
    limit(libc::RLIMIT_FSIZE, order.memory_bytes)?;
    limit(libc::RLIMIT_CPU, order.cpu.as_secs() + 1)?;
    limit(libc::RLIMIT_NOFILE, FILES)?;
    // No core dump if the process crashes: it would contain the module.
    limit(libc::RLIMIT_CORE, 0)?;
    #[allow(unsafe_code, reason = "calls that take numbers and change this process only, which has no files but three")]
    let done = unsafe {
        // Closes file descriptors that the server has inherited (Linux 5.9; its own are closed already).
        libc::close_range(3, libc::c_uint::MAX, 0);
        // The return value is the new priority, which may be -1. The process continues even if it fails.
        libc::nice(NICE);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)
    };
    let ended_before = std::os::unix::process::parent_id() != order.parent;
    match (done, ended_before) {
        (0, false) => Ok(()),
        (0, true) => Err(std::io::Error::other("the server has ended")),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn limit(of: libc::__rlimit_resource_t, most: u64) -> std::io::Result<()> {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    #[allow(unsafe_code, reason = "it reads the limit that is passed, and changes this process only")]
    let done = unsafe { libc::setrlimit(of, &raw const limit) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
