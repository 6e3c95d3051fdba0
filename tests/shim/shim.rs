//! A library that is preloaded (`LD_PRELOAD`) into a process under test, between it and the C library: it slows
//! `fdatasync`, shifts the clock, fails an I/O call or ends the process in it, and keeps an undo log from which
//! `power.rs` takes back what was not synced. `mod.rs` compiles it and has the test's side of the control page.
//!
//! Only files below one directory are touched. Calls that bypass the C library are not seen: in hookmill that is
//! `fallocate` (rustix makes raw system calls), which changes no content.
//!
//! Nothing here may use the standard library's I/O: it would end up in these very functions.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst};

/// The page that the test and this process share. `mod.rs` has the same offsets.
#[repr(C)]
struct Control {
    fdatasync_delay_us: AtomicU64,
    clock_offset_ms: AtomicI64,
    /// Calls until the fault; 0 is none.
    countdown: AtomicI64,
    /// An errno to fail with, or -1 to end the process.
    fault: AtomicI64,
    /// Which calls count: bits of `WRITE`, `SYNC` and `NAME`.
    counted: AtomicU64,
    /// I/O calls so far.
    calls: AtomicU64,
    /// Faults so far.
    fired: AtomicU64,
    /// Not zero: `fdatasync` waits until it is zero again.
    hold: AtomicU64,
    /// Calls that wait so.
    held: AtomicU64,
    /// Not zero: keep the undo log.
    undo: AtomicU64,
    /// Bytes of the undo log.
    logged: AtomicU64,
    /// Files kept for the undo log.
    kept: AtomicU64,
    spare: [AtomicU64; 4],
    /// Ends with a zero byte, as the next.
    below: [u8; 1024],
    undo_dir: [u8; 1024],
    /// Delays, holds and faults are for files whose names end with this only.
    only: [u8; 64],
}

const WRITE: u64 = 1;
const SYNC: u64 = 2;
const NAME: u64 = 4;

/// Kinds of the undo log's records; `power.rs` has the same.
mod kind {
    pub const WRITE: u64 = 1;
    pub const TRUNCATE: u64 = 2;
    pub const SYNC: u64 = 3;
    pub const CREATE: u64 = 4;
    pub const MKDIR: u64 = 5;
    pub const UNLINK: u64 = 6;
    pub const RMDIR: u64 = 7;
    pub const RENAME: u64 = 8;
}

#[cfg(target_arch = "x86_64")]
mod nr {
    pub const PREAD: i64 = 17;
    pub const PWRITE: i64 = 18;
    pub const WRITE: i64 = 1;
    pub const WRITEV: i64 = 20;
    pub const FSYNC: i64 = 74;
    pub const FDATASYNC: i64 = 75;
    pub const SYNC_FILE_RANGE: i64 = 277;
    pub const FTRUNCATE: i64 = 77;
    pub const RENAMEAT2: i64 = 316;
    pub const UNLINKAT: i64 = 263;
    pub const MKDIRAT: i64 = 258;
    pub const LINKAT: i64 = 265;
    pub const OPENAT: i64 = 257;
    pub const CLOSE: i64 = 3;
    pub const READLINKAT: i64 = 267;
    pub const STATX: i64 = 332;
    pub const MMAP: i64 = 9;
    pub const NANOSLEEP: i64 = 35;
    pub const EXIT_GROUP: i64 = 231;
    pub const GETCWD: i64 = 79;
    pub const CLOCK_GETTIME: i64 = 228;
    pub const SENDFILE: i64 = 40;
    pub const SPLICE: i64 = 275;
    pub const LSEEK: i64 = 8;
}

