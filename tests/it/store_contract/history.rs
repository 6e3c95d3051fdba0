//! Stored events with the tasks that they created.

use std::sync::Arc;

use chrono::{DateTime, Duration, SubsecRound as _, Utc};
use hookmill::model::event::{Event, EventStatus};
use hookmill::model::ids::IntegrationName;
use hookmill::model::task::{Task, TaskPatch};
use hookmill::store::{Store, Wanted};

use super::again::{event, received};
use crate::stored::{company, ingested};

/// A dry run compares what a new plugin makes with what was created, and not with what users have created from it since.
pub async fn events_come_with_their_tasks_as_they_were_created(store: Arc<dyn Store>) {
    let (a, start) = (company("a"), Utc::now().trunc_subsecs(3) - Duration::days(3));
    let mut all: Vec<(Event, Vec<Task>)> = Vec::new();
    for n in 0..30_i64 {
        let mut it = ingested(if n == 7 { "b" } else { "a" }, |_| {});
        it.tasks.extend(ingested("a", |task| task.title = "second".into()).tasks);
        if n % 5 == 4 {
            it.tasks.clear();
            it.event = event(EventStatus::Quarantined, "{\"n\":4}");
        }
        it.event.task_ids = it.tasks.iter().rev().map(|it| it.id).collect();
        it.tasks.reverse();
        it.event.integration = IntegrationName(if n % 2 == 0 { "guest".into() } else { "other".into() });
        it.event = received(it.event, start + Duration::hours(2 * n));
        if n != 7 {
            it.tasks.iter_mut().for_each(|task| task.event_id = it.event.id);
            all.push((it.event.clone(), it.tasks.clone()));
        }
        store.commit(it.into()).await.unwrap();
    }
    // Changed and deleted since.
    let patch = TaskPatch { title: Some("new".into()), ..TaskPatch::default() };
    store.update_task(&a, all[0].1[0].id, 1, patch, Utc::now()).await.unwrap();
    store.delete_task(&a, all[0].1[1].id, None, Utc::now()).await.unwrap();
    store.delete_task(&a, all[2].1[0].id, None, Utc::now()).await.unwrap();
    let read = async |integration: &str, since: Option<DateTime<Utc>>, until| {
        let (store, integration) = (Arc::clone(&store), integration.to_owned());
        let wanted = Wanted { company: company("a"), integration, since, until };
        let read = move || {
            let history = store.history().unwrap();
            let (mut past, mut met) = (Vec::new(), 0);
            let mut visit = |count, packed: hookmill::store::Packed| {
                met += count;
                let unpacked = packed.unpack().unwrap();
                assert_eq!(unpacked.len(), packed.count());
                past.extend(unpacked.into_iter().map(|it| (it.event, it.tasks)));
                true
            };
            history.read(&wanted, &mut visit).unwrap();
            assert!(met <= history.events(&wanted), "{met}");
            past
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    };
    for (name, since, until) in [
        ("guest", None, None),
        ("other", None, None),
        ("none", None, None),
        ("guest", Some(start + Duration::hours(10)), None),
        ("guest", Some(start + Duration::hours(10)), Some(start + Duration::hours(40))),
    ] {
        let fits = |it: &Event| {
            *it.integration.0 == *name
                && since.is_none_or(|since| it.received_at >= since)
                && until.is_none_or(|until| it.received_at < until)
        };
        let expected: Vec<_> = all.iter().filter(|(event, _)| fits(event)).cloned().collect();
        assert_eq!(read(name, since, until).await, expected, "{name} {since:?} {until:?}");
    }
}
