//! Rate limits.

use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};

/// A rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Sustained rate per minute.
    pub per_minute: u32,
    /// Maximum burst.
    pub burst: u32,
}

/// A token bucket: allows `burst` at once, and `per_second` in the long run.
#[derive(Debug)]
pub struct TokenBucket {
    burst: f64,
    per_second: f64,
    state: Mutex<(f64, Option<DateTime<Utc>>)>,
}

impl TokenBucket {
    /// Creates a full bucket.
    #[must_use]
    pub fn new(burst: u32, per_second: u32) -> Self {
        let burst = f64::from(burst);
        Self { burst, per_second: f64::from(per_second), state: Mutex::new((burst, None)) }
    }

    /// Creates a full bucket with this rate.
    #[must_use]
    pub fn of(rate: Rate) -> Self {
        Self { per_second: f64::from(rate.per_minute) / 60.0, ..Self::new(rate.burst, 0) }
    }

    /// Returns whether the bucket is full.
    #[must_use]
    pub fn is_full(&self, now: DateTime<Utc>) -> bool {
        let (tokens, last) = *self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let seconds = last.map_or(0.0, |last| (now - last).as_seconds_f64().max(0.0));
        tokens + seconds * self.per_second >= self.burst
    }

    /// Takes a token, if there is one.
    pub fn take(&self, now: DateTime<Utc>) -> bool {
        self.ask(now).is_ok()
    }

    /// Takes a token.
    ///
    /// # Errors
    /// How long until there is a token.
    pub fn ask(&self, now: DateTime<Utc>) -> Result<(), TimeDelta> {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (tokens, last) = *state;
        let seconds = last.map_or(0.0, |last| (now - last).as_seconds_f64().max(0.0));
        let tokens = (tokens + seconds * self.per_second).min(self.burst);
        let taken = tokens >= 1.0;
        *state = (if taken { tokens - 1.0 } else { tokens }, Some(now));
        let millis = ((1.0 - tokens) / self.per_second * 1000.0).ceil();
        // The rate is at least one per minute, so the number is small.
        #[allow(clippy::cast_possible_truncation, reason = "a float's cast saturates")]
        if taken { Ok(()) } else { Err(TimeDelta::milliseconds(millis as i64)) }
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
        let bucket = TokenBucket::of(Rate { per_minute: 30, burst: 1 });
        assert_eq!((bucket.ask(start), bucket.ask(start)), (Ok(()), Err(TimeDelta::seconds(2))));
    }
}
