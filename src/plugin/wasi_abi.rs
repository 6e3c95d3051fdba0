//! Error codes of WASI preview 1, and the calling guest.

use wasmtime::Caller;

use super::state::CallState;

pub(crate) const SUCCESS: i32 = 0;

pub(crate) const BADF: i32 = 8;

pub(crate) const FAULT: i32 = 21;

pub(crate) const INVAL: i32 = 28;

pub(crate) type Guest<'a> = Caller<'a, CallState>;
