//! The protocol between the server and the compiler's process.
//!
//! The server passes an [`Order`] on the command line, the module as stdin and a file for the artefact as stdout.
//! The process responds with a [`CompileOutcome`] on stderr.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plugin::call::Abi;

/// What to compile, and the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) abi: Abi,
    pub(super) counts_fuel: bool,
    /// Maximum address space, in bytes.
    pub(super) memory_bytes: u64,
    /// Maximum CPU time of all threads together.
    pub(super) cpu: Duration,
    /// Process id of the server.
    pub(super) parent: u32,
}

/// The result of a compilation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CompileOutcome {
    /// The module was compiled: size and SHA-256 of the artefact.
    Compiled { bytes: u64, sha256: [u8; 32] },
    /// The compiler refuses the module.
    Refused(String),
    /// The process could not limit itself, or could not write.
    Failed(String),
}
