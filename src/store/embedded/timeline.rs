//! Answers what was stored over time: events from the tally, tasks by the ids in the index.

mod load;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::shared::SharedStore;
use crate::model::company::CompanyId;
use crate::store::error::StoreError;
use crate::store::id_time::{first_id, received_ms};
use crate::store::timeline::{Timeline, TimelineWindow};

/// How long a question waits for a store to be read: one of usual size is complete at once.
const WAIT: Duration = Duration::from_millis(250);

/// Begins to count, if nobody has asked before.
pub(super) fn start(shared: &Arc<SharedStore>) -> std::io::Result<()> {
    let mut loader = shared.tally.loader();
    if loader.is_none() && !shared.closing() {
        *loader = Some(load::start(shared)?);
    }
    Ok(())
}

/// Returns the counts of a company, or of all.
pub(super) fn timeline(
    shared: &SharedStore,
    company: Option<&CompanyId>,
    window: TimelineWindow,
    now: DateTime<Utc>,
) -> Result<Timeline, StoreError> {
    let asked = Instant::now();
    while !shared.tally.is_complete() && asked.elapsed() < WAIT {
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut timeline = Timeline { tasks: tasks(shared, company, window, now), ..Timeline::default() };
    (timeline.events, timeline.complete_since) = shared.tally.of(company, window, now);
    Ok(timeline)
}

/// Counts the tasks of each bucket, by the time in their ids.
fn tasks(shared: &SharedStore, company: Option<&CompanyId>, window: TimelineWindow, now: DateTime<Utc>) -> Vec<u64> {
    let begins = window.begins(now);
    let (first, lowest) = (window.first_slot(now), first_id(begins));
    let mut tasks = vec![0_u64; window.buckets()];
    let mut add = |id: Uuid| {
        let bucket = usize::try_from(window.slot(received_ms(id)) - first).ok();
        if let Some(count) = bucket.and_then(|it| tasks.get_mut(it)) {
            *count += 1;
        }
    };
    let (index, _) = shared.pair();
    let companies = company.map_or_else(|| index.companies(), |it| vec![it.clone()]);
    let found = companies.iter().filter_map(|it| index.company(it));
    found.flat_map(|it| it.ids_since(begins)).filter(|id| *id >= lowest).for_each(&mut add);
    tasks
}
