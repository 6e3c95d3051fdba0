//! Counts of events and tasks over time.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Duration, SubsecRound as _, Utc};
use hookmill::model::event::{Event, EventStatus};
use hookmill::model::ids::{IntegrationName, TaskId, new_id};
use hookmill::store::{Replaced, Store, Timeline, TimelineCount, TimelineWindow};

use super::again::{alone, event, next, received, with_task};
use crate::stored::{company, ingested};

/// The counts as they must be.
fn expected(all: &[Event], of: Option<&str>, window: TimelineWindow, now: DateTime<Utc>) -> Vec<TimelineCount> {
    let mut counts: BTreeMap<(usize, String, usize), u64> = BTreeMap::new();
    for it in all.iter().filter(|it| of.is_none_or(|of| it.company_id.as_str() == of)) {
        let at = (it.received_at - window.begins(now)).num_milliseconds().div_euclid(window.step_ms());
        if let Some(bucket) = usize::try_from(at).ok().filter(|it| *it < window.buckets()) {
            *counts.entry((bucket, it.integration.to_string(), it.status as usize)).or_default() += 1;
        }
    }
    let count = |((bucket, integration, status), events)| TimelineCount { bucket, integration, status, events };
    counts.into_iter().map(count).collect()
}

/// The counts, once everything has been read.
pub async fn counted(store: &dyn Store, of: Option<&str>, window: TimelineWindow, now: DateTime<Utc>) -> Timeline {
    for _ in 0..100 {
        let timeline = store.timeline(of.map(company).as_ref(), window, now).await.unwrap();
        if timeline.complete_since.is_none() {
            return timeline;
        }
    }
    panic!("the counts are still not complete");
}

async fn check(store: &dyn Store, all: &[Event], now: DateTime<Utc>) {
    for window in TimelineWindow::ALL {
        for of in [Some("a"), Some("b"), Some("nobody"), None] {
            let timeline = counted(store, of, window, now).await;
            assert_eq!(timeline.events, expected(all, of, window, now), "{window:?} {of:?}");
        }
    }
}

/// An admin who looks at the chart must see what the lists say: every event once, with its present status.
pub async fn every_event_is_counted_once_with_its_present_status(store: Arc<dyn Store>) {
    let now = Utc::now().trunc_subsecs(3);
    let statuses = [EventStatus::Skipped, EventStatus::Quarantined, EventStatus::Rejected, EventStatus::Queued];
    let mut all = Vec::new();
    for n in 0..80_i32 {
        let mut it = event(statuses[n as usize % 4], "{}");
        it.company_id = company(["a", "b"][n as usize % 2]);
        it.integration = IntegrationName(format!("guest-{}", n % 3).into());
        // The first minutes, and then as far back as eight days.
        let it = received(it, now - Duration::minutes(i64::from(if n < 40 { n } else { (n - 40) * 300 })));
        if n == 50 {
            // From here on, events are counted as they are stored; those before were read.
            check(&*store, &all, now).await;
        }
        store.commit(alone(&it)).await.unwrap();
        all.push(it);
    }
    check(&*store, &all, now).await;
    // Events get other statuses: some that were read, and some that were counted.
    for n in [0_usize, 2, 3, 7, 41, 45, 51, 55, 79] {
        let status = if n % 2 == 0 { EventStatus::Skipped } else { EventStatus::Quarantined };
        let replace = next(&*store, &all[n], status).await;
        assert_eq!(store.replace(replace.clone()).await.unwrap(), Replaced::Stored);
        assert_eq!(store.replace(replace).await.unwrap(), Replaced::Changed, "counts nothing");
        all[n].status = status;
    }
    check(&*store, &all, now).await;
    let replace = with_task(&*store, &all[0], None).await;
    assert_eq!(store.replace(replace).await.unwrap(), Replaced::Stored);
    all[0].status = EventStatus::Stored;
    check(&*store, &all, now).await;
}

/// A count of tasks must not change when somebody deletes one.
pub async fn tasks_are_counted_where_they_were_created(store: Arc<dyn Store>) {
    let now = Utc::now().trunc_subsecs(3);
    let mut created = Vec::new();
    for n in 0..30_i64 {
        let at = now - Duration::minutes(n * 150);
        let mut it = ingested(["a", "b"][n as usize % 2], |task| {
            (task.id, task.created_at, task.updated_at) = (TaskId(new_id(at)), at, at);
        });
        it.event.task_ids = vec![it.tasks[0].id];
        created.push((it.event.company_id.clone(), it.tasks[0].id, at));
        store.commit(it.into()).await.unwrap();
    }
    store.delete_task(&created[0].0, created[0].1, None, Utc::now()).await.unwrap();
    for window in TimelineWindow::ALL {
        for of in [Some("a"), None] {
            let mut expected = vec![0; window.buckets()];
            for (owner, _, at) in created.iter().filter(|it| of.is_none_or(|of| it.0.as_str() == of)) {
                let bucket = (*at - window.begins(now)).num_milliseconds().div_euclid(window.step_ms());
                let bucket = usize::try_from(bucket).ok();
                if let Some(count) = bucket.and_then(|it| expected.get_mut(it)) {
                    *count += 1;
                }
                assert!(owner.as_str() == "a" || owner.as_str() == "b");
            }
            assert_eq!(counted(&*store, of, window, now).await.tasks, expected, "{window:?} {of:?}");
        }
    }
}
