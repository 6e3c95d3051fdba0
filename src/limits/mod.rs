//! Limits that companies, integrations and peers share: places for requests, and memory.

pub(crate) mod few;
pub(crate) mod memory;
pub mod shares;
