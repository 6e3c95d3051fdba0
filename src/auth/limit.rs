//! A bound on how often something happens, whoever causes it.

use std::sync::Mutex;

use chrono::{DateTime, Utc};

/// A token bucket: `burst` at once, `per_second` in the long run.
#[derive(Debug)]
pub struct TokenBucket {
    burst: f64,
    per_second: f64,
    state: Mutex<(f64, Option<DateTime<Utc>>)>,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn new(burst: u32, per_second: u32) -> Self {
        let burst = f64::from(burst);
        Self { burst, per_second: f64::from(per_second), state: Mutex::new((burst, None)) }
    }

    /// Takes a token, if one is there.
    pub fn take(&self, now: DateTime<Utc>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (tokens, last) = *state;
        let seconds = last.map_or(0.0, |last| (now - last).as_seconds_f64().max(0.0));
        let tokens = (tokens + seconds * self.per_second).min(self.burst);
        let taken = tokens >= 1.0;
        *state = (if taken { tokens - 1.0 } else { tokens }, Some(now));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let (bucket, start) = (TokenBucket::new(3, 2), DateTime::UNIX_EPOCH);
        let taken = |at_ms: i64| bucket.take(start + chrono::Duration::milliseconds(at_ms));
        assert_eq!([taken(0), taken(0), taken(0), taken(0)], [true, true, true, false]);
        assert_eq!([taken(500), taken(500), taken(1000)], [true, false, true]);
    }
}
