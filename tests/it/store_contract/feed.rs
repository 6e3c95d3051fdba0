//! The change feed.

use std::sync::Arc;

use chrono::{Duration, Utc};
use hookmill::model::task::TaskPatch;
use hookmill::store::{ChangeFeed, Commit, Store};

use crate::stored::{company, feed, ingested};

/// Clients that cannot receive webhooks read the feed instead. A change that it left out, or showed in another order, would
/// never reach them.
pub async fn the_feed_shows_each_task_once_at_its_last_change_in_order(store: Arc<dyn Store>) {
    let a = company("a");
    let (empty, start) = feed(&*store, "a", None).await.unwrap();
    assert_eq!(empty, []);
    let first: Vec<_> = (0..3).map(|_| ingested("a", |_| {})).collect();
    let [x, y, z] = [0, 1, 2].map(|it: usize| first[it].tasks[0].id);
    store.commit(Commit { ingested: first, idempotency: None, lane: None, audit: None }).await.unwrap();
    store.commit(ingested("b", |_| {}).into()).await.unwrap();
    let (changes, after_creation) = feed(&*store, "a", Some(start.clone())).await.unwrap();
    assert_eq!(changes, [(x, 1), (y, 1), (z, 1)], "the tasks of one commit, in its order");
    // A clock that is set back changes nothing of the order.
    let patch = TaskPatch { title: Some("new".into()), ..TaskPatch::default() };
    store.update_task(&a, x, 1, patch, Utc::now() - Duration::days(2)).await.unwrap();
    store.delete_task(&a, y, None, Utc::now() - Duration::days(1)).await.unwrap();
    assert_eq!(feed(&*store, "a", Some(after_creation)).await.unwrap().0, [(x, 2), (y, -2)]);
    let (changes, end) = feed(&*store, "a", Some(start)).await.unwrap();
    assert_eq!(changes, [(z, 1), (x, 2), (y, -2)]);
    assert_eq!(feed(&*store, "a", None).await.unwrap().0, [(z, 1), (x, 2), (y, -2)]);
    // At its end it goes on with the same cursor, however often that is sent.
    for _ in 0..2 {
        assert_eq!(feed(&*store, "a", Some(end.clone())).await.unwrap(), (vec![], end.clone()));
    }
    let page = store.change_feed(&a, None, 10).await.unwrap();
    let ChangeFeed::Page(page) = page else { panic!("{page:?}") };
    assert_eq!(page.tasks[1].title, "new");
    assert!(!page.has_more && page.tasks[2].deleted_at.is_some());
}

/// A client that missed a deletion would show the task forever.
pub async fn a_feed_cursor_expires_when_a_deletion_after_it_is_purged(store: Arc<dyn Store>) {
    let (a, now) = (company("a"), Utc::now());
    let mut ids = Vec::new();
    for _ in 0..4 {
        let it = ingested("a", |_| {});
        ids.push(it.tasks[0].id);
        store.commit(it.into()).await.unwrap();
    }
    let (_, before) = feed(&*store, "a", None).await.unwrap();
    store.delete_task(&a, ids[1], None, now).await.unwrap();
    let (changes, after) = feed(&*store, "a", Some(before.clone())).await.unwrap();
    assert_eq!(changes, [(ids[1], -2)]);
    // It begins after the deletion: where that is purged, it lacks nothing.
    let first = store.change_feed(&a, None, 1).await.unwrap();
    let ChangeFeed::Page(first) = first else { panic!("{first:?}") };
    assert_eq!(store.expire(now + Duration::days(31)).await.unwrap().tasks, 1);
    assert_eq!(feed(&*store, "a", Some(before)).await, None);
    assert_eq!(feed(&*store, "a", Some(after.clone())).await.unwrap().0, []);
    let rest = [(ids[2], 1), (ids[3], 1)];
    assert_eq!(feed(&*store, "a", Some(first.next)).await.unwrap().0, rest);
    assert_eq!(feed(&*store, "a", None).await.unwrap().0, [(ids[0], 1), rest[0], rest[1]]);
    // A deletion since it began is another matter.
    let first = store.change_feed(&a, None, 1).await.unwrap();
    let ChangeFeed::Page(first) = first else { panic!("{first:?}") };
    store.delete_task(&a, ids[0], None, now).await.unwrap();
    assert_eq!(store.expire(now + Duration::days(31)).await.unwrap().tasks, 1);
    assert_eq!(feed(&*store, "a", Some(first.next)).await, None);
    assert_eq!(feed(&*store, "a", Some(after)).await, None);
}
