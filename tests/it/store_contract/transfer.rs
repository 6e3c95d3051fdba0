//! Export and import.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{Duration, SubsecRound as _, Utc};
use hookmill::model::event::EventStatus;
use hookmill::model::task::TaskPatch;
use hookmill::store::{Commit, FirstAnswer, Idempotency, IdempotencyId, Store, StoredItem};

use super::again::{alone, event, received};
use super::entry;
use crate::stored::{api_key, company, ingested};

async fn export(store: &Arc<dyn Store>) -> Vec<StoredItem> {
    let store = Arc::clone(store);
    let export = move || {
        let mut items = Vec::new();
        let mut visit = |item| {
            items.push(item);
            Ok(())
        };
        store.export(&mut visit).unwrap();
        items
    };
    tokio::task::spawn_blocking(export).await.unwrap()
}

/// In one order: events may come in any.
fn sorted(mut items: Vec<StoredItem>) -> Vec<StoredItem> {
    items.sort_by_key(|it| match it {
        StoredItem::Event(it) => (0, Some(it.id.0)),
        StoredItem::Answer(_) => (1, None),
        _ => (0, None),
    });
    items
}

/// A move to another backend loses nothing, and may be repeated after it was interrupted.
pub async fn a_copy_has_the_same_items_and_a_second_import_skips_all(store: Arc<dyn Store>, other: Arc<dyn Store>) {
    let (a, now) = (company("a"), Utc::now().trunc_subsecs(3));
    store.put_key(api_key("key_1"), entry("a", now), None).await.unwrap();
    store.note(entry("b", now + Duration::milliseconds(5))).await.unwrap();
    let mut tasks = Vec::new();
    for n in 0..20 {
        let mut it = ingested(if n % 3 == 0 { "b" } else { "a" }, |task| task.title = format!("title {n}"));
        it.event.headers = vec![("x-number".into(), n.to_string())];
        it.event = received(it.event, now - Duration::hours(5 * n));
        it.tasks[0].event_id = it.event.id;
        tasks.push((it.tasks[0].company_id.clone(), it.tasks[0].id));
        store.commit(it.into()).await.unwrap();
    }
    let queued = event(EventStatus::Queued, "{\"n\":1}");
    let delivery = IdempotencyId::delivery_to(&a, "guest", "d-1", Duration::days(3));
    let (fingerprint, body) = (FirstAnswer::fingerprint(b"{}"), Bytes::from_static(b"{\"first\":1}"));
    let head = Bytes::from_static(b"head");
    let first =
        FirstAnswer { fingerprint, at: now, refused: false, event_id: Some(queued.id), head, body: body.clone() };
    let idempotency = Some(Idempotency { id: delivery.clone(), answer: first });
    store.commit(Commit { idempotency, ..alone(&queued) }).await.unwrap();
    store.commit(alone(&event(EventStatus::Quarantined, "\u{1F600}\0"))).await.unwrap();
    let patch = TaskPatch { title: Some("new".into()), assigned_user_ids: Some(vec![]), ..TaskPatch::default() };
    store.update_task(&a, tasks[1].1, 1, patch, now).await.unwrap();
    store.delete_task(&a, tasks[2].1, None, now).await.unwrap();

    let items = export(&store).await;
    assert_eq!(items.len(), 1 + 2 + 20 + 22 + 1);
    let kind = |it: &StoredItem| match it {
        StoredItem::Key(_) => 0,
        StoredItem::Audit(_) => 1,
        StoredItem::Task(_) => 2,
        StoredItem::Event(_) => 3,
        StoredItem::Answer(_) => 4,
        StoredItem::Erasure(_) => -1,
    };
    assert!(items.is_sorted_by_key(kind));
    let exported = |company: &str| {
        let tasks = items.iter().filter_map(|it| if let StoredItem::Task(task) = it { Some(task) } else { None });
        tasks.filter(|it| it.company_id.as_str() == company).map(|it| it.id).collect::<Vec<_>>()
    };
    for name in ["a", "b"] {
        let stored: Vec<_> = tasks.iter().filter(|it| it.0.as_str() == name).map(|it| it.1).collect();
        assert_eq!(exported(name), stored);
    }
    let imported = other.import(items.clone()).await.unwrap();
    assert_eq!((imported.skipped, imported.differing), (0, vec![]));
    assert_eq!(sorted(export(&other).await), sorted(items.clone()));
    assert_eq!(other.queued().await.unwrap(), [(a.clone(), queued.id)]);
    assert_eq!(other.task(&a, tasks[2].1).await.unwrap(), None);
    // A repeated delivery is recognised there.
    let first = other.first_answer(delivery, now + Duration::hours(1)).await.unwrap();
    assert_eq!(first.map(|it| it.body), Some(body));
    let again = other.import(items.clone()).await.unwrap();
    assert_eq!((again.skipped, again.differing), (items.len() as u64, vec![]));
    assert_eq!(sorted(export(&other).await), sorted(items.clone()));
    // What differs is named.
    let patch = TaskPatch { title: Some("another".into()), ..TaskPatch::default() };
    other.update_task(&a, tasks[4].1, 1, patch, now).await.unwrap();
    let again = other.import(items.clone()).await.unwrap();
    assert_eq!((again.skipped, again.differing), (items.len() as u64, vec![format!("task {}", tasks[4].1)]));
}

/// It would grant the other key's access.
pub async fn a_key_with_the_hash_of_another_is_not_stored(store: Arc<dyn Store>, other: Arc<dyn Store>) {
    let now = Utc::now();
    store.put_key(api_key("key_1"), entry("a", now), None).await.unwrap();
    other.put_key(api_key("key_2"), entry("a", now), None).await.unwrap();
    let imported = other.import(export(&store).await).await.unwrap();
    assert_eq!(imported.differing, ["api_key key_1"]);
    assert_eq!(other.keys().await.unwrap(), [api_key("key_2")]);
}
