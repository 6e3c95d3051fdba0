//! First responses: to requests with an idempotency key, and to deliveries.

use std::sync::Arc;

use chrono::{DateTime, Duration, SubsecRound as _, Utc};
use hookmill::model::event::EventStatus;
use hookmill::store::{Commit, Committed, FirstAnswer, Idempotency, IdempotencyId, Store, TaskFilter};

use super::again::{alone, event};
use super::entry;
use crate::stored;
use crate::stored::{answer, api_key, company, ingested, list, once};

pub async fn the_first_answer_is_remembered_for_its_time_and_no_second_is_stored(store: Arc<dyn Store>) {
    let now = Utc::now().trunc_subsecs(3);
    let once = |n: u8, at| Some(Idempotency { id: once(n), answer: answer("first", at) });
    let commit = |at| {
        let it = ingested("a", |_| {});
        (it.tasks[0].id, Commit { ingested: vec![it], idempotency: once(1, at), lane: None, audit: None })
    };
    let (first, commit_first) = commit(now);
    assert_eq!(store.commit(commit_first).await.unwrap(), Committed::Stored);
    let (second, commit_second) = commit(now + Duration::hours(23));
    let repeated = store.commit(commit_second).await.unwrap();
    assert_eq!(repeated, Committed::Repeated(answer("first", now)));
    let remembered = |hours| store.first_answer(stored::once(1), now + Duration::hours(hours));
    assert_eq!(remembered(23).await.unwrap(), Some(answer("first", now)));
    assert_eq!(remembered(25).await.unwrap(), None);
    let a = company("a");
    assert!(store.task(&a, first).await.unwrap().is_some() && store.task(&a, second).await.unwrap().is_none());
    // An API key is guarded in the same way.
    let key = api_key("key_1");
    assert!(matches!(store.put_key(key.clone(), entry("a", now), once(1, now)).await.unwrap(), Committed::Repeated(_)));
    assert_eq!(store.put_key(key.clone(), entry("a", now), once(2, now)).await.unwrap(), Committed::Stored);
    assert_eq!(store.keys().await.unwrap(), vec![key]);
    assert_eq!(store.audit(None, None, 9).await.unwrap().len(), 1, "what was not done is not noted");
    assert_eq!(store.expire(now).await.unwrap().idempotency_keys, 0);
    assert_eq!(store.expire(now + Duration::days(3)).await.unwrap().idempotency_keys, 2);
}

pub async fn fifty_equal_requests_at_once_store_one_task(store: Arc<dyn Store>) {
    let now = Utc::now().trunc_subsecs(3);
    let requests = (0..50).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let idempotency = Some(Idempotency { id: once(9), answer: answer(&n.to_string(), now) });
            store
                .commit(Commit { ingested: vec![ingested("a", |_| {})], idempotency, lane: None, audit: None })
                .await
                .unwrap()
        })
    });
    let mut answers = Vec::new();
    for request in requests.collect::<Vec<_>>() {
        answers.push(request.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|it| **it == Committed::Stored).count(), 1);
    assert_eq!(list(&*store, "a", TaskFilter::default()).await.1, 1);
    let first = store.first_answer(once(9), now).await.unwrap().unwrap();
    assert!(answers.iter().all(|it| *it == Committed::Stored || *it == Committed::Repeated(first.clone())));
}

/// An integration chooses how long it recognizes a repeated delivery: otherwise it makes a second task, or a new delivery with
/// an old id is lost.
pub async fn a_delivery_is_recognized_for_its_own_time(store: Arc<dyn Store>) {
    let (a, now) = (company("a"), Utc::now().trunc_subsecs(3));
    let deliver = async |of: &str, days: i64| {
        let at = now + Duration::days(days);
        let id = IdempotencyId::delivery_to(&company(of), "guest", "d-1", Duration::days(3));
        let idempotency = Some(Idempotency { id, answer: answer(&format!("day {days}"), at) });
        store.commit(Commit { idempotency, ..ingested(of, |_| {}).into() }).await.unwrap()
    };
    assert_eq!(deliver("a", 0).await, Committed::Stored);
    assert_eq!(deliver("a", 2).await, Committed::Repeated(answer("day 0", now)));
    assert_eq!(deliver("b", 2).await, Committed::Stored, "another company's");
    assert_eq!(deliver("a", 4).await, Committed::Stored);
    assert_eq!(deliver("a", 5).await, Committed::Repeated(answer("day 4", now + Duration::days(4))));
    assert_eq!(list(&*store, "a", TaskFilter::default()).await.1, 2);
    let id = IdempotencyId::delivery_to(&a, "guest", "d-1", Duration::days(3));
    let known = |days| store.first_answer(id.clone(), now + Duration::days(days));
    assert_eq!(known(6).await.unwrap(), Some(answer("day 4", now + Duration::days(4))));
    assert_eq!(known(8).await.unwrap(), None);
    store.expire(now + Duration::days(5)).await.unwrap();
    assert!(known(6).await.unwrap().is_some());
}

/// A sender tries again what was refused: the try counts for the same event while that is quarantined, and is a delivery of its
/// own if it is accepted.
pub async fn a_refused_delivery_may_be_sent_again(store: Arc<dyn Store>) {
    let now = Utc::now().trunc_subsecs(3);
    let id = || IdempotencyId::delivery_to(&company("a"), "guest", "d-2", Duration::days(3));
    let refused = event(EventStatus::Quarantined, "{}");
    let answer = |at: DateTime<Utc>, refused_event: Option<&_>| {
        let event_id = refused_event.map(|it: &hookmill::model::event::Event| it.id);
        FirstAnswer { refused: event_id.is_some(), event_id, ..answer("422", at) }
    };
    let first = answer(now, Some(&refused));
    let commit = Commit { idempotency: Some(Idempotency { id: id(), answer: first.clone() }), ..alone(&refused) };
    assert_eq!(store.commit(commit).await.unwrap(), Committed::Stored);
    let second = event(EventStatus::Quarantined, "{}");
    let later = answer(now + Duration::hours(1), Some(&second));
    let commit = Commit { idempotency: Some(Idempotency { id: id(), answer: later }), ..alone(&second) };
    assert_eq!(store.commit(commit).await.unwrap(), Committed::Repeated(first));
    let accepted = answer(now + Duration::hours(2), None);
    let commit = Commit {
        idempotency: Some(Idempotency { id: id(), answer: accepted.clone() }),
        ..ingested("a", |_| {}).into()
    };
    assert_eq!(store.commit(commit).await.unwrap(), Committed::Stored);
    assert_eq!(store.first_answer(id(), now + Duration::hours(3)).await.unwrap(), Some(accepted));
}
