//! Series of queued deliveries: acknowledged with 202, and not settled yet.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::exposition::Exposition;
use super::integrations::{self, IntegrationSeries};
use super::observed::Observed;
use super::series;
use super::value::Counter;

/// Series of the whole process.
pub(crate) static QUEUE: QueueSeries = QueueSeries {
    waiting: Mutex::new(Waiters { ages: BTreeSet::new(), next: 0 }),
    settled: Counter::new(),
    retries: Counter::new(),
    set_aside: Counter::new(),
};

/// Counts of the queue.
#[derive(Debug)]
pub(crate) struct QueueSeries {
    waiting: Mutex<Waiters>,
    pub(crate) settled: Counter,
    pub(crate) retries: Counter,
    pub(crate) set_aside: Counter,
}

/// Receipt times of the queued deliveries, in milliseconds since 1970, each with a number that makes it unique.
#[derive(Debug)]
struct Waiters {
    ages: BTreeSet<(i64, u64)>,
    next: u64,
}

/// Guard that counts a delivery in the queue until it is dropped.
#[derive(Debug)]
pub(crate) struct InQueue {
    series: Arc<IntegrationSeries>,
    age: (i64, u64),
}

impl QueueSeries {
    /// Counts a delivery of this integration, received at this time (in milliseconds since 1970), until the guard is dropped.
    pub(crate) fn enter(&self, integration: &str, received_ms: i64) -> InQueue {
        let series = integrations::find(integration);
        series.queued.move_by(1);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let age = (received_ms, waiting.next);
        waiting.next += 1;
        waiting.ages.insert(age);
        InQueue { series, age }
    }

    /// Returns when the oldest queued delivery was received, in milliseconds since 1970.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).ages.first().map(|it| it.0)
    }

    /// Returns how many deliveries are queued here.
    pub(crate) fn all(&self) -> u64 {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).ages.len() as u64
    }

    /// Writes everything except the depth, which is one of the integrations' series.
    #[expect(clippy::cast_precision_loss, reason = "an age in milliseconds is far smaller")]
    pub(super) fn write(&self, to: &mut Exposition<'_>, observed: &Observed) -> fmt::Result {
        let age = self.oldest().map_or(0, |it| observed.now_ms.saturating_sub(it).max(0));
        to.gauge(&series::QUEUE_STORED, observed.queue_stored.unwrap_or_else(|| self.all()))?;
        to.gauge(&series::QUEUE_LIMIT, observed.queue_limit)?;
        to.gauge(&series::QUEUE_OLDEST, age as f64 / 1000.0)?;
        to.counter(&series::QUEUE_SETTLED, self.settled.get())?;
        to.counter(&series::QUEUE_RETRIES, self.retries.get())?;
        to.counter(&series::QUEUE_SET_ASIDE, self.set_aside.get())
    }
}

impl Drop for InQueue {
    fn drop(&mut self) {
        self.series.queued.move_by(-1);
        QUEUE.waiting.lock().unwrap_or_else(PoisonError::into_inner).ages.remove(&self.age);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_the_one_that_was_received_first_and_is_still_there() {
        let (late, early) = (QUEUE.enter("queue-test", 2000), QUEUE.enter("queue-test", 1000));
        assert_eq!(QUEUE.oldest(), Some(1000));
        drop(early);
        assert_eq!(QUEUE.oldest(), Some(2000));
        drop(late);
        assert_eq!(QUEUE.oldest(), None);
    }
}
