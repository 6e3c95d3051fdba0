//! All that a command sees of a system: stdin, stdout, stderr, its context as environment variables, a clock that
//! stands still and random bytes that are the same for the same event.
//!
//! Names and layouts are WASI preview 1's (`wasi_snapshot_preview1.witx`). Files, sockets and signals are there, so
//! that ordinary programs link, and refuse everything. Every guest pointer is checked: memory is a slice.

use sha2::{Digest as _, Sha256};
use wasmtime::{Caller, ExternType, Linker, Module, Val, ValType};

use super::CallContext;
use super::limits::{Hit, Limits};
use super::state::{CallState, cut};

const MODULE: &str = "wasi_snapshot_preview1";

const SUCCESS: i32 = 0;
const BADF: i32 = 8;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
const NOSYS: i32 = 52;
const SPIPE: i32 = 70;
const NOTCAPABLE: i32 = 76;

/// Most buffers of one read or write, and subscriptions of one poll.
const VECTORS: u32 = 1024;
/// How much of the end of stderr is kept for the message of a refusal, in bytes.
const TAIL: usize = 1024;

/// Always refused, with the error that a program expects where there is no such thing.
const REFUSED: [(&str, i32); 33] = [
    ("fd_advise", BADF),
    ("fd_allocate", BADF),
    ("fd_datasync", BADF),
    ("fd_fdstat_set_rights", BADF),
    ("fd_filestat_get", BADF),
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

/// `proc_exit` unwinds the guest with this.
#[derive(Debug, thiserror::Error)]
#[error("the program ended with exit code {0}")]
pub(super) struct Exit(pub(super) i32);

/// The three streams, the environment and the random source of one call.
pub(super) struct Stdio {
    input: Vec<u8>,
    read: usize,
    output: Vec<u8>,
    output_limit: usize,
    tail: Vec<u8>,
    /// NUL-terminated, as the guest gets them.
    environment: Vec<String>,
    seed: [u8; 32],
    drawn: u64,
}

impl Stdio {
    pub(super) fn new(payload: &str, context: &CallContext, limits: &Limits) -> Self {
        let received_at = crate::payload::format_utc(context.received_at);
        let variables: [(&str, &str); 5] = [
            ("EVENT_ID", &context.event_id),
            ("INTEGRATION", &context.integration),
            ("RECEIVED_AT", &received_at),
            ("COMPANY_ID", &context.company_id),
            ("CONFIG", &context.config),
        ];
        Self {
            input: payload.as_bytes().to_vec(),
            read: 0,
            output: Vec::new(),
            output_limit: limits.output_bytes,
            tail: Vec::new(),
            environment: variables.iter().map(|(name, value)| format!("HOOKMILL_{name}={value}\0")).collect(),
            seed: Sha256::digest(context.event_id.as_bytes()).into(),
            drawn: 0,
        }
    }

    pub(super) fn output(&self) -> &[u8] {
        &self.output
    }

    pub(super) fn output_limit(&self) -> usize {
        self.output_limit
    }

    /// The last line of stderr that is not blank.
    pub(super) fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail);
        let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
        last.map_or_else(|| "the plugin refused the payload and did not say why".into(), cut)
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        let extra = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..extra);
    }

    /// SHA-256 over the event and a counter: the same event draws the same bytes.
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let block = Sha256::new().chain_update(self.seed).chain_update(self.drawn.to_le_bytes()).finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
            self.drawn += 1;
        }
    }
}

