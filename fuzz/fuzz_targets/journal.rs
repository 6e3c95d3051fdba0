//! Damages a journal as the input says, and reads it. Promised: no panic, no hang; nothing is read that was not
//! written; and what was acknowledged is read, or said to be damaged.
#![no_main]
#![allow(dead_code, unused_imports, reason = "the writer's half of the journal is not used here")]

use libfuzzer_sys::fuzz_target;

mod metrics;
mod store;
mod system;

fuzz_target!(|input: &[u8]| store::embedded::run(input));
