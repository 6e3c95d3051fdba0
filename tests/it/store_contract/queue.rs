//! The queue.

use std::sync::Arc;

use hookmill::model::event::{EventStatus, Reason};
use hookmill::store::{Replaced, Store};

use super::again::{alone, event, next, with_task};
use crate::stored::company;

pub async fn queued_events_are_in_their_order_until_their_result(store: Arc<dyn Store>) {
    let a = company("a");
    let events: Vec<_> = (0..5).map(|_| event(EventStatus::Queued, "{}")).collect();
    for it in &events {
        store.commit(alone(it)).await.unwrap();
    }
    store.commit(alone(&event(EventStatus::Skipped, "{}"))).await.unwrap();
    let expected = |places: &[usize]| places.iter().map(|n| (a.clone(), events[*n].id)).collect::<Vec<_>>();
    assert_eq!(store.queued().await.unwrap(), expected(&[0, 1, 2, 3, 4]));
    let skipped = next(&*store, &events[1], EventStatus::Skipped).await;
    assert_eq!(store.replace(skipped).await.unwrap(), Replaced::Stored);
    let with_task = with_task(&*store, &events[3], None).await;
    assert_eq!(store.replace(with_task).await.unwrap(), Replaced::Stored);
    assert_eq!(store.queued().await.unwrap(), expected(&[0, 2, 4]));
    assert_eq!(store.event(&a, events[1].id).await.unwrap().unwrap().body, events[1].body);
}

/// The disk could not read it for a moment: otherwise an acknowledged delivery is replaced by an empty one.
pub async fn an_event_that_can_be_read_is_not_given_up(store: Arc<dyn Store>) {
    let (a, event) = (company("a"), event(EventStatus::Queued, "{}"));
    store.commit(alone(&event)).await.unwrap();
    let reason = Reason { stage: "queue".into(), code: "unreadable".into(), message: String::new() };
    assert!(!store.give_up(&a, event.id, &event.integration, reason).await.unwrap());
    assert_eq!(store.event(&a, event.id).await.unwrap().as_ref(), Some(&event));
    assert_eq!(store.queued().await.unwrap(), [(a, event.id)]);
}
