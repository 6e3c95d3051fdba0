//! What the system or sled said, as an error of the store: a full disk is told apart, for it passes.

use std::io::ErrorKind;

use crate::store::StoreError;

/// `or` makes the error for everything but a full disk.
pub(super) fn io(error: &std::io::Error, or: impl FnOnce(String) -> StoreError) -> StoreError {
    if is_full(error) { StoreError::NoSpace(error.to_string()) } else { or(error.to_string()) }
}

/// Why a stored value cannot be had: the system could not read it just now, or what it read is not as it was written.
pub(super) fn stored(what: &'static str, error: &std::io::Error) -> StoreError {
    // Our own checks, and a file that is too short, have no code of the system.
    match error.raw_os_error() {
        Some(_) => StoreError::Read(error.to_string()),
        None => StoreError::Damaged { what, cause: error.to_string() },
    }
}

/// `or` makes the error for everything but a full disk.
pub(super) fn sled(error: &sled::Error, or: impl FnOnce(String) -> StoreError) -> StoreError {
    match error {
        sled::Error::Io(error) => io(error, or),
        other => or(other.to_string()),
    }
}

/// A failing read of the view.
pub(super) fn read(error: sled::Error) -> StoreError {
    sled(&error, StoreError::Read)
}

/// A failing write of the view.
pub(super) fn write(error: sled::Error) -> StoreError {
    sled(&error, StoreError::Write)
}

pub(super) fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}
