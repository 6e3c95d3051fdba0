//! Scripts and expressions: mappings without a module of their own, which run in hookmill's interpreter.
//!
//! The interpreter is a WebAssembly module like any plugin (`interpreter/`), so a script has the same sandbox and the
//! same limits. It is compiled once for all scripts. `source.rs` is what a plugin's author writes; `image.rs` has the
//! memory in which it is compiled already, `code.rs` runs a call in a copy of it, `report.rs` reads what the call
//! reports, `numbers.rs` keeps large numbers exact, and `zones.rs` has the offsets of time zones.

mod code;
mod image;
mod interpreter;
mod numbers;
mod report;
mod source;
mod zones;

pub(super) use code::ScriptCode;
pub(super) use interpreter::{INTERPRETER, Interpreter};
pub(crate) use report::located;
pub(crate) use source::line_and_column;
pub use source::{MappingPlace, MappingSource, MappingText, TASK_FILE};
