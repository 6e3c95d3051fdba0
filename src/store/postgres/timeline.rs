//! Counts of events and tasks over time: one statement for each, over the ids of the window.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::failure;
use super::shared::SharedDatabase;
use super::text::shown;
use crate::model::company::CompanyId;
use crate::store::error::StoreError;
use crate::store::id_time::first_id_of;
use crate::store::timeline::{Timeline, TimelineCount, TimelineWindow};

// The bounds are ids, so that the database compares 16 bytes and computes no times; and only the partitions of the window are
// read. Without a company, each company's range is read on its own, because every index begins with the company.
const EVENTS: &str = "SELECT bucket, integration, status, sum(events)::int8 FROM ( \
       SELECT unnest(CASE WHEN $1::text IS NULL THEN ARRAY(SELECT company_id FROM hookmill.companies) ELSE ARRAY[$1] END) AS company \
     ) c CROSS JOIN LATERAL ( \
       SELECT width_bucket(id, $2::uuid[]) - 1 AS bucket, integration, status, count(*) AS events FROM hookmill.events \
       WHERE company_id = c.company AND id >= $3 AND id < $4 \
       AND id >= (SELECT events_from FROM hookmill.installation) GROUP BY 1, 2, 3 \
     ) e GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";
const TASKS: &str = "SELECT bucket, sum(tasks)::int8 FROM ( \
       SELECT unnest(CASE WHEN $1::text IS NULL THEN ARRAY(SELECT company_id FROM hookmill.companies) ELSE ARRAY[$1] END) AS company \
     ) c CROSS JOIN LATERAL ( \
       SELECT width_bucket(id, $2::uuid[]) - 1 AS bucket, count(*) AS tasks FROM hookmill.tasks \
       WHERE company_id = c.company AND id >= $3 AND id < $4 GROUP BY 1 \
     ) e GROUP BY 1";

/// Returns the counts of a company, or of all.
pub(super) async fn timeline(
    shared: &SharedDatabase,
    company: Option<&CompanyId>,
    window: TimelineWindow,
    now: DateTime<Utc>,
) -> Result<Timeline, StoreError> {
    let (first, buckets) = (window.first_slot(now), i64::try_from(window.buckets()).unwrap_or(0));
    let bound = |slot: i64| first_id_of(slot * window.step_ms());
    let bounds: Vec<Uuid> = (first..first + buckets).map(bound).collect();
    let (from, until) = (bound(first), bound(first + buckets));
    let company = company.map(CompanyId::as_str);
    let client = shared.connections.read().await.map_err(failure::read)?;
    let events = client.prepare_cached(EVENTS).await.map_err(failure::read)?;
    let events = client.query(&events, &[&company, &bounds, &from, &until]).await.map_err(failure::read)?;
    let tasks = client.prepare_cached(TASKS).await.map_err(failure::read)?;
    let tasks = client.query(&tasks, &[&company, &bounds, &from, &until]).await.map_err(failure::read)?;
    let mut timeline = Timeline { tasks: vec![0; window.buckets()], ..Timeline::default() };
    for row in &events {
        timeline.events.push(TimelineCount {
            bucket: usize::try_from(row.get::<_, i32>(0)).unwrap_or(0),
            integration: shown(row.get(1)),
            status: usize::try_from(row.get::<_, i16>(2)).unwrap_or(0),
            events: row.get::<_, i64>(3).unsigned_abs(),
        });
    }
    for row in &tasks {
        let bucket = usize::try_from(row.get::<_, i32>(0)).ok();
        if let Some(count) = bucket.and_then(|it| timeline.tasks.get_mut(it)) {
            *count = row.get::<_, i64>(1).unsigned_abs();
        }
    }
    Ok(timeline)
}
