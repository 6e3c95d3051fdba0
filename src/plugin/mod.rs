//! Runs mapping plugins: any WebAssembly, in a sandbox, in a fresh instance for every call.
//!
//! A [`Host`] (`host.rs`) loads a file into a [`Plugin`], whose own threads run the calls. `engine.rs` has the
//! engines' settings, `compile.rs` compiles files in separate processes, and `cache.rs` caches the results.
//! `abi_component.rs` and `abi_command.rs` are the two plugin ABIs; `wasi_stdio.rs` (with `wasi_calls.rs` and
//! `stdio.rs`) is the system interface of a command. `limits.rs` has a call's limits, `output.rs` limits its
//! output, `room.rs` counts the capacity of the instance pool, `threads.rs` runs calls, `priority.rs` prioritizes
//! quick ones, `stats.rs` counts them, `crash_text.rs` finds the reason of a crash in stderr, and `fixtures.rs` has a plugin's own examples.

mod abi_command;
mod abi_component;
mod bounded;
mod cache;
mod call;
mod compile;
mod crash_text;
mod engine;
mod error;
mod host;
mod limits;
mod loaded;
mod output;
mod priority;
mod program;
mod room;
mod script;
mod state;
mod stats;
mod stdio;
mod threads;
mod wasi_abi;
mod wasi_calls;
mod wasi_stdio;

pub use call::{Abi, CallContext, Called, Outcome, Usage};
pub(crate) use compile::SUBCOMMAND;
pub use compile::{Permit, compile_here};
pub use error::{HostError, LoadError, PluginError};
pub use host::Host;
pub use limits::{LoadLimits, PluginLimits};
pub use loaded::Plugin;
pub use priority::stand_back;
pub use script::{MappingPlace, MappingSource, MappingText, TASK_FILE};
pub(crate) use script::{line_and_column, located};
pub use stats::{CallSummary, LastError};
