//! Who holds a data directory: a locked file that names the process and how to reach it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::place::is_in_place;
use crate::store::StoreError;

const FILE: &str = "hookmill.lock";

/// What a running server says of itself in its data directory.
///
/// The directory is readable by the server's own user only. Who can read it could as well change the data,
/// so the token in it opens the admin API for every company.
#[derive(Clone, Serialize, Deserialize)]
pub struct Running {
    /// The server's process id.
    pub pid: u32,
    /// Its base URL, such as `http://127.0.0.1:8080`.
    pub url: String,
    /// Good until the server ends.
    pub operator_token: String,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("pid", &self.pid).field("url", &self.url).finish_non_exhaustive()
    }
}

/// The held lock. The operating system gives it up when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct DirLock {
    file: File,
}

impl DirLock {
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        let name = dir.display().to_string();
        let failed = |e: std::io::Error| StoreError::Open { dir: name.clone(), cause: e.to_string() };
        let file = open(dir, true).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(failed)?;
                Ok(Self { file })
            }
            Err(TryLockError::WouldBlock) => {
                let holder = running_server(dir)
                    .map_or("another process".into(), |it| format!("process {} at {}", it.pid, it.url));
                Err(StoreError::InUse { dir: name, holder })
            }
            Err(TryLockError::Error(e)) => Err(failed(e)),
        }
    }

    /// Nothing, where the lock's name still leads to the file that is locked: else another server may hold the directory.
    pub(super) fn is_in_place(&self, dir: &Path) -> Result<(), StoreError> {
        is_in_place(&dir.join(FILE), &self.file)
    }

    pub(super) fn announce(&self, running: &Running) -> std::io::Result<()> {
        let mut file = &self.file;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&serde_json::to_vec(running)?)?;
        file.flush()
    }
}

/// The server that holds this directory, where one does and has said so.
#[must_use]
pub fn running_server(dir: &Path) -> Option<Running> {
    let mut text = String::new();
    let mut file = open(dir, false).ok()?;
    // A lock that can be had means that the server which wrote this is gone.
    if file.try_lock_shared().is_ok() {
        return None;
    }
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn open(dir: &Path, create: bool) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(create).create(create).truncate(false).mode(0o600).open(dir.join(FILE))
}
