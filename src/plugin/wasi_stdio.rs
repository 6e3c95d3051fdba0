//! The system interface of a command: stdin, stdout, stderr, its context as environment variables, a constant
//! clock, and random bytes that are the same for the same event.
//!
//! Names and layouts are those of WASI preview 1 (`wasi_snapshot_preview1.witx`). The functions for files, sockets
//! and signals exist, so that ordinary programs link, but always return an error.

use wasmtime::{Caller, ExternType, Linker, Module, Val, ValType};

use super::state::CallState;
use super::wasi_abi::{BADF, Guest, INVAL, SUCCESS};
use super::wasi_calls::{
    arguments, arguments_sizes, environ, environ_sizes, fd_read, fd_write, fdstat, filestat, nanos, poll, put, slice,
    with,
};

/// Maximum number of random bytes per call. Generating them is the host's work, which no deadline stops.
const RANDOM_BYTES: u32 = 1 << 20;

const MODULE: &str = "wasi_snapshot_preview1";

const NOSYS: i32 = 52;

const SPIPE: i32 = 70;

const NOTCAPABLE: i32 = 76;

/// Functions that are implemented; see [`offered`].
const OFFERED: [&str; 15] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_close",
    "fd_fdstat_get",
    "fd_filestat_get",
    "fd_read",
    "fd_write",
    "poll_oneoff",
    "proc_exit",
    "random_get",
    "sched_yield",
];

/// Functions that always fail, with the error that programs expect if the feature is missing.
const REFUSED: [(&str, i32); 32] = [
    ("fd_advise", BADF),
    ("fd_allocate", BADF),
    ("fd_datasync", BADF),
    ("fd_fdstat_set_rights", BADF),
    ("fd_filestat_set_size", BADF),
    ("fd_filestat_set_times", BADF),
    ("fd_pread", BADF),
    ("fd_prestat_dir_name", BADF),
    ("fd_prestat_get", BADF),
    ("fd_pwrite", BADF),
    ("fd_readdir", BADF),
    ("fd_renumber", BADF),
    ("fd_seek", SPIPE),
    ("fd_sync", BADF),
    ("fd_tell", SPIPE),
    ("path_create_directory", NOTCAPABLE),
    ("path_filestat_get", NOTCAPABLE),
    ("path_filestat_set_times", NOTCAPABLE),
    ("path_link", NOTCAPABLE),
    ("path_open", NOTCAPABLE),
    ("path_readlink", NOTCAPABLE),
    ("path_remove_directory", NOTCAPABLE),
    ("path_rename", NOTCAPABLE),
    ("path_symlink", NOTCAPABLE),
    ("path_unlink_file", NOTCAPABLE),
    ("proc_raise", NOSYS),
    ("sock_accept", BADF),
    ("sock_recv", BADF),
    ("sock_send", BADF),
    ("sock_shutdown", BADF),
    ("thread-spawn", NOSYS),
    ("fd_fdstat_set_flags", SUCCESS),
];

/// The error with which `proc_exit` unwinds the guest.
#[derive(Debug, thiserror::Error)]
#[error("the program ended with exit code {0}")]
pub(super) struct Exit(pub(super) i32);

/// Defines the functions that the module imports, and fails for unsupported imports.
pub(super) fn add_to_linker(linker: &mut Linker<CallState>, module: &Module) -> Result<(), String> {
    offered(linker).map_err(|e| e.to_string())?;
    for import in module.imports() {
        if import.module() == MODULE && OFFERED.contains(&import.name()) {
            continue;
        }
        let refusal = REFUSED.iter().find(|(name, _)| import.module() == MODULE && import.name() == *name);
        let (Some((_, errno)), ExternType::Func(ty)) = (refusal, import.ty()) else {
            return Err(format!(
                "imports \"{}\" \"{}\", which is not offered; a command may import {MODULE} (preview 1) only",
                import.module(),
                import.name()
            ));
        };
        if ty.results().len() != 1 || !ty.results().all(|it| matches!(it, ValType::I32)) {
            return Err(format!("imports {MODULE} \"{}\" with another type than preview 1's", import.name()));
        }
        let errno = *errno;
        let refuse = move |_: Caller<'_, CallState>, _: &[Val], results: &mut [Val]| {
            results[0] = Val::I32(errno);
            Ok(())
        };
        linker.func_new(MODULE, import.name(), ty, refuse).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn offered(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    linker
        .func_wrap(MODULE, "args_sizes_get", |mut guest: Guest<'_>, count: u32, size: u32| {
            with(&mut guest, |memory, _| arguments_sizes(memory, count, size))
        })?
        .func_wrap(MODULE, "args_get", |mut guest: Guest<'_>, list: u32, texts: u32| {
            with(&mut guest, |memory, _| arguments(memory, list, texts))
        })?
        .func_wrap(MODULE, "environ_sizes_get", |mut guest: Guest<'_>, count: u32, size: u32| {
            with(&mut guest, |memory, state| environ_sizes(memory, state, count, size))
        })?
        .func_wrap(MODULE, "environ_get", |mut guest: Guest<'_>, list: u32, texts: u32| {
            with(&mut guest, |memory, state| environ(memory, state, list, texts))
        })?
        .func_wrap(MODULE, "clock_res_get", |mut guest: Guest<'_>, _: i32, out: u32| {
            with(&mut guest, |memory, _| put(memory, out, &1_u64.to_le_bytes()))
        })?
        .func_wrap(MODULE, "clock_time_get", |mut guest: Guest<'_>, _: i32, _: i64, out: u32| {
            with(&mut guest, |memory, state| put(memory, out, &nanos(state).to_le_bytes()))
        })?
        .func_wrap(MODULE, "random_get", |mut guest: Guest<'_>, out: u32, length: u32| {
            if length > RANDOM_BYTES {
                return INVAL;
            }
            with(&mut guest, |memory, state| slice(memory, out, length).map(|out| state.stdio.fill(out)))
        })?
        .func_wrap(MODULE, "fd_read", |mut guest: Guest<'_>, fd: i32, list: u32, count: u32, out: u32| {
            with(&mut guest, |memory, state| if fd == 0 { fd_read(memory, state, list, count, out) } else { Err(BADF) })
        })?
        .func_wrap(MODULE, "fd_write", fd_write)?
        .func_wrap(MODULE, "fd_close", |_: Guest<'_>, fd: i32| if (0..=2).contains(&fd) { SUCCESS } else { BADF })?
        .func_wrap(MODULE, "fd_fdstat_get", |mut guest: Guest<'_>, fd: i32, out: u32| {
            with(&mut guest, |memory, _| fdstat(memory, fd, out))
        })?
        .func_wrap(MODULE, "fd_filestat_get", |mut guest: Guest<'_>, fd: i32, out: u32| {
            with(&mut guest, |memory, _| filestat(memory, fd, out))
        })?
        .func_wrap(
            MODULE,
            "poll_oneoff",
            |mut guest: Guest<'_>, subscriptions: u32, events: u32, count: u32, out: u32| {
                with(&mut guest, |memory, _| poll(memory, subscriptions, events, count, out))
            },
        )?
        .func_wrap(MODULE, "sched_yield", |_: Guest<'_>| SUCCESS)?
        .func_wrap(MODULE, "proc_exit", |_: Guest<'_>, code: i32| -> wasmtime::Result<()> {
            Err(wasmtime::Error::new(Exit(code)))
        })?;
    Ok(())
}
