//! What a check may cost: every look at a value is counted, and a check that has used up its time ends where it is.
//!
//! A validator cannot be stopped from outside. But it reads a document only through the document's own accessors
//! (`metered.rs`), so these count. A check runs on one thread, so its meter is that thread's.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use super::cost::Patterns;

/// Looks between two looks at the clock and the stack: less than a microsecond.
const STEP: u64 = 64;
/// Wall time between two looks at the processor time, which costs a system call.
const SLICE: Duration = Duration::from_millis(2);
/// Looks of a quick check.
const QUICK: u64 = 8192;
/// Most stack that a check may use, in bytes: half of what the smallest thread has.
const STACK: usize = 1 << 20;

/// Longest time that a byte is matched with a pattern, for each KiB of its compiled size. Measured: 0.08 to 0.22 µs
/// where the lazy DFA gives up and every state is followed for each byte, as with `^[01]*1[01]{250}$`.
const MATCH: Duration = Duration::from_nanos(250);
/// Longest time of a match that counts as one look.
const MATCH_LOOK: Duration = Duration::from_micros(2);

/// How long a match takes at most, which nothing can end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matching {
    /// Time for each byte of a text.
    text: Duration,
    /// Time for each byte of a name.
    name: Duration,
}

impl Matching {
    const NONE: Self = Self { text: Duration::ZERO, name: Duration::ZERO };

    /// Matching with these patterns, none of which has more than `size` bytes when compiled.
    pub(super) fn new(patterns: Patterns, size: usize) -> Self {
        let times = |count: usize| MATCH * u32::try_from((count * size) >> 10).unwrap_or(u32::MAX);
        Self { text: times(usize::from(patterns.any)), name: times(patterns.per_name) }
    }
}

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
    static MATCHING: Cell<Matching> = const { Cell::new(Matching::NONE) };
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

/// Looks at a text that may be matched with a pattern. Ends the check where that could take longer than what is left.
#[inline]
pub(super) fn match_text(bytes: usize) {
    match_bytes(bytes, MATCHING.get().text);
}

/// The same for a name, and all patterns that names are matched with.
#[inline]
pub(super) fn match_name(bytes: usize) {
    match_bytes(bytes, MATCHING.get().name);
}

fn match_bytes(bytes: usize, each: Duration) {
    if each.is_zero() {
        return;
    }
    let longest = each.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX));
    // So that many short ones do not pass between two looks at the clock.
    look(u64::try_from(longest.as_nanos() / MATCH_LOOK.as_nanos()).unwrap_or(u64::MAX));
    if longest > SLICE {
        match_long(longest);
    }
}

#[cold]
#[inline(never)]
fn match_long(longest: Duration) {
    let used_up = METER.with_borrow(|meter| match meter {
        Some(Meter { allowance: Allowance::Quick, .. }) => true,
        Some(Meter { allowance: Allowance::Time(_), end, .. }) => processor_time() + longest > *end,
        Some(Meter { allowance: Allowance::Any, .. }) | None => false,
    });
    if used_up {
        resume_unwind(Box::new(UsedUp));
    }
}

/// Runs a check within its allowance.
pub(super) fn within<T>(allowance: Allowance, matching: Matching, check: impl FnOnce() -> T) -> Result<T, UsedUp> {
    let marker = 0_u8;
    let end = if let Allowance::Time(limit) = allowance { processor_time() + limit } else { Duration::MAX };
    let base = std::ptr::from_ref(&marker) as usize;
    let meter = Meter { allowance, looks: 0, looked: Instant::now(), base, end };
    let before = METER.replace(Some(meter));
    let left = LEFT.replace(STEP);
    let matched = MATCHING.replace(matching);
    let result = catch_unwind(AssertUnwindSafe(check));
    METER.set(before);
    LEFT.set(left);
    MATCHING.set(matched);
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
