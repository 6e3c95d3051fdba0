//! Decodes arbitrary bodies with arbitrary content types, content codings and rules. Promised: no panic, no hang, and
//! content that is no larger than its limit; what is read is JSON that is read as the same value again.
#![no_main]
#![allow(dead_code, unused_imports, unreachable_pub, reason = "a part of the server's files, without their callers")]

use libfuzzer_sys::fuzz_target;

mod format;
mod model;

use format::payload::run;

fuzz_target!(|input: &[u8]| run(input));
