//! A library that is preloaded (`LD_PRELOAD`) into a process under test, between it and the C library: it slows
//! `fdatasync`, shifts the clock, fails an I/O call or ends the process in it, and keeps an undo log from which
//! `../power.rs` takes back what was not synced. `../mod.rs` compiles it and has the test's side of the control page.
//!
//! `control.rs` is that page and the undo log. `content.rs`, `names.rs` and `clock.rs` have the functions that replace
//! those of the C library.
//!
//! Only files below one directory are touched. Calls that bypass the C library are not seen: in hookmill that is
//! `fallocate` (rustix makes raw system calls), which changes no content.
//!
//! Nothing here may use the standard library's I/O: it would end up in these very functions.

mod clock;
mod content;
mod control;
mod names;
mod path;
mod system;
