//! A process under test behind a preloaded library (`library/`): slow syncs, another clock, I/O errors, sudden ends and
//! power cuts, all set while the process runs.
//!
//! The test and the process share one page of a file. The test writes it with plain writes, which a shared mapping
//! shows at once, so that no unsafe code is needed here.

mod power;

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Fields of the page, by their place: `Control` in `library/control.rs`.
mod field {
    pub const FDATASYNC_DELAY_US: u64 = 0;
    pub const CLOCK_OFFSET_MS: u64 = 1;
    pub const COUNTDOWN: u64 = 2;
    pub const FAULT: u64 = 3;
    pub const COUNTED: u64 = 4;
    pub const FIRED: u64 = 6;
    pub const HOLD: u64 = 7;
    pub const HELD: u64 = 8;
    pub const UNDO: u64 = 9;
    pub const LOGGED: u64 = 10;
    pub const KEPT: u64 = 11;
}
const BELOW: u64 = 128;
const UNDO_DIR: u64 = BELOW + 1024;
const ONLY: u64 = UNDO_DIR + 1024;
const ONLY_BYTES: usize = 64;
const BYTES: u64 = ONLY + ONLY_BYTES as u64;

/// The exit code of a process that the shim has ended.
pub const ENDED: i32 = 86;
/// Errors to fail with (errno).
pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;

/// I/O calls that a countdown counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls(u64);

impl Calls {
    /// `write`, `pwrite`, `ftruncate`.
    pub const WRITES: Self = Self(1);
    /// `fsync`, `fdatasync`, `sync_file_range`.
    pub const SYNCS: Self = Self(2);
    /// Files and directories that are made, renamed or removed.
    pub const NAMES: Self = Self(4);
    pub const ALL: Self = Self(7);
}

/// The test's side of one shim, for one process at a time and its successors.
pub struct Shim {
    library: PathBuf,
    path: PathBuf,
    page: File,
    below: PathBuf,
    undo: PathBuf,
    /// Bytes of the undo log that count as synced.
    synced: AtomicU64,
}

impl Shim {
    /// For processes that keep their files below `dir`, which need not exist yet. Two names next to it are used:
    /// `.shim` and `.undo`. None, and said why, where the library cannot be compiled: the test then skips.
    pub fn below(dir: &Path) -> Option<Self> {
        let library = match library() {
            Ok(library) => library,
            Err(cause) => {
                println!("skipped: the preloaded library: {cause}");
                return None;
            }
        };
        // The kernel names open files without symbolic links.
        let parent = dir.parent().unwrap().canonicalize().unwrap();
        let below = parent.join(dir.file_name().unwrap());
        let (path, undo) = (below.with_extension("shim"), below.with_extension("undo"));
        let page = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        page.set_len(BYTES).unwrap();
        for (at, dir) in [(BELOW, &below), (UNDO_DIR, &undo)] {
            assert!(dir.as_os_str().len() < 1024);
            page.write_all_at(dir.as_os_str().as_bytes(), at).unwrap();
        }
        Some(Self { library, path, page, below, undo, synced: AtomicU64::new(0) })
    }

    /// The variables that put a process behind it.
    pub fn env(&self) -> [(String, String); 2] {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        [("LD_PRELOAD".into(), text(&self.library)), ("HOOKMILL_SHIM".into(), text(&self.path))]
    }

    /// Has a command run behind it.
    pub fn preload(&self, command: &mut Command) {
        command.envs(self.env());
    }

    /// Delays, holds and faults are for files whose names end like this only; at first they are for all.
    pub fn only(&self, name: &str) {
        let mut bytes = [0; ONLY_BYTES];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        self.page.write_all_at(&bytes, ONLY).unwrap();
    }

    /// Every `fdatasync` takes this much longer.
    pub fn fdatasync_delay(&self, delay: Duration) {
        self.set(field::FDATASYNC_DELAY_US, delay.as_micros() as i64);
    }

    /// While set, every `fdatasync` waits; [`Self::held`] says how many do.
    pub fn hold_fdatasync(&self, hold: bool) {
        self.set(field::HOLD, i64::from(hold));
    }

    /// How many calls of `fdatasync` wait.
    pub fn held(&self) -> u64 {
        self.get(field::HELD)
    }

