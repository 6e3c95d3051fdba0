//! Calls that make, rename and remove files and directories.

use std::ffi::{c_char, c_int};
use std::sync::atomic::Ordering::SeqCst;

use crate::content::ftruncate64;
use crate::control::{Control, Fate, NAME, Turn, inode, kind, watched_name};
use crate::path::{Path, stat};
use crate::system::{__errno_location, AT_FDCWD, AT_REMOVEDIR, O_CREAT, O_TRUNC, end, nr, set_errno, sys};

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
