//! Compiles modules to machine code: a few at a time, identical ones once, and each in a process of its own with
//! limits on time and memory (`compile/process.rs`; `compile/child.rs` runs in the process).
//!
//! A module that the compiler refuses, or cannot compile within its limits, is remembered: it is not compiled again
//! until the file changes.

mod child;
mod code;
mod compiler;
mod order;
mod process;
mod turns;

pub use child::compile_here;
pub(super) use code::{Digest, MachineCode};
pub(super) use compiler::Compiler;
pub(crate) use process::SUBCOMMAND;
pub use turns::Permit;
pub(super) use turns::Turns;
