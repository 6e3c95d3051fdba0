//! System calls, and what else is needed of the C library.

use std::ffi::{c_char, c_int, c_long, c_void};

#[cfg(target_arch = "x86_64")]
pub mod nr {
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
pub mod nr {
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

pub const AT_FDCWD: c_int = -100;
pub const AT_REMOVEDIR: c_int = 0x200;
pub const O_WRONLY: c_int = 1;
pub const O_RDWR: c_int = 2;
pub const O_CREAT: c_int = 0o100;
pub const O_TRUNC: c_int = 0o1000;
pub const O_CLOEXEC: c_int = 0o2_000_000;
pub const ENOSYS: c_int = 38;
/// The exit code of a process that was ended here.
pub const ENDED: c_int = 86;

unsafe extern "C" {
    pub fn syscall(number: c_long, ...) -> c_long;
    pub fn __errno_location() -> *mut c_int;
    pub fn getenv(name: *const c_char) -> *const c_char;
    pub fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// A system call; its result is as syscall(2) gives it.
macro_rules! sys {
    ($number:expr $(, $argument:expr)*) => { unsafe { $crate::system::syscall($number as ::std::ffi::c_long $(, $argument as ::std::ffi::c_long)*) } };
}

pub(crate) use sys;

pub fn set_errno(errno: c_int) {
    unsafe { *__errno_location() = errno };
}

pub fn sleep_us(us: u64) {
    let time = [(us / 1_000_000) as i64, (us % 1_000_000 * 1000) as i64];
    sys!(nr::NANOSLEEP, time.as_ptr(), 0);
}

pub fn end() -> ! {
    loop {
        sys!(nr::EXIT_GROUP, ENDED);
    }
}
