//! Counts over time, as the overview shows them: a database is not asked at each view of a page.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::model::company::CompanyId;
use crate::store::{Store, StoreError, Timeline, TimelineWindow};

/// How long counts from a database are used again.
const FRESH: Duration = Duration::from_secs(5);
/// Number of counts that are kept.
const MOST: usize = 64;

type Key = (Option<CompanyId>, &'static str);

/// Counts that were asked for a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Timelines(Mutex<HashMap<Key, CachedTimeline>>);

/// When it was read, where its last bucket ends, and the counts.
type CachedTimeline = (Instant, DateTime<Utc>, Arc<Timeline>);

impl Timelines {
    /// Returns the counts of a window, and when it ends.
    pub(crate) async fn of(
        &self,
        store: &dyn Store,
        company: Option<&CompanyId>,
        window: TimelineWindow,
        now: DateTime<Utc>,
    ) -> Result<(DateTime<Utc>, Arc<Timeline>), StoreError> {
        let key = (company.cloned(), window.name());
        if let Some(known) = self.fresh(&key) {
            return Ok(known);
        }
        let timeline = Arc::new(store.timeline(company, window, now).await?);
        // The embedded store counts in memory.
        if store.cluster().is_some() {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, (asked, ..)| asked.elapsed() < FRESH);
            if all.len() < MOST {
                all.insert(key, (Instant::now(), now, Arc::clone(&timeline)));
            }
        }
        Ok((now, timeline))
    }

    fn fresh(&self, key: &Key) -> Option<(DateTime<Utc>, Arc<Timeline>)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, now, timeline) = all.get(key)?;
        (asked.elapsed() < FRESH).then(|| (*now, Arc::clone(timeline)))
    }
}
