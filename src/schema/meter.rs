//! What a check may cost: every look at a value is counted, and a check that has used up its time ends where it is.
//!
//! A validator cannot be stopped from outside. But it reads a document only through the document's own accessors
//! (`metered.rs`), so these count. A check runs on one thread, so its meter is that thread's.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// Looks between two looks at the clock and the stack: less than a microsecond.
const STEP: u64 = 64;
/// Wall time between two looks at the processor time, which costs a system call.
const SLICE: Duration = Duration::from_millis(2);
/// Looks of a quick check.
const QUICK: u64 = 8192;
/// Most stack that a check may use, in bytes: half of what the smallest thread has.
const STACK: usize = 1 << 20;

/// What a check may cost.
#[derive(Debug, Clone, Copy)]
pub(super) enum Allowance {
    /// Anything: the schema is our own, and known to be cheap.
    Any,
    /// A tenth of a millisecond, about: a check that is worth no thread of its own.
    Quick,
    /// Processor time.
    Time(Duration),
}

/// Why a check ended before its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UsedUp;

struct Meter {
    allowance: Allowance,
    looks: u64,
    base: usize,
    /// The last look at the processor time.
    looked: Instant,
    /// Processor time at which a check with [`Allowance::Time`] ends.
    end: Duration,
}

thread_local! {
    /// Looks left until the next step.
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
    static METER: RefCell<Option<Meter>> = const { RefCell::new(None) };
    /// Bytes that violations may still take in a search for them, and what one takes.
    static ROOM: Cell<(usize, usize)> = const { Cell::new((usize::MAX, 0)) };
}

/// Counts looks at a value. Ends the check where it has used up what it may cost.
#[inline]
pub(super) fn look(looks: u64) {
    LEFT.with(|left| match left.get().checked_sub(looks) {
        Some(rest) => left.set(rest),
        None => step(looks),
    });
}

#[cold]
#[inline(never)]
fn step(looks: u64) {
    let marker = 0_u8;
    let here = std::ptr::from_ref(&marker) as usize;
    let used_up = METER.with_borrow_mut(|meter| {
        let Some(meter) = meter else { return false };
        meter.looks = meter.looks.saturating_add(looks).saturating_add(STEP);
        let late = match meter.allowance {
            Allowance::Any => false,
            Allowance::Quick => meter.looks > QUICK || meter.looked.elapsed() > SLICE,
            Allowance::Time(_) => {
                meter.looked.elapsed() > SLICE && {
                    meter.looked = Instant::now();
                    processor_time() > meter.end
                }
            }
        };
        late || meter.base.abs_diff(here) > STACK
    });
    if used_up {
        // Not a panic: no message, and no hook.
        resume_unwind(Box::new(UsedUp));
    }
    LEFT.set(STEP);
}

/// Runs a check within its allowance.
pub(super) fn within<T>(allowance: Allowance, check: impl FnOnce() -> T) -> Result<T, UsedUp> {
    let marker = 0_u8;
    let end = if let Allowance::Time(limit) = allowance { processor_time() + limit } else { Duration::MAX };
    let meter = Meter { allowance, looks: 0, looked: Instant::now(), base: std::ptr::from_ref(&marker) as usize, end };
    let before = METER.replace(Some(meter));
    let left = LEFT.replace(STEP);
    let result = catch_unwind(AssertUnwindSafe(check));
    METER.set(before);
    LEFT.set(left);
    result.map_err(|cause| match cause.downcast::<UsedUp>() {
        Ok(used_up) => *used_up,
        Err(panic) => resume_unwind(panic),
    })
}

/// Runs a search for violations that may fill this many bytes, where one takes `each`. Also gives whether it was cut short.
pub(super) fn with_room<T>(bytes: usize, each: usize, search: impl FnOnce() -> T) -> (T, bool) {
    struct Restore((usize, usize));
    impl Drop for Restore {
        fn drop(&mut self) {
            ROOM.set(self.0);
        }
    }
    let _restore = Restore(ROOM.replace((bytes, each)));
    let found = search();
    (found, is_full())
}

/// Takes room for violations, and for so many bytes that one of them may name.
#[inline]
pub(super) fn fill(violations: usize, bytes: usize) {
    let (left, each) = ROOM.get();
    if left != usize::MAX {
        ROOM.set((left.saturating_sub(violations * each + bytes), each));
    }
}

/// Whether there is no room for more violations: nothing more is looked for.
#[inline]
pub(super) fn is_full() -> bool {
    ROOM.get().0 == 0
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