/// Defines what the module imports, and says what else it may not.
pub(super) fn add_to_linker(linker: &mut Linker<CallState>, module: &Module) -> Result<(), String> {
    offered(linker).map_err(|e| e.to_string())?;
    for import in module.imports() {
        let known = linker.get_by_import(&mut wasmtime::Store::new(module.engine(), placeholder()), &import).is_some();
        if known {
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

fn placeholder() -> CallState {
    let context = CallContext {
        event_id: String::new(),
        integration: String::new(),
        received_at: chrono::DateTime::UNIX_EPOCH,
        company_id: String::new(),
        config: "{}".into(),
    };
    CallState::new(&Limits::default(), "", &context)
}

type Guest<'a> = Caller<'a, CallState>;

fn offered(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    linker
        .func_wrap(MODULE, "args_sizes_get", |mut guest: Guest<'_>, count: u32, size: u32| {
            with(&mut guest, |memory, _| {
                put(memory, count, &0_u32.to_le_bytes()).and(put(memory, size, &0_u32.to_le_bytes()))
            })
        })?
        .func_wrap(MODULE, "args_get", |_: Guest<'_>, _: u32, _: u32| SUCCESS)?
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

/// Runs a call on the guest's memory and gives its errno.
fn with(guest: &mut Guest<'_>, call: impl FnOnce(&mut [u8], &mut CallState) -> Result<(), i32>) -> i32 {
    let Some(memory) = guest.get_export("memory").and_then(wasmtime::Extern::into_memory) else { return FAULT };
    let (memory, state) = memory.data_and_store_mut(guest);
    call(memory, state).err().unwrap_or(SUCCESS)
}

fn slice(memory: &mut [u8], at: u32, length: u32) -> Result<&mut [u8], i32> {
    let end = (at as usize).checked_add(length as usize).ok_or(FAULT)?;
    memory.get_mut(at as usize..end).ok_or(FAULT)
}

fn put(memory: &mut [u8], at: u32, bytes: &[u8]) -> Result<(), i32> {
    let length = u32::try_from(bytes.len()).map_err(|_| FAULT)?;
    slice(memory, at, length).map(|out| out.copy_from_slice(bytes))
}

fn word(memory: &mut [u8], at: u32) -> Result<u32, i32> {
    let bytes = slice(memory, at, 4)?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn offset(base: u32, index: u32, size: u32) -> Result<u32, i32> {
    index.checked_mul(size).and_then(|it| base.checked_add(it)).ok_or(FAULT)
}

fn nanos(state: &CallState) -> u64 {
    state.received_at.timestamp_nanos_opt().and_then(|it| u64::try_from(it).ok()).unwrap_or(0)
}

fn environ_sizes(memory: &mut [u8], state: &CallState, count: u32, size: u32) -> Result<(), i32> {
    let variables = &state.stdio.environment;
    let length = |it: usize| u32::try_from(it).map_err(|_| FAULT);
    put(memory, count, &length(variables.len())?.to_le_bytes())?;
    put(memory, size, &length(variables.iter().map(String::len).sum())?.to_le_bytes())
}

fn environ(memory: &mut [u8], state: &CallState, list: u32, texts: u32) -> Result<(), i32> {
    let mut at = texts;
    for (index, variable) in (0..).zip(&state.stdio.environment) {
        put(memory, offset(list, index, 4)?, &at.to_le_bytes())?;
        put(memory, at, variable.as_bytes())?;
        at = u32::try_from(variable.len()).ok().and_then(|length| at.checked_add(length)).ok_or(FAULT)?;
    }
    Ok(())
}

fn fd_read(memory: &mut [u8], state: &mut CallState, list: u32, count: u32, out: u32) -> Result<(), i32> {
    let stdio = &mut state.stdio;
    let mut total = 0_u32;
    for index in 0..vectors(count)? {
        let (at, length) = vector(memory, list, index)?;
        let left = &stdio.input[stdio.read..];
        let part = &left[..left.len().min(length as usize)];
        put(memory, at, part)?;
        stdio.read += part.len();
        total = u32::try_from(part.len()).ok().and_then(|it| total.checked_add(it)).ok_or(INVAL)?;
    }
    put(memory, out, &total.to_le_bytes())
}

/// Output beyond the limit ends the call; log beyond its limit is dropped, and the guest is none the wiser.
fn fd_write(mut guest: Guest<'_>, fd: i32, list: u32, count: u32, out: u32) -> wasmtime::Result<i32> {
    let errno = with(&mut guest, |memory, state| {
        let mut total = 0_u32;
        for index in 0..vectors(count)? {
            let (at, length) = vector(memory, list, index)?;
            let bytes = slice(memory, at, length)?;
            match fd {
                1 if state.stdio.output.len() + bytes.len() > state.stdio.output_limit => {
                    state.meter.set_hit(Hit::Output)
                }
                1 => state.stdio.output.extend_from_slice(bytes),
                2 => {
                    state.stdio.keep_tail(bytes);
                    state.log.write(bytes);
                }
                _ => return Err(BADF),
            }
            total = total.checked_add(length).ok_or(INVAL)?;
        }
        put(memory, out, &total.to_le_bytes())
    });
    if guest.data().meter.hit() == Some(Hit::Output) {
        return Err(wasmtime::Error::msg("output limit"));
    }
    Ok(errno)
}

fn vectors(count: u32) -> Result<u32, i32> {
    if count <= VECTORS { Ok(count) } else { Err(INVAL) }
}

fn vector(memory: &mut [u8], list: u32, index: u32) -> Result<(u32, u32), i32> {
    let at = offset(list, index, 8)?;
    Ok((word(memory, at)?, word(memory, at.checked_add(4).ok_or(FAULT)?)?))
}

/// A character device with the rights to read and write.
fn fdstat(memory: &mut [u8], fd: i32, out: u32) -> Result<(), i32> {
    if !(0..=2).contains(&fd) {
        return Err(BADF);
    }
    let mut stat = [0_u8; 24];
    stat[0] = 2;
    stat[8..16].copy_from_slice(&(1_u64 << 1 | 1 << 6).to_le_bytes());
    put(memory, out, &stat)
}

/// Everything that is waited for has happened: time stands still, so waiting would never end.
fn poll(memory: &mut [u8], subscriptions: u32, events: u32, count: u32, out: u32) -> Result<(), i32> {
    if count == 0 {
        return Err(INVAL);
    }
    for index in 0..vectors(count)? {
        let subscription = slice(memory, offset(subscriptions, index, 48)?, 48)?;
        let mut event = [0_u8; 32];
        event[..8].copy_from_slice(&subscription[..8]);
        event[10] = subscription[8];
        put(memory, offset(events, index, 32)?, &event)?;
    }
    put(memory, out, &count.to_le_bytes())
}