    /// The clock that says the time of day is this far ahead; timers are not touched.
    pub fn clock_offset(&self, offset: chrono::Duration) {
        self.set(field::CLOCK_OFFSET_MS, offset.num_milliseconds());
    }

    /// The `n`th of these calls from now on, 1 being the next, fails; those after it do not. A write is done in part.
    pub fn fail_after(&self, n: u64, counted: Calls, errno: i32) {
        self.fault(n, counted, i64::from(errno));
    }

    /// The process ends in the `n`th of these calls from now on, with the code [`ENDED`].
    pub fn exit_after(&self, n: u64, counted: Calls) {
        self.fault(n, counted, -1);
    }

    /// No fault that has not come yet comes.
    pub fn no_fault(&self) {
        self.set(field::COUNTDOWN, 0);
    }

    fn fault(&self, n: u64, counted: Calls, fault: i64) {
        self.set(field::COUNTDOWN, 0);
        self.set(field::FAULT, fault);
        self.set(field::COUNTED, counted.0 as i64);
        self.set(field::COUNTDOWN, n as i64);
    }

    /// Faults so far.
    pub fn fired(&self) -> u64 {
        self.get(field::FIRED)
    }

    /// From the next start of a process on (one at a time), remembers what [`Self::power_cut`] needs. Syncs then reach that memory and
    /// not the disk, which is faster.
    pub fn keep_undo(&self) {
        std::fs::create_dir_all(&self.undo).unwrap();
        self.set(field::UNDO, 1);
    }

    /// While no process runs: takes back a random part of what was not synced, or without a seed all of it. Says what
    /// it did.
    pub fn power_cut(&self, seed: Option<u64>) -> String {
        let log = self.undo_log();
        let told = power::cut(&self.below, &self.undo, &log, self.synced.load(Ordering::Relaxed), seed);
        self.forget_undo();
        told
    }

    /// As if everything had been synced by now; a process may run.
    pub fn count_as_synced(&self) {
        self.synced.store(self.undo_bytes(), Ordering::Relaxed);
    }

    /// The same, and forgets what is remembered, while no process runs.
    pub fn forget_undo(&self) {
        self.synced.store(0, Ordering::Relaxed);
        for field in [field::LOGGED, field::KEPT] {
            self.set(field, 0);
        }
        std::fs::remove_dir_all(&self.undo).unwrap();
        std::fs::create_dir_all(&self.undo).unwrap();
    }

    /// Bytes that the undo log has so far.
    pub fn undo_bytes(&self) -> u64 {
        self.get(field::LOGGED)
    }

    fn undo_log(&self) -> Vec<u8> {
        let mut log = std::fs::read(self.undo.join("log")).unwrap_or_default();
        // A process may have been killed while it added a record.
        log.truncate(usize::try_from(self.undo_bytes()).unwrap());
        log
    }

    fn set(&self, field: u64, value: i64) {
        self.page.write_all_at(&value.to_ne_bytes(), field * 8).unwrap();
    }

    fn get(&self, field: u64) -> u64 {
        let mut bytes = [0; 8];
        self.page.read_exact_at(&mut bytes, field * 8).unwrap();
        u64::from_ne_bytes(bytes)
    }
}

/// The compiled library.
fn library() -> Result<PathBuf, String> {
    static LIBRARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    LIBRARY.get_or_init(compile).clone()
}

/// Compiles it, unless that was done since it last changed.
fn compile() -> Result<PathBuf, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/shim/library");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = dir.join("libhookmill_shim.so");
    let changed = |path: &Path| path.metadata().and_then(|it| it.modified());
    let newest = std::fs::read_dir(&sources).unwrap().filter_map(|it| changed(&it.unwrap().path()).ok()).max();
    if changed(&library).is_ok_and(|built| newest.is_some_and(|it| it < built)) {
        return Ok(library);
    }
    // Other tests may compile it as well; the last one replaces it with the same content.
    let own = dir.join(format!("libhookmill_shim.{}.so", std::process::id()));
    let mut rustc = Command::new("rustc");
    rustc
        .args(["--edition", "2024", "--crate-type", "cdylib", "-O", "-C", "panic=abort", "-o"])
        .arg(&own)
        .arg(sources.join("lib.rs"));
    let out = rustc.output().map_err(|e| format!("rustc cannot be run: {e}"))?;
    // The code is ours: where there is a compiler, it compiles.
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::rename(&own, &library).map_err(|e| e.to_string())?;
    Ok(library)
}
