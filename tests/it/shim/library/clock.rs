//! The time of day.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::control::control;
use crate::system::{dlsym, nr, sys};

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
