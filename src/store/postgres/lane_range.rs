//! Which lanes a claim looks at.
//!
//! A claim looks at the lanes of the events that have waited longest, and at lanes from a random one on, so that each gets its
//! turn. The second look passes over the entries of removed rows, which PostgreSQL keeps while another client's snapshot is
//! open. So it has a range, which shrinks while claims take long.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A claim that takes so much longer than a fast one makes the range smaller; a quarter of it makes it larger.
const LONGER: Duration = Duration::from_millis(16);
/// How often the range is halved at most. Less than one of 2^40 entries is in it then.
const SMALLEST: u32 = 40;
/// How often it is halved at first, so that the first claims show how long a fast one takes.
const AT_FIRST: u32 = 20;

/// A range of lanes. It may go on at the lowest lane.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LaneRange {
    pub(super) from: i64,
    pub(super) to: i64,
    /// The last lane after the lowest one, if the range goes on there.
    pub(super) wrapped_to: Option<i64>,
}

impl LaneRange {
    /// Returns the range that begins at this lane and has 2^-`halvings` of all lanes.
    fn at(from: i64, halvings: u32) -> Self {
        // One less than its length: as an offset, it wraps around.
        let end = from.wrapping_add_unsigned(u64::MAX >> halvings);
        if end >= from {
            Self { from, to: end, wrapped_to: None }
        } else {
            Self { from, to: i64::MAX, wrapped_to: Some(end) }
        }
    }
}

/// The ranges of successive claims.
#[derive(Debug)]
pub(super) struct LaneRanges(Mutex<RangeOfClaims>);

#[derive(Debug)]
struct RangeOfClaims {
    /// How often the range was halved.
    halvings: u32,
    /// How long a fast claim takes: mostly the way to the database and back. It grows slowly, in case that has become longer.
    fast: Duration,
}

impl Default for LaneRanges {
    fn default() -> Self {
        Self(Mutex::new(RangeOfClaims { halvings: AT_FIRST, fast: Duration::MAX }))
    }
}

impl LaneRanges {
    /// Returns a range with a random beginning.
    pub(super) fn next(&self) -> LaneRange {
        // Without randomness, the claim looks from the lowest lane on.
        let from = getrandom::u64().map_or(i64::MIN, |it| i64::from_ne_bytes(it.to_ne_bytes()));
        LaneRange::at(from, self.current().halvings)
    }

    /// Notes how long a claim took.
    pub(super) fn took(&self, time: Duration) {
        let mut it = self.current();
        it.fast = it.fast.saturating_add(it.fast / 32).min(time);
        let longer = time - it.fast;
        if longer > LONGER {
            it.halvings = (it.halvings + 2).min(SMALLEST);
        } else if longer < LONGER / 4 {
            it.halvings = it.halvings.saturating_sub(1);
        }
    }

    fn current(&self) -> MutexGuard<'_, RangeOfClaims> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LaneRange, LaneRanges, SMALLEST};

    /// A lane outside of every range would wait until all older events are settled.
    #[test]
    fn a_whole_range_has_every_lane_wherever_it_begins() {
        for from in [i64::MIN, -1, 0, 77, i64::MAX] {
            let LaneRange { to, wrapped_to, .. } = LaneRange::at(from, 0);
            assert_eq!(to, i64::MAX);
            assert_eq!(wrapped_to, from.checked_sub(1));
        }
        assert_eq!(LaneRange::at(0, 63), LaneRange { from: 0, to: 1, wrapped_to: None });
        assert_eq!(LaneRange::at(i64::MAX, 63), LaneRange { from: i64::MAX, to: i64::MAX, wrapped_to: Some(i64::MIN) });
    }

    /// The queue of a database with old snapshots would be claimed slowly forever, or quickly at first and never in full again.
    #[test]
    fn the_range_shrinks_while_claims_take_long_and_grows_again() {
        let ranges = LaneRanges::default();
        let claims = |millis| (0..50).for_each(|_| ranges.took(Duration::from_millis(millis)));
        claims(1);
        let LaneRange { from, wrapped_to, .. } = ranges.next();
        assert_eq!(wrapped_to, from.checked_sub(1));
        claims(1000);
        assert_eq!(ranges.current().halvings, SMALLEST);
        claims(1);
        assert_eq!(ranges.current().halvings, 0);
    }

    /// With a database that is far away, every claim takes longer.
    #[test]
    fn the_way_to_the_database_does_not_count() {
        let ranges = LaneRanges::default();
        (0..50).for_each(|_| ranges.took(Duration::from_millis(80)));
        assert_eq!(ranges.current().halvings, 0);
    }
}