#[cfg(target_arch = "aarch64")]
mod nr {
    pub const PREAD: i64 = 67;
    pub const PWRITE: i64 = 68;
    pub const WRITE: i64 = 64;
    pub const WRITEV: i64 = 66;
    pub const FSYNC: i64 = 82;
    pub const FDATASYNC: i64 = 83;
    pub const SYNC_FILE_RANGE: i64 = 84;
    pub const FTRUNCATE: i64 = 46;
    pub const RENAMEAT2: i64 = 276;
    pub const UNLINKAT: i64 = 35;
    pub const MKDIRAT: i64 = 34;
    pub const LINKAT: i64 = 37;
    pub const OPENAT: i64 = 56;
    pub const CLOSE: i64 = 57;
    pub const READLINKAT: i64 = 78;
    pub const STATX: i64 = 291;
    pub const MMAP: i64 = 222;
    pub const NANOSLEEP: i64 = 101;
    pub const EXIT_GROUP: i64 = 94;
    pub const GETCWD: i64 = 17;
    pub const CLOCK_GETTIME: i64 = 113;
    pub const SENDFILE: i64 = 71;
    pub const SPLICE: i64 = 76;
    pub const LSEEK: i64 = 62;
}

const AT_FDCWD: c_int = -100;
const AT_REMOVEDIR: c_int = 0x200;
const O_WRONLY: c_int = 1;
const O_RDWR: c_int = 2;
const O_CREAT: c_int = 0o100;
const O_TRUNC: c_int = 0o1000;
const O_CLOEXEC: c_int = 0o2_000_000;
const ENOSYS: c_int = 38;
/// The exit code of a process that was ended here.
const ENDED: c_int = 86;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn __errno_location() -> *mut c_int;
    fn getenv(name: *const c_char) -> *const c_char;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

macro_rules! sys {
    ($number:expr $(, $argument:expr)*) => { unsafe { syscall($number as c_long $(, $argument as c_long)*) } };
}

fn set_errno(errno: c_int) {
    unsafe { *__errno_location() = errno };
}

/// The control page; none where this process is not to be touched.
fn control() -> Option<&'static Control> {
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

/// A path, and what is needed to compare and to join it.
#[derive(Clone, Copy)]
struct Path {
    bytes: [u8; 2048],
    length: usize,
}

impl Path {
    const EMPTY: Self = Self { bytes: [0; 2048], length: 0 };

    fn push(&mut self, bytes: &[u8]) {
        let room = self.bytes.len() - 1 - self.length;
        let bytes = &bytes[..bytes.len().min(room)];
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
        self.bytes[self.length] = 0;
    }

