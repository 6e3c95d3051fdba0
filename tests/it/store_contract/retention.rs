//! Retention: of events, and of what an integration was sent.

use std::sync::Arc;

use chrono::{Duration, SubsecRound as _, Utc};
use hookmill::model::event::EventStatus;
use hookmill::model::ids::IntegrationName;
use hookmill::store::erasure::Keep;
use hookmill::store::{EventFilter, Replaced, Store};

use super::again::{alone, event, next, received};
use super::events::listed;
use crate::stored::{company, ingested};

pub async fn an_expired_event_is_not_found_and_a_queued_one_is_kept(store: Arc<dyn Store>) {
    let (a, now) = (company("a"), Utc::now().trunc_subsecs(3));
    let at = |days| now - Duration::days(days);
    let old = received(event(EventStatus::Skipped, "{}"), at(12));
    let queued = received(event(EventStatus::Queued, "{\"n\":1}"), at(6));
    let after = received(event(EventStatus::Skipped, "{}"), at(3));
    let mut with_task = ingested("a", |_| {});
    with_task.event = received(with_task.event, at(12));
    with_task.tasks[0].event_id = with_task.event.id;
    for it in [alone(&old), with_task.clone().into(), alone(&queued), alone(&after)] {
        store.commit(it).await.unwrap();
    }
    let there = async || {
        let mut there = Vec::new();
        for it in [&old, &with_task.event, &queued, &after] {
            there.push(store.event(&a, it.id).await.unwrap().is_some());
        }
        there
    };
    store.expire(now + Duration::days(77)).await.unwrap();
    assert_eq!(there().await, [true; 4]);
    // Past the time of all of them; what was received after a queued event is kept with it.
    store.expire(now + Duration::days(100)).await.unwrap();
    assert_eq!(there().await, [false, false, true, true]);
    assert_eq!(listed(&*store, "a", &EventFilter::default()).await, [after.id, queued.id]);
    assert_eq!(store.event(&a, queued.id).await.unwrap().as_ref(), Some(&queued));
    // Its task stays.
    assert_eq!(store.task(&a, with_task.tasks[0].id).await.unwrap().as_ref(), Some(&with_task.tasks[0]));
    let done = next(&*store, &queued, EventStatus::Skipped).await;
    assert_eq!(store.replace(done).await.unwrap(), Replaced::Stored);
    store.expire(now + Duration::days(100)).await.unwrap();
    assert_eq!(there().await, [false; 4]);
    assert_eq!(listed(&*store, "a", &EventFilter::default()).await, []);
}

/// The clock was ahead for a while: otherwise nobody works on what is accepted until the next sweep.
pub async fn a_queued_event_is_never_hidden(store: Arc<dyn Store>) {
    store.expire(Utc::now() + Duration::days(100)).await.unwrap();
    let (queued, done) = (event(EventStatus::Queued, "{}"), event(EventStatus::Skipped, "{}"));
    for event in [&queued, &done] {
        store.commit(alone(event)).await.unwrap();
    }
    let a = company("a");
    assert_eq!(store.event(&a, done.id).await.unwrap(), None, "the test proves nothing");
    store.expire(Utc::now() + Duration::days(100)).await.unwrap();
    assert_eq!(store.event(&a, queued.id).await.unwrap().as_ref(), Some(&queued));
    assert_eq!(store.queued().await.unwrap(), [(a, queued.id)]);
}

/// An integration's own time is shorter than that of events: what it was sent goes, and what others were sent stays.
pub async fn what_an_integration_was_sent_is_erased_when_its_time_is_over(store: Arc<dyn Store>) {
    let (mut its, mut others) = (Vec::new(), Vec::new());
    for n in 0..40 {
        let mut it = ingested(if n % 4 < 2 { "a" } else { "b" }, |_| {});
        if n % 2 == 0 {
            it.event.integration = IntegrationName("short".into());
            if n == 0 {
                (it.event.status, it.event.task_ids, it.tasks) = (EventStatus::Queued, Vec::new(), Vec::new());
            }
            its.push(it.event.clone());
        } else {
            others.push(it.event.clone());
        }
        store.commit(it.into()).await.unwrap();
    }
    let forget = |hours| {
        let store = Arc::clone(&store);
        let keep = Keep { integration: "short".into(), age: Duration::days(1) };
        let forget = move || store.forget(&[keep], Utc::now() + Duration::hours(hours)).unwrap();
        async move { tokio::task::spawn_blocking(forget).await.unwrap() }
    };
    assert_eq!(forget(20).await, []);
    let event = async |it: &hookmill::model::event::Event| store.event(&it.company_id, it.id).await.unwrap().unwrap();
    assert_eq!(event(&its[1]).await, its[1]);
    // What waits is not lost.
    assert_eq!(forget(48).await, [("short".to_owned(), 19)]);
    assert_eq!(event(&its[0]).await, its[0]);
    for it in &its[1..] {
        let now = event(it).await;
        assert!(now.erased_at.is_some() && now.body.is_empty(), "{now:?}");
        assert_eq!((now.status, now.task_ids, now.body_bytes), (it.status, it.task_ids.clone(), it.body_bytes));
    }
    for it in &others {
        assert_eq!(event(it).await, *it);
    }
    let done = next(&*store, &its[0], EventStatus::Skipped).await;
    assert_eq!(store.replace(done).await.unwrap(), Replaced::Stored);
    assert_eq!(event(&its[0]).await.status, EventStatus::Skipped);
    assert_eq!(forget(96).await, [("short".to_owned(), 1)]);
    assert_eq!(forget(97).await, []);
}
