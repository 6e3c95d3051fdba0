//! The lock of a data directory: a locked file that names the process and how to reach it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::in_place::is_in_place;

const FILE: &str = "hookmill.lock";
/// How long a lock may be held by what a killed server has left behind.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

/// What a running server publishes in its data directory.
///
/// Only the server's own user can read the directory. A user who can read it could also change the data, so the
/// token in it gives access to the admin API for every company.
#[derive(Clone, Serialize, Deserialize)]
pub struct RunningServer {
    /// Process id of the server.
    pub pid: u32,
    /// Base URL of the server, such as `http://127.0.0.1:8080`.
    pub url: String,
    /// Token for the admin API, valid until the server ends.
    pub operator_token: String,
}

impl std::fmt::Debug for RunningServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningServer").field("pid", &self.pid).field("url", &self.url).finish_non_exhaustive()
    }
}

/// The held lock. The operating system releases it when the process ends, for whatever reason.
#[derive(Debug)]
pub struct DirLock {
    file: File,
}

impl DirLock {
    /// Takes the lock of a directory that exists.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it.
    pub fn take(dir: &Path) -> Result<Self, StoreError> {
        let name = dir.display().to_string();
        let failed = |e: std::io::Error| StoreError::Open { dir: name.clone(), cause: e.to_string() };
        let file = open(dir, true).map_err(failed)?;
        let mut locked = file.try_lock();
        // A killed server may have been starting a compiler: until that process runs its own program, it has a copy of the lock.
        let until = Instant::now() + LEFT_BEHIND;
        while matches!(locked, Err(TryLockError::WouldBlock)) && holder_has_ended(dir) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
            locked = file.try_lock();
        }
        match locked {
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

    /// Checks that the lock's name still refers to the locked file. Otherwise, another server may hold the
    /// directory.
    pub(in crate::store) fn is_in_place(&self, dir: &Path) -> Result<(), StoreError> {
        is_in_place(&dir.join(FILE), &self.file)
    }

    /// Publishes the server's address, and the token that proves access to this directory, for `hookmill key` and similar
    /// commands.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn announce(&self, running: &RunningServer) -> std::io::Result<()> {
        let mut file = &self.file;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&serde_json::to_vec(running)?)?;
        file.flush()
    }
}

/// Unlocks explicitly: closing the file has no effect while a child process that is being started has a copy of it.
impl Drop for DirLock {
    fn drop(&mut self) {
        let _closing_unlocks_as_well = self.file.unlock();
    }
}

/// Returns the server that holds this directory, if there is one and it has published its address.
#[must_use]
pub fn running_server(dir: &Path) -> Option<RunningServer> {
    let mut text = String::new();
    let mut file = open(dir, false).ok()?;
    // If the lock is free, the server that wrote this file has ended.
    if file.try_lock_shared().is_ok() {
        let _closing_unlocks_as_well = file.unlock();
        return None;
    }
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Whether the server that has published its address in the lock is no longer running.
fn holder_has_ended(dir: &Path) -> bool {
    let running = open(dir, false).ok().and_then(|it| serde_json::from_reader::<_, RunningServer>(it).ok());
    running.is_some_and(|it| !Path::new("/proc").join(it.pid.to_string()).exists())
}

fn open(dir: &Path, create: bool) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(create).create(create).truncate(false).mode(0o600).open(dir.join(FILE))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Otherwise a service manager that restarts a killed server at once gets "in use" by a process that has ended.
    #[test]
    fn a_lock_that_a_killed_server_has_left_behind_is_waited_for_and_that_of_a_running_one_is_not() {
        let dir = tempfile::TempDir::new().unwrap();
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let server = |pid| RunningServer { pid, url: "http://127.0.0.1:1".into(), operator_token: String::new() };
        let held = DirLock::take(dir.path()).unwrap();
        held.announce(&server(std::process::id())).unwrap();
        assert!(matches!(DirLock::take(dir.path()), Err(StoreError::InUse { .. })));
        held.announce(&server(ended.id())).unwrap();
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| DirLock::take(dir.path()).is_ok());
            // Time for a mistake: nothing shows that it waits.
            std::thread::sleep(Duration::from_millis(100));
            assert!(!taken.is_finished());
            drop(held);
            assert!(taken.join().unwrap());
        });
    }
}
