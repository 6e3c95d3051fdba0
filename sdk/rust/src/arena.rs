//! The plugin's allocator: each call has its own instance, so nothing needs to be freed within a call.
//!
//! An allocator that requests memory at its first use causes two system calls of the host in every call, and these
//! block each other when calls run in parallel. This one starts with memory that the module declares, and uses the
//! default allocator only when that is used up.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::ptr::null_mut;

/// Enough for payloads of about ten kilobytes. Unused memory costs nothing: the host provides a page only when it is
/// touched.
const BYTES: usize = 256 << 10;

/// The arena is handed out from the front; everything behind it belongs to the default allocator.
#[doc(hidden)]
pub struct Arena {
    bytes: UnsafeCell<[u8; BYTES]>,
    used: Cell<usize>,
}

// SAFETY: a plugin has one thread. This is the global allocator only on wasm32 without threads.
unsafe impl Sync for Arena {}

impl Arena {
    #[allow(clippy::new_without_default, reason = "for a static")]
    pub const fn new() -> Self {
        Self { bytes: UnsafeCell::new([0; BYTES]), used: Cell::new(0) }
    }

    fn start(&self) -> *mut u8 {
        self.bytes.get().cast()
    }

    /// The offset of this pointer in the arena, if it is in the arena.
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

// SAFETY: `used` only grows, except that the last piece can be freed or cut, and its owner no longer uses it then; so no
// two pieces overlap. Everything outside of the arena belongs to the default allocator, before and after.
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
        // SAFETY: the alignment is that of a layout, and the caller guarantees the size.
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

    /// Pieces of every size and alignment are filled, grown, cut and freed in turn, and read again.
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
