//! Bounds the cost of a check: every access to a value is counted, and a check that has used up its time is
//! stopped.
//!
//! A validator cannot be stopped from outside. But it reads a document only through the document's own accessors
//! (`metered.rs`), so these count. A check runs on one thread, so its meter is thread-local.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use super::cost::Patterns;

/// Number of accesses between two checks of the clock and the stack; takes less than a microsecond.
const STEP: u64 = 64;
/// Wall-clock time between two readings of the CPU time, which costs a system call.
const SLICE: Duration = Duration::from_millis(2);
/// Number of accesses of a quick check.
const QUICK: u64 = 8192;
/// Maximum stack that a check may use, in bytes: half of the smallest thread's stack.
const STACK: usize = 1 << 20;

/// Maximum time to match one byte of text, per KiB of a pattern's compiled size. Measured: 0.08 to 0.22 µs if the
/// lazy DFA gives up and every state is followed for each byte, as with `^[01]*1[01]{250}$`.
const MATCH: Duration = Duration::from_nanos(250);
/// Maximum time of a match that counts as one access.
const MATCH_LOOK: Duration = Duration::from_micros(2);

/// Maximum time of a match, which cannot be interrupted.
#[derive(Debug, Clone, Copy)]
pub(super) struct MatchCost {
    /// Time per byte of a text.
    text: Duration,
    /// Time per byte of a name.
    name: Duration,
}

impl MatchCost {
    const NONE: Self = Self { text: Duration::ZERO, name: Duration::ZERO };

    /// Creates the times for these patterns, whose compiled size is at most `size` bytes each.
    pub(super) fn new(patterns: Patterns, size: usize) -> Self {
        let times = |count: usize| MATCH * u32::try_from((count * size) >> 10).unwrap_or(u32::MAX);
        Self { text: times(usize::from(patterns.any)), name: times(patterns.per_name) }
    }
}

/// The allowed cost of a check.
#[derive(Debug, Clone, Copy)]
pub(super) enum Allowance {
    /// Unlimited: the schema is one of our own and known to be cheap.
    Any,
    /// About a tenth of a millisecond: a check that needs no thread of its own.
    Quick,
    /// A limit for the CPU time.
    Time(Duration),
}

/// The check was stopped because its allowance is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AllowanceUsed;

struct CheckMeter {
    allowance: Allowance,
    looks: u64,
    base: usize,
    /// When the CPU time was last read.
    looked: Instant,
    /// CPU time at which a check with [`Allowance::Time`] is stopped.
    end: Duration,
}

thread_local! {
    /// Accesses left until the next step.
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
    static METER: RefCell<Option<CheckMeter>> = const { RefCell::new(None) };
    static MATCHING: Cell<MatchCost> = const { Cell::new(MatchCost::NONE) };
    /// Bytes that violations may still use in a search, and the minimum of each.
    static ROOM: Cell<(usize, usize)> = const { Cell::new((usize::MAX, 0)) };
}

/// Counts accesses to a value. Stops the check if its allowance is used up.
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
        // `resume_unwind` instead of a panic: no message, and no hook.
        resume_unwind(Box::new(AllowanceUsed));
    }
    LEFT.set(STEP);
}

/// Counts a text that may be matched with a pattern. Stops the check if the match could take longer than the
/// remaining time.
#[inline]
pub(super) fn match_text(bytes: usize) {
    match_bytes(bytes, MATCHING.get().text);
}

/// Counts a name and the patterns that it may be matched with.
#[inline]
pub(super) fn match_name(bytes: usize) {
    match_bytes(bytes, MATCHING.get().name);
}

fn match_bytes(bytes: usize, each: Duration) {
    if each.is_zero() {
        return;
    }
    let longest = each.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX));
    // Counts as accesses, so that many short matches also lead to a check of the clock.
    look(u64::try_from(longest.as_nanos() / MATCH_LOOK.as_nanos()).unwrap_or(u64::MAX));
    if longest > SLICE {
        match_long(longest);
    }
}

#[cold]
#[inline(never)]
fn match_long(longest: Duration) {
    let used_up = METER.with_borrow(|meter| match meter {
        Some(CheckMeter { allowance: Allowance::Quick, .. }) => true,
        Some(CheckMeter { allowance: Allowance::Time(_), end, .. }) => processor_time() + longest > *end,
        Some(CheckMeter { allowance: Allowance::Any, .. }) | None => false,
    });
    if used_up {
        resume_unwind(Box::new(AllowanceUsed));
    }
}

/// Runs a check within its allowance.
pub(super) fn within<T>(
    allowance: Allowance,
    matching: MatchCost,
    check: impl FnOnce() -> T,
) -> Result<T, AllowanceUsed> {
    let marker = 0_u8;
    let end = if let Allowance::Time(limit) = allowance { processor_time() + limit } else { Duration::MAX };
    let base = std::ptr::from_ref(&marker) as usize;
    let meter = CheckMeter { allowance, looks: 0, looked: Instant::now(), base, end };
    let before = METER.replace(Some(meter));
    let left = LEFT.replace(STEP);
    let matched = MATCHING.replace(matching);
    let result = catch_unwind(AssertUnwindSafe(check));
    METER.set(before);
    LEFT.set(left);
    MATCHING.set(matched);
    result.map_err(|cause| match cause.downcast::<AllowanceUsed>() {
        Ok(used_up) => *used_up,
        Err(panic) => resume_unwind(panic),
    })
}

/// Runs a search for violations with a memory limit in bytes, where each takes at least `each`. Also returns
/// whether the search was cut short.
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

/// Counts the memory of violations, and of the bytes that one of them may contain.
#[inline]
pub(super) fn fill(violations: usize, bytes: usize) {
    let (left, each) = ROOM.get();
    if left != usize::MAX {
        ROOM.set((left.saturating_sub(violations * each + bytes), each));
    }
}

/// Returns whether the memory is used up, so that the search ends.
#[inline]
pub(super) fn is_full() -> bool {
    ROOM.get().0 == 0
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
