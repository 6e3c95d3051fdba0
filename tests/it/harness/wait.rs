//! Waiting for conditions.

use std::time::{Duration, Instant};

use super::basics::DEADLINE;

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits for a condition; fails if it does not come true in time.
#[track_caller]
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(in_time(condition), "not within {DEADLINE:?}: {what}");
}

/// Waits for a condition; gives false if it does not come true in time.
#[must_use]
pub fn in_time(mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !condition() {
        if started.elapsed() > DEADLINE {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
    true
}

/// A pause in which a wrong server would do what it must not do, where nothing shows when that would be. A correct server
/// passes the test however long the pause takes.
pub fn time_for_a_mistake() {
    std::thread::sleep(Duration::from_millis(300));
}
