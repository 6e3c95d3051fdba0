//! The functions of WASI preview 1 that are implemented, on the guest's memory. Every pointer is checked: memory is
//! a slice.

use super::limits::Hit;
use super::state::CallState;
use super::wasi_abi::{BADF, FAULT, Guest, INVAL, SUCCESS};

/// Maximum number of buffers of one read or write, and of subscriptions of one poll.
const VECTORS: u32 = 1024;

/// Runs a function on the guest's memory and returns its errno.
pub(super) fn with(guest: &mut Guest<'_>, call: impl FnOnce(&mut [u8], &mut CallState) -> Result<(), i32>) -> i32 {
    // Looked up by name once per call, because a start function may need it before it is set.
    let known = guest.data().memory.or_else(|| guest.get_export("memory").and_then(wasmtime::Extern::into_memory));
    let Some(memory) = known else { return FAULT };
    guest.data_mut().memory = known;
    let (memory, state) = memory.data_and_store_mut(guest);
    call(memory, state).err().unwrap_or(SUCCESS)
}

pub(super) fn slice(memory: &mut [u8], at: u32, length: u32) -> Result<&mut [u8], i32> {
    let end = (at as usize).checked_add(length as usize).ok_or(FAULT)?;
    memory.get_mut(at as usize..end).ok_or(FAULT)
}

pub(super) fn put(memory: &mut [u8], at: u32, bytes: &[u8]) -> Result<(), i32> {
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

pub(super) fn nanos(state: &CallState) -> u64 {
    state.received_at.timestamp_nanos_opt().and_then(|it| u64::try_from(it).ok()).unwrap_or(0)
}

/// The program's name, and its only argument. Some programs read it without a check.
const PROGRAM: &[u8] = b"mapper.wasm\0";

/// The file type of a character device.
const CHARACTER_DEVICE: u8 = 2;

pub(super) fn arguments_sizes(memory: &mut [u8], count: u32, size: u32) -> Result<(), i32> {
    put(memory, count, &1_u32.to_le_bytes())?;
    put(memory, size, &u32::try_from(PROGRAM.len()).map_err(|_| FAULT)?.to_le_bytes())
}

pub(super) fn arguments(memory: &mut [u8], list: u32, texts: u32) -> Result<(), i32> {
    put(memory, list, &texts.to_le_bytes())?;
    put(memory, texts, PROGRAM)
}

pub(super) fn environ_sizes(memory: &mut [u8], state: &CallState, count: u32, size: u32) -> Result<(), i32> {
    let variables = &state.stdio.environment;
    let length = |it: usize| u32::try_from(it).map_err(|_| FAULT);
    put(memory, count, &length(variables.len())?.to_le_bytes())?;
    put(memory, size, &length(variables.iter().map(String::len).sum())?.to_le_bytes())
}

pub(super) fn environ(memory: &mut [u8], state: &CallState, list: u32, texts: u32) -> Result<(), i32> {
    let mut at = texts;
    for (index, variable) in (0..).zip(&state.stdio.environment) {
        put(memory, offset(list, index, 4)?, &at.to_le_bytes())?;
        put(memory, at, variable.as_bytes())?;
        at = u32::try_from(variable.len()).ok().and_then(|length| at.checked_add(length)).ok_or(FAULT)?;
    }
    Ok(())
}

pub(super) fn fd_read(memory: &mut [u8], state: &mut CallState, list: u32, count: u32, out: u32) -> Result<(), i32> {
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

/// Output beyond the limit ends the call. Log output beyond its limit is dropped without an error.
pub(super) fn fd_write(mut guest: Guest<'_>, fd: i32, list: u32, count: u32, out: u32) -> wasmtime::Result<i32> {
    let errno = with(&mut guest, |memory, state| {
        let mut total = 0_u32;
        for index in 0..vectors(count)? {
            let (at, length) = vector(memory, list, index)?;
            let bytes = slice(memory, at, length)?;
            match fd {
                1 if state.stdio.output.len() + bytes.len() > state.stdio.output_limit() => {
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

/// Reports a character device with the rights to read and write.
pub(super) fn fdstat(memory: &mut [u8], fd: i32, out: u32) -> Result<(), i32> {
    if !(0..=2).contains(&fd) {
        return Err(BADF);
    }
    let mut stat = [0_u8; 24];
    stat[0] = CHARACTER_DEVICE;
    stat[8..16].copy_from_slice(&(1_u64 << 1 | 1 << 6).to_le_bytes());
    put(memory, out, &stat)
}

/// Reports a character device without size and times.
pub(super) fn filestat(memory: &mut [u8], fd: i32, out: u32) -> Result<(), i32> {
    if !(0..=2).contains(&fd) {
        return Err(BADF);
    }
    let mut stat = [0_u8; 64];
    stat[16] = CHARACTER_DEVICE;
    stat[24] = 1;
    put(memory, out, &stat)
}

/// Reports all events as ready: the guest's clock does not advance, so waiting would never end.
pub(super) fn poll(memory: &mut [u8], subscriptions: u32, events: u32, count: u32, out: u32) -> Result<(), i32> {
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
