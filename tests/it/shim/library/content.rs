//! Calls that change or sync a file's content.

use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering::SeqCst;

use crate::control::{Control, Fate, SYNC, Turn, WRITE, kind, watched};
use crate::path::{Path, stat_fd};
use crate::system::{AT_FDCWD, ENOSYS, O_CLOEXEC, end, nr, set_errno, sleep_us, sys};

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