    fn push_number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push(&digits[at..]);
    }

    fn get(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn c(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    /// Where an open file is, as the kernel says.
    fn of_fd(fd: c_int) -> Self {
        let mut link = Self::EMPTY;
        link.push(b"/proc/self/fd/");
        link.push_number(fd.max(0) as u64);
        let mut path = Self::EMPTY;
        let length = sys!(nr::READLINKAT, AT_FDCWD, link.c(), path.bytes.as_mut_ptr(), path.bytes.len() - 1);
        path.length = length.max(0) as usize;
        path.bytes[path.length] = 0;
        path
    }

    /// An absolute path.
    fn at(dir: c_int, name: *const c_char) -> Self {
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        if name.first() == Some(&b'/') {
            let mut path = Self::EMPTY;
            path.push(name);
            return path;
        }
        let mut path = if dir == AT_FDCWD {
            let mut path = Self::EMPTY;
            let length = sys!(nr::GETCWD, path.bytes.as_mut_ptr(), path.bytes.len());
            path.length = (length.max(1) - 1) as usize;
            path
        } else {
            Self::of_fd(dir)
        };
        path.push(b"/");
        path.push(name);
        path
    }

    fn parent(&self) -> Self {
        let mut path = Self::EMPTY;
        let end = self.get().iter().rposition(|it| *it == b'/').unwrap_or(0);
        path.push(&self.get()[..end]);
        path
    }

    fn is_below(&self, control: &Control) -> bool {
        let below = until_zero(&control.below);
        self.get().strip_prefix(below).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|it| *it == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

/// What statx(2) says.
struct Stat {
    inode: u64,
    size: u64,
    directory: bool,
    regular: bool,
}

fn statx(dir: c_int, path: *const u8, flags: c_int) -> Option<Stat> {
    let mut bytes = [0_u8; 256];
    if sys!(nr::STATX, dir, path, flags, 0x7ff, bytes.as_mut_ptr()) != 0 {
        return None;
    }
    let number = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
    let mode = u16::from_ne_bytes([bytes[28], bytes[29]]) & 0o170_000;
    Some(Stat { inode: number(32), size: number(40), directory: mode == 0o040_000, regular: mode == 0o100_000 })
}

fn stat_fd(fd: c_int) -> Option<Stat> {
    statx(fd, c"".as_ptr().cast(), 0x1000)
}

fn stat(path: &Path) -> Option<Stat> {
    statx(AT_FDCWD, path.c(), 0x100)
}

/// One at a time: what the log says and what is done must have the same order.
static BUSY: AtomicBool = AtomicBool::new(false);

struct Turn;

impl Turn {
    fn take() -> Self {
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

fn sleep_us(us: u64) {
    let time = [(us / 1_000_000) as i64, (us % 1_000_000 * 1000) as i64];
    sys!(nr::NANOSLEEP, time.as_ptr(), 0);
}

/// What becomes of a call.
enum Fate {
    Done,
    Fails(c_int),
    /// The process ends in the middle of it.
    Ends,
}

impl Control {
    fn concerns(&self, path: &Path) -> bool {
        path.get().ends_with(until_zero(&self.only))
    }

    fn fate(&self, class: u64, path: &Path) -> Fate {
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

    fn keeps_undo(&self) -> bool {
        self.undo.load(SeqCst) != 0
    }

    /// Adds a record; `numbers` are the inode and three more.
    fn log(&self, kind: u64, numbers: [u64; 4], first: &[u8], second: &[u8]) {
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
    fn keep(&self, path: &Path) -> Path {
        let mut kept = Path::EMPTY;
        kept.push(until_zero(&self.undo_dir));
        kept.push(b"/");
        kept.push_number(self.kept.fetch_add(1, SeqCst));
        sys!(nr::LINKAT, AT_FDCWD, path.c(), AT_FDCWD, kept.c(), 0);
        kept
    }

    fn log_unlink(&self, path: &Path, stat: &Stat) {
        let kept = self.keep(path);
        self.log(kind::UNLINK, [stat.inode, inode(&path.parent()), 0, 0], path.get(), kept.get());
    }
}

fn inode(path: &Path) -> u64 {
    stat(path).map_or(0, |it| it.inode)
}

fn end() -> ! {
    loop {
        sys!(nr::EXIT_GROUP, ENDED);
    }
}

/// The control page and the path of an open file, where it is one to be touched.
fn watched(fd: c_int) -> Option<(&'static Control, Path)> {
    let control = control()?;
    stat_fd(fd).filter(|it| it.regular || it.directory)?;
    let path = Path::of_fd(fd);
    path.is_below(control).then_some((control, path))
}

fn watched_name(dir: c_int, name: *const c_char) -> Option<(&'static Control, Path)> {
    let control = control()?;
    let path = Path::at(dir, name);
    path.is_below(control).then_some((control, path))
}

/// The bytes that a write will replace.
fn old_bytes(fd: c_int, offset: u64, length: u64, size: u64) -> Vec<u8> {
    let length = size.saturating_sub(offset).min(length) as usize;
    let mut bytes = vec![0; length];
    if length == 0 {
        return bytes;
    }
    // The descriptor itself may be open for writing only.
    let mut link = Path::EMPTY;
    link.push(b"/proc/self/fd/");
    link.push_number(fd.max(0) as u64);
    let reader = sys!(nr::OPENAT, AT_FDCWD, link.c(), O_CLOEXEC, 0);
    let mut done = 0;
    while done < length {
        let read = sys!(nr::PREAD, reader, bytes[done..].as_mut_ptr(), length - done, offset as usize + done);
        if read <= 0 {
            break;
        }
        done += read as usize;
    }
    sys!(nr::CLOSE, reader);
    bytes
}

fn write_watched(
    (control, path): (&Control, Path),
    fd: c_int,
    offset: u64,
    length: usize,
    write: impl Fn(usize) -> isize,
) -> isize {
    let _turn = Turn::take();
    let fate = control.fate(WRITE, &path);
    if let Fate::Fails(errno) = fate {
        if length < 2 {
            set_errno(errno);
            return -1;
        }
        // As the kernel does: what there was room for is written, and the next call fails.
        control.countdown.store(1, SeqCst);
        control.fired.fetch_sub(1, SeqCst);
    }
    let partly = !matches!(fate, Fate::Done);
    if control.keeps_undo() {
        let Some(stat) = stat_fd(fd) else { return -1 };
        let old = old_bytes(fd, offset, length as u64, stat.size);
        control.log(kind::WRITE, [stat.inode, offset, stat.size, length as u64], &old, &[]);
    }
    let written = write(if partly { length / 2 } else { length });
    if matches!(fate, Fate::Ends) {
        end();
    }
    written
}

#[unsafe(no_mangle)]
pub extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, length: usize, offset: i64) -> isize {
    let write = |length: usize| sys!(nr::PWRITE, fd, bytes, length, offset) as isize;
    match watched(fd) {
        Some(watched) => write_watched(watched, fd, offset as u64, length, write),
        None => write(length),
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn pwrite(fd: c_int, bytes: *const c_void, length: usize, offset: i64) -> isize {
    pwrite64(fd, bytes, length, offset)
}

#[unsafe(no_mangle)]
pub extern "C" fn write(fd: c_int, bytes: *const c_void, length: usize) -> isize {
    let write = |length: usize| sys!(nr::WRITE, fd, bytes, length) as isize;
    match watched(fd) {
        Some(watched) => {
            let here = sys!(nr::LSEEK, fd, 0, 1).max(0) as u64;
            write_watched(watched, fd, here, length, write)
        }
        None => write(length),
    }
}

#[repr(C)]
pub struct Slice {
    bytes: *const c_void,
    length: usize,
}

#[unsafe(no_mangle)]
pub extern "C" fn writev(fd: c_int, slices: *const Slice, count: c_int) -> isize {
    if watched(fd).is_none() || count < 1 {
        return sys!(nr::WRITEV, fd, slices, count) as isize;
    }
    // The first is enough: callers write the rest again.
    let slices = unsafe { std::slice::from_raw_parts(slices, count as usize) };
    let first = slices.iter().find(|it| it.length > 0);
    first.map_or(0, |it| write(fd, it.bytes, it.length))
}

fn sync_watched(fd: c_int, number: i64, delayed: bool) -> c_int {
    let Some((control, path)) = watched(fd) else { return sys!(number, fd) as c_int };
    if delayed && control.concerns(&path) {
        let delay = control.fdatasync_delay_us.load(SeqCst);
        if delay > 0 {
            sleep_us(delay);
        }
        if control.hold.load(SeqCst) != 0 {
            control.held.fetch_add(1, SeqCst);
            while control.hold.load(SeqCst) != 0 {
                sleep_us(500);
            }
            control.held.fetch_sub(1, SeqCst);
        }
    }
    match control.fate(SYNC, &path) {
        Fate::Ends => end(),
        Fate::Fails(errno) => {
            set_errno(errno);
            return -1;
        }
        Fate::Done => {}
    }
    if !control.keeps_undo() {
        return sys!(number, fd) as c_int;
    }
    let turn = Turn::take();
    let upto = control.logged.load(SeqCst);
    drop(turn);
    // The undo log stands for the disk: a real sync would only take time.
    let _turn = Turn::take();
    control.log(kind::SYNC, [stat_fd(fd).map_or(0, |it| it.inode), upto, 0, 0], &[], &[]);
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync_watched(fd, nr::FDATASYNC, true)
}

#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    sync_watched(fd, nr::FSYNC, false)
}

/// Says nothing about the disk's own cache (sync_file_range(2)), so it makes nothing durable.
#[unsafe(no_mangle)]
pub extern "C" fn sync_file_range(fd: c_int, offset: i64, bytes: i64, flags: u32) -> c_int {
    if let Some((control, path)) = watched(fd)
        && let fate @ (Fate::Ends | Fate::Fails(_)) = control.fate(SYNC, &path)
    {
        let Fate::Fails(errno) = fate else { end() };
        set_errno(errno);
        return -1;
    }
    sys!(nr::SYNC_FILE_RANGE, fd, offset, bytes, flags) as c_int
}

#[unsafe(no_mangle)]
pub extern "C" fn ftruncate64(fd: c_int, length: i64) -> c_int {
    let Some((control, path)) = watched(fd) else { return sys!(nr::FTRUNCATE, fd, length) as c_int };
    let _turn = Turn::take();
    let fate = control.fate(WRITE, &path);
    if let Fate::Fails(errno) = fate {
        set_errno(errno);
        return -1;
    }
    if control.keeps_undo()
        && let Some(stat) = stat_fd(fd)
    {
        let old = old_bytes(fd, length as u64, u64::MAX, stat.size);
        control.log(kind::TRUNCATE, [stat.inode, length as u64, stat.size, 0], &old, &[]);
    }
    let result = sys!(nr::FTRUNCATE, fd, length) as c_int;
    if matches!(fate, Fate::Ends) {
        end();
    }
    result
}

#[unsafe(no_mangle)]
pub extern "C" fn ftruncate(fd: c_int, length: i64) -> c_int {
    ftruncate64(fd, length)
}

/// Counts a call that changes names, logs it, and makes it; a process that is to end here does so before or after it.
fn name_watched(control: &Control, path: &Path, log: impl FnOnce(), call: impl FnOnce() -> c_int) -> c_int {
    let _turn = Turn::take();
    let fate = control.fate(NAME, path);
    if let Fate::Fails(errno) = fate {
        set_errno(errno);
        return -1;
    }
    if matches!(fate, Fate::Ends) && control.calls.load(SeqCst) % 2 == 0 {
        end();
    }
    if control.keeps_undo() {
        log();
    }
    let result = call();
    if matches!(fate, Fate::Ends) {
        end();
    }
    result
}

#[unsafe(no_mangle)]
pub extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let call = || sys!(nr::RENAMEAT2, AT_FDCWD, from, AT_FDCWD, to, 0) as c_int;
    let Some((control, path)) = watched_name(AT_FDCWD, from) else { return call() };
    let new = Path::at(AT_FDCWD, to);
    let log = || {
        if let Some(replaced) = stat(&new).filter(|it| it.regular) {
            control.log_unlink(&new, &replaced);
        }
        let numbers = [inode(&path), inode(&path.parent()), inode(&new.parent()), 0];
        control.log(kind::RENAME, numbers, path.get(), new.get());
    };
    name_watched(control, &path, log, call)
}

fn unlink_at(dir: c_int, name: *const c_char, flags: c_int) -> c_int {
    let call = || sys!(nr::UNLINKAT, dir, name, flags) as c_int;
    let Some((control, path)) = watched_name(dir, name) else { return call() };
    let log = || match stat(&path) {
        Some(it) if it.regular && flags & AT_REMOVEDIR == 0 => control.log_unlink(&path, &it),
        Some(it) if it.directory && flags & AT_REMOVEDIR != 0 => {
            control.log(kind::RMDIR, [it.inode, inode(&path.parent()), 0, 0], path.get(), &[]);
        }
        _ => {}
    };
    name_watched(control, &path, log, call)
}

#[unsafe(no_mangle)]
pub extern "C" fn unlink(name: *const c_char) -> c_int {
    unlink_at(AT_FDCWD, name, 0)
}

#[unsafe(no_mangle)]
pub extern "C" fn unlinkat(dir: c_int, name: *const c_char, flags: c_int) -> c_int {
    unlink_at(dir, name, flags)
}

#[unsafe(no_mangle)]
pub extern "C" fn rmdir(name: *const c_char) -> c_int {
    unlink_at(AT_FDCWD, name, AT_REMOVEDIR)
}

#[unsafe(no_mangle)]
pub extern "C" fn mkdir(name: *const c_char, mode: u32) -> c_int {
    let call = || sys!(nr::MKDIRAT, AT_FDCWD, name, mode) as c_int;
    let Some((control, path)) = watched_name(AT_FDCWD, name) else { return call() };
    if stat(&path).is_some() {
        return call();
    }
    let log = || control.log(kind::MKDIR, [0, inode(&path.parent()), 0, 0], path.get(), &[]);
    name_watched(control, &path, log, call)
}

fn open_at(dir: c_int, name: *const c_char, flags: c_int, mode: u32) -> c_int {
    let call = || sys!(nr::OPENAT, dir, name, flags, mode) as c_int;
    if flags & (O_CREAT | O_TRUNC) == 0 {
        return call();
    }
    let Some((control, path)) = watched_name(dir, name) else { return call() };
    match stat(&path) {
        None if flags & O_CREAT != 0 => {
            let log = || control.log(kind::CREATE, [0, inode(&path.parent()), 0, 0], path.get(), &[]);
            name_watched(control, &path, log, call)
        }
        Some(it) if it.regular && flags & O_TRUNC != 0 => {
            let fd = sys!(nr::OPENAT, dir, name, flags & !O_TRUNC, mode) as c_int;
            if fd < 0 || ftruncate64(fd, 0) == 0 {
                return fd;
            }
            let errno = unsafe { *__errno_location() };
            sys!(nr::CLOSE, fd);
            set_errno(errno);
            -1
        }
        _ => call(),
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn open(name: *const c_char, flags: c_int, mode: u32) -> c_int {
    open_at(AT_FDCWD, name, flags, mode)
}

#[unsafe(no_mangle)]
pub extern "C" fn open64(name: *const c_char, flags: c_int, mode: u32) -> c_int {
    open_at(AT_FDCWD, name, flags, mode)
}

#[unsafe(no_mangle)]
pub extern "C" fn openat(dir: c_int, name: *const c_char, flags: c_int, mode: u32) -> c_int {
    open_at(dir, name, flags, mode)
}

#[unsafe(no_mangle)]
pub extern "C" fn openat64(dir: c_int, name: *const c_char, flags: c_int, mode: u32) -> c_int {
    open_at(dir, name, flags, mode)
}

fn refuse_copy(to: c_int) -> bool {
    let refused = watched(to).is_some();
    if refused {
        set_errno(ENOSYS);
    }
    refused
}

/// Into a watched file with plain writes only, which are logged.
#[unsafe(no_mangle)]
pub extern "C" fn copy_file_range(_: c_int, _: *mut i64, _: c_int, _: *mut i64, _: usize, _: u32) -> isize {
    set_errno(ENOSYS);
    -1
}

#[unsafe(no_mangle)]
pub extern "C" fn sendfile64(to: c_int, from: c_int, offset: *mut i64, count: usize) -> isize {
    if refuse_copy(to) { -1 } else { sys!(nr::SENDFILE, to, from, offset, count) as isize }
}

#[unsafe(no_mangle)]
pub extern "C" fn splice(
    from: c_int,
    from_offset: *mut i64,
    to: c_int,
    to_offset: *mut i64,
    count: usize,
    flags: u32,
) -> isize {
    if refuse_copy(to) { -1 } else { sys!(nr::SPLICE, from, from_offset, to, to_offset, count, flags) as isize }
}

#[repr(C)]
pub struct Time {
    seconds: i64,
    nanoseconds: i64,
}

/// The C library's own, which makes no system call.
fn real_clock(clock: c_int, time: *mut Time) -> c_int {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    if REAL.load(SeqCst) == 0 {
        // RTLD_NEXT.
        let found = unsafe { dlsym(usize::MAX as *mut c_void, c"clock_gettime".as_ptr()) };
        REAL.store(if found.is_null() { 1 } else { found as usize }, SeqCst);
    }
    match REAL.load(SeqCst) {
        1 => sys!(nr::CLOCK_GETTIME, clock, time) as c_int,
        real => {
            let real: extern "C" fn(c_int, *mut Time) -> c_int = unsafe { std::mem::transmute(real) };
            real(clock, time)
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn clock_gettime(clock: c_int, time: *mut Time) -> c_int {
    let result = real_clock(clock, time);
    // CLOCK_REALTIME and CLOCK_REALTIME_COARSE.
    if result == 0
        && (clock == 0 || clock == 5)
        && let Some(control) = control()
        && !time.is_null()
    {
        let offset = control.clock_offset_ms.load(SeqCst);
        let time = unsafe { &mut *time };
        let nanoseconds = time.nanoseconds + offset.rem_euclid(1000) * 1_000_000;
        time.seconds += offset.div_euclid(1000) + nanoseconds / 1_000_000_000;
        time.nanoseconds = nanoseconds % 1_000_000_000;
    }
    result
}
