//! What the server and the compiler's process say to each other.
//!
//! The server gives an [`Order`] on the command line, the module on stdin and a file for the artefact as stdout. The
//! process answers with a [`Verdict`] on stderr.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::Abi;

/// What is to be compiled, and what that may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) abi: Abi,
    pub(super) counts_fuel: bool,
    /// Address space, in bytes.
    pub(super) memory_bytes: u64,
    /// CPU time of all its threads together.
    pub(super) cpu: Duration,
    /// The server's process.
    pub(super) parent: u32,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// It is compiled: size and SHA-256 of the artefact.
    Compiled { bytes: u64, sha256: [u8; 32] },
    /// The compiler does not take the module.
    Refused(String),
    /// The process could not limit itself, or not write.
    Failed(String),
}
