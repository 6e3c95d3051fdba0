//! Memory that a thread has freed and keeps for itself.

/// Gives memory that this thread has freed back to the process. The allocator keeps pages for each thread, about a MiB
/// after a plugin's call; with hundreds of threads that wait, nobody else could use it.
pub(crate) fn give_back() {
    #[allow(unsafe_code, reason = "a call on a flag, which the allocator allows on any thread at any time")]
    unsafe {
        libmimalloc_sys::mi_collect(true);
    }
}
