//! What every layer may use: the clock, the log, rates, text for people, likely names, files of a folder.

pub(crate) mod clock;
pub mod folder;
mod folder_write;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod nearest;
pub(crate) mod private_file;
pub mod rate;
pub mod text;
pub mod trace;
