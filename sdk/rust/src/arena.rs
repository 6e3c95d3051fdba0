//! The plugin's memory: each call has an instance of its own, so that nothing need be given back within one.
//!
//! An allocator that asks for memory when it is first used makes the host do two system calls in every call, which
//! stand in each other's way where calls run side by side. This one begins with memory that the module has from the
//! start, and goes to the usual allocator only when that is used up.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::ptr::null_mut;

/// Enough for payloads of some ten kilobytes. What is not used costs nothing: the host gives no page that nobody
/// touches.
const BYTES: usize = 256 << 10;

/// The start of the memory is handed out from the front; what follows it is the usual allocator's.
#[doc(hidden)]
pub struct Arena {
    bytes: UnsafeCell<[u8; BYTES]>,
    used: Cell<usize>,
}

// SAFETY: a plugin is one thread. It is made the global allocator on wasm32 without threads only.
unsafe impl Sync for Arena {}

impl Arena {
    #[allow(clippy::new_without_default, reason = "for a static")]
    pub const fn new() -> Self {
        Self { bytes: UnsafeCell::new([0; BYTES]), used: Cell::new(0) }
    }

    fn start(&self) -> *mut u8 {
        self.bytes.get().cast()
    }

    /// Where this lies in the arena, if it does.
    fn offset(&self, at: *mut u8) -> Option<usize> {
        at.addr().checked_sub(self.start().addr()).filter(|it| *it < BYTES)
    }

    fn take(&self, layout: Layout) -> Option<*mut u8> {
        let base = self.start().addr();
        let from = (base + self.used.get()).checked_next_multiple_of(layout.align())? - base;
        let end = from.checked_add(layout.size()).filter(|it| *it <= BYTES)?;
        self.used.set(end);
        // SAFETY: `from` is at most BYTES.
        Some(unsafe { self.start().add(from) })
    }
}

// SAFETY: `used` only grows over what was handed out, but for the last piece, which nobody has any more when it is
// given back or cut; so no two pieces overlap. Whatever is not in the arena is the usual allocator's, before and after.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout).unwrap_or_else(|| unsafe { System.alloc(layout) })
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        match self.offset(at) {
            Some(offset) if offset + layout.size() == self.used.get() => self.used.set(offset),
            Some(_) => {}
            None => unsafe { System.dealloc(at, layout) },
        }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset(at) else { return unsafe { System.realloc(at, layout, size) } };
        let (last, fits) = (offset + layout.size() == self.used.get(), size <= BYTES - offset);
        if last && fits {
            self.used.set(offset + size);
            return at;
        }
        if size <= layout.size() {
            return at;
        }
        // SAFETY: the alignment is that of a layout, and the caller vouches for the size.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if new != null_mut() {
            // SAFETY: `new` is another piece, and longer.
            unsafe { new.copy_from_nonoverlapping(at, layout.size()) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::{Arena, BYTES};
    use std::alloc::{GlobalAlloc as _, Layout};

    /// Pieces of every size and alignment, written full, grown, cut and given back in turn, and read again.
    #[test]
    fn pieces_keep_what_was_written_wherever_they_come_from() {
        let arena = Box::new(Arena::new());
        let mut pieces: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let mut random = 7_u32;
        let mut next = |below: usize| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) as usize % below
        };
        let full = |(at, layout, mark): &(*mut u8, Layout, u8)| {
            assert!(at.addr().is_multiple_of(layout.align()));
            assert!((0..layout.size()).all(|it| unsafe { at.add(it).read() } == *mark));
        };
        let fill = |at: *mut u8, size: usize, mark| unsafe { at.write_bytes(mark, size) };
        for mark in 0..=250 {
            let layout = Layout::from_size_align(1 + next(BYTES / 100), 1 << next(5)).unwrap();
            let at = unsafe { arena.alloc(layout) };
            fill(at, layout.size(), mark);
            pieces.push((at, layout, mark));
            let which = if next(2) == 0 { pieces.len() - 1 } else { next(pieces.len()) };
            let (at, layout, mark) = pieces[which];
            match next(3) {
                0 => unsafe { arena.dealloc(at, layout) },
                _ => {
                    let size = 1 + next(layout.size() * 2);
                    let new = unsafe { arena.realloc(at, layout, size) };
                    full(&(new, Layout::from_size_align(size.min(layout.size()), layout.align()).unwrap(), mark));
                    fill(new, size, mark);
                    pieces.push((new, Layout::from_size_align(size, layout.align()).unwrap(), mark));
                }
            }
            pieces.remove(which);
            pieces.iter().for_each(full);
        }
        let outside = pieces.iter().filter(|(at, ..)| arena.offset(*at).is_none()).count();
        assert!(outside > 0 && outside < pieces.len(), "{outside} of {}", pieces.len());
    }

    #[test]
    fn the_last_piece_grows_where_it_is() {
        let arena = Box::new(Arena::new());
        let layout = Layout::from_size_align(16, 1).unwrap();
        unsafe {
            let first = arena.alloc(layout);
            assert_eq!(arena.realloc(first, layout, 4000), first);
            let second = arena.alloc(layout);
            assert_eq!(second.addr(), first.addr() + 4000);
            assert_ne!(arena.realloc(first, Layout::from_size_align(4000, 1).unwrap(), 4001), first);
        }
    }
}
