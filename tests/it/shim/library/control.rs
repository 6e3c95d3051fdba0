//! What the test asks for, and the undo log.

use std::ffi::{c_char, c_int, c_long};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst};

use crate::path::{Path, Stat, stat, stat_fd, until_zero};
use crate::system::{AT_FDCWD, O_CLOEXEC, O_CREAT, O_RDWR, O_WRONLY, getenv, nr, sleep_us, sys};

/// The page that the test and this process share. `mod.rs` has the same offsets.
#[repr(C)]
pub struct Control {
    pub fdatasync_delay_us: AtomicU64,
    pub clock_offset_ms: AtomicI64,
    /// Calls until the fault; 0 for no fault.
    pub countdown: AtomicI64,
    /// An errno to fail with, or -1 to end the process.
    pub fault: AtomicI64,
    /// Which calls count: bits of `WRITE`, `SYNC` and `NAME`.
    pub counted: AtomicU64,
    /// I/O calls so far.
    pub calls: AtomicU64,
    /// Faults so far.
    pub fired: AtomicU64,
    /// Not zero: `fdatasync` waits until it is zero again.
    pub hold: AtomicU64,
    /// Calls that wait so.
    pub held: AtomicU64,
    /// Not zero: keep the undo log.
    pub undo: AtomicU64,
    /// Bytes of the undo log.
    pub logged: AtomicU64,
    /// Files kept for the undo log.
    pub kept: AtomicU64,
    pub spare: [AtomicU64; 4],
    /// Ends with a zero byte, as the next.
    pub below: [u8; 1024],
    pub undo_dir: [u8; 1024],
    /// Delays, holds and faults are for files whose names end with this only.
    pub only: [u8; 64],
}

pub const WRITE: u64 = 1;
pub const SYNC: u64 = 2;
pub const NAME: u64 = 4;

/// Kinds of the undo log's records; `power.rs` has the same.
pub mod kind {
    pub const WRITE: u64 = 1;
    pub const TRUNCATE: u64 = 2;
    pub const SYNC: u64 = 3;
    pub const CREATE: u64 = 4;
    pub const MKDIR: u64 = 5;
    pub const UNLINK: u64 = 6;
    pub const RMDIR: u64 = 7;
    pub const RENAME: u64 = 8;
}

/// The control page; none where this process is not to be touched.
pub fn control() -> Option<&'static Control> {
    const UNKNOWN: usize = 0;
    const NONE: usize = 1;
    static FOUND: AtomicUsize = AtomicUsize::new(UNKNOWN);
    if FOUND.load(SeqCst) == UNKNOWN {
        FOUND.store(map_control().map_or(NONE, |page| page as usize), SeqCst);
    }
    match FOUND.load(SeqCst) {
        NONE => None,
        page => Some(unsafe { &*(page as *const Control) }),
    }
}

fn map_control() -> Option<*const Control> {
    let path = unsafe { getenv(c"HOOKMILL_SHIM".as_ptr()) };
    if path.is_null() {
        return None;
    }
    let fd = sys!(nr::OPENAT, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if fd < 0 {
        return None;
    }
    // PROT_READ | PROT_WRITE, MAP_SHARED.
    let page = sys!(nr::MMAP, 0, size_of::<Control>(), 3, 1, fd, 0);
    sys!(nr::CLOSE, fd);
    (page > 0).then_some(page as *const Control)
}

/// One at a time: what the log says and what is done must have the same order.
static BUSY: AtomicBool = AtomicBool::new(false);

/// Nothing else is logged or changed while it exists.
pub struct Turn;

impl Turn {
    pub fn take() -> Self {
        while BUSY.compare_exchange(false, true, SeqCst, SeqCst).is_err() {
            sleep_us(5);
        }
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        BUSY.store(false, SeqCst);
    }
}

/// What becomes of a call.
pub enum Fate {
    Done,
    Fails(c_int),
    /// The process ends in the middle of it.
    Ends,
}

impl Control {
    pub fn concerns(&self, path: &Path) -> bool {
        path.get().ends_with(until_zero(&self.only))
    }

    pub fn fate(&self, class: u64, path: &Path) -> Fate {
        if !self.concerns(path) {
            return Fate::Done;
        }
        self.calls.fetch_add(1, SeqCst);
        if self.counted.load(SeqCst) & class == 0 || self.countdown.load(SeqCst) <= 0 {
            return Fate::Done;
        }
        if self.countdown.fetch_sub(1, SeqCst) != 1 {
            return Fate::Done;
        }
        self.fired.fetch_add(1, SeqCst);
        match self.fault.load(SeqCst) {
            -1 => Fate::Ends,
            errno => Fate::Fails(errno as c_int),
        }
    }

    pub fn keeps_undo(&self) -> bool {
        self.undo.load(SeqCst) != 0
    }

    /// Adds a record; `numbers` are the inode and three more.
    pub fn log(&self, kind: u64, numbers: [u64; 4], first: &[u8], second: &[u8]) {
        static FD: AtomicI32 = AtomicI32::new(-1);
        if FD.load(SeqCst) < 0 {
            let mut path = Path::EMPTY;
            path.push(until_zero(&self.undo_dir));
            path.push(b"/log");
            FD.store(sys!(nr::OPENAT, AT_FDCWD, path.c(), O_WRONLY | O_CREAT | O_CLOEXEC, 0o600) as i32, SeqCst);
        }
        let mut record = Vec::with_capacity(56 + first.len() + second.len());
        for number in [kind, numbers[0], numbers[1], numbers[2], numbers[3]] {
            record.extend_from_slice(&number.to_ne_bytes());
        }
        record.extend_from_slice(&(first.len() as u64).to_ne_bytes());
        record.extend_from_slice(&(second.len() as u64).to_ne_bytes());
        record.extend_from_slice(first);
        record.extend_from_slice(second);
        let at = self.logged.load(SeqCst);
        if sys!(nr::PWRITE, FD.load(SeqCst), record.as_ptr(), record.len(), at) == record.len() as c_long {
            self.logged.store(at + record.len() as u64, SeqCst);
        }
    }

    /// A second name for a file that is about to lose its last.
    pub fn keep(&self, path: &Path) -> Path {
        let mut kept = Path::EMPTY;
        kept.push(until_zero(&self.undo_dir));
        kept.push(b"/");
        kept.push_number(self.kept.fetch_add(1, SeqCst));
        sys!(nr::LINKAT, AT_FDCWD, path.c(), AT_FDCWD, kept.c(), 0);
        kept
    }

    pub fn log_unlink(&self, path: &Path, stat: &Stat) {
        let kept = self.keep(path);
        self.log(kind::UNLINK, [stat.inode, inode(&path.parent()), 0, 0], path.get(), kept.get());
    }
}

pub fn inode(path: &Path) -> u64 {
    stat(path).map_or(0, |it| it.inode)
}

/// The control page and the path of an open file, where it is one to be touched.
pub fn watched(fd: c_int) -> Option<(&'static Control, Path)> {
    let control = control()?;
    stat_fd(fd).filter(|it| it.regular || it.directory)?;
    let path = Path::of_fd(fd);
    path.is_below(control).then_some((control, path))
}

pub fn watched_name(dir: c_int, name: *const c_char) -> Option<(&'static Control, Path)> {
    let control = control()?;
    let path = Path::at(dir, name);
    path.is_below(control).then_some((control, path))
}
