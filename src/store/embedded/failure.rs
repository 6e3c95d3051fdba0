//! Converts errors of the system and of sled to store errors. A full disk is distinguished, because it is
//! temporary.

use std::io::ErrorKind;

use crate::store::error::StoreError;

/// Converts an I/O error; `or` creates the error for everything except a full disk.
pub(super) fn io(error: &std::io::Error, or: impl FnOnce(String) -> StoreError) -> StoreError {
    if is_full(error) { StoreError::NoSpace(error.to_string()) } else { or(error.to_string()) }
}

/// Converts the error of reading a stored value: either a failed system call, or a value that is not as it was
/// written.
pub(super) fn stored(what: &'static str, error: &std::io::Error) -> StoreError {
    // The checks of this crate, and a file that is too short, have no system error code.
    match error.raw_os_error() {
        Some(_) => StoreError::Read(error.to_string()),
        None => StoreError::Damaged { what, cause: error.to_string() },
    }
}

/// Converts a sled error; `or` creates the error for everything except a full disk.
pub(super) fn sled(error: &sled::Error, or: impl FnOnce(String) -> StoreError) -> StoreError {
    match error {
        sled::Error::Io(error) => io(error, or),
        other => or(other.to_string()),
    }
}

/// Converts the error of a failed read of the read view.
pub(super) fn read(error: sled::Error) -> StoreError {
    sled(&error, StoreError::Read)
}

/// Converts the error of a failed write to the read view.
pub(super) fn write(error: sled::Error) -> StoreError {
    sled(&error, StoreError::Write)
}

pub(super) fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}
