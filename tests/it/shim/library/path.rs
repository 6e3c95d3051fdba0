//! Paths and what is at them.

use std::ffi::{CStr, c_char, c_int};

use crate::control::Control;
use crate::system::{AT_FDCWD, nr, sys};

/// A path, and what is needed to compare and to join it.
#[derive(Clone, Copy)]
pub struct Path {
    pub bytes: [u8; 2048],
    pub length: usize,
}

impl Path {
    pub const EMPTY: Self = Self { bytes: [0; 2048], length: 0 };

    pub fn push(&mut self, bytes: &[u8]) {
        let room = self.bytes.len() - 1 - self.length;
        let bytes = &bytes[..bytes.len().min(room)];
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
        self.bytes[self.length] = 0;
    }

    pub fn push_number(&mut self, mut number: u64) {
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

    pub fn get(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    pub fn c(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    /// Where an open file is, as the kernel says.
    pub fn of_fd(fd: c_int) -> Self {
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
    pub fn at(dir: c_int, name: *const c_char) -> Self {
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

    pub fn parent(&self) -> Self {
        let mut path = Self::EMPTY;
        let end = self.get().iter().rposition(|it| *it == b'/').unwrap_or(0);
        path.push(&self.get()[..end]);
        path
    }

    pub fn is_below(&self, control: &Control) -> bool {
        let below = until_zero(&control.below);
        self.get().strip_prefix(below).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

pub fn until_zero(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|it| *it == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

/// What statx(2) says.
pub struct Stat {
    pub inode: u64,
    pub size: u64,
    pub directory: bool,
    pub regular: bool,
}

pub fn statx(dir: c_int, path: *const u8, flags: c_int) -> Option<Stat> {
    let mut bytes = [0_u8; 256];
    if sys!(nr::STATX, dir, path, flags, 0x7ff, bytes.as_mut_ptr()) != 0 {
        return None;
    }
    let number = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
    let mode = u16::from_ne_bytes([bytes[28], bytes[29]]) & 0o170_000;
    Some(Stat { inode: number(32), size: number(40), directory: mode == 0o040_000, regular: mode == 0o100_000 })
}

pub fn stat_fd(fd: c_int) -> Option<Stat> {
    statx(fd, c"".as_ptr().cast(), 0x1000)
}

pub fn stat(path: &Path) -> Option<Stat> {
    statx(AT_FDCWD, path.c(), 0x100)
}
