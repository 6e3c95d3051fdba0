//! Events that no sender has sent.

use std::sync::Arc;

use hookmill::model::ids::EventId;
use hookmill::model::origin::Origin;
use hookmill::store::{Replace, Store};

use crate::stored::{company, ingested};

/// Otherwise a copy is taken for what a sender has sent, once it was replayed or moved to another store.
pub async fn how_an_event_was_made_is_kept(store: Arc<dyn Store>, other: Arc<dyn Store>) {
    let (mut copy, mut test) = (ingested("a", |_| {}), ingested("a", |_| {}));
    copy.event.origin = Some(Origin::copy(EventId(uuid::Uuid::now_v7()), "key_0123456789ab"));
    test.event.origin = Some(Origin::test("operator"));
    let a = company("a");
    for it in [&copy, &test] {
        store.commit(it.clone().into()).await.unwrap();
        assert_eq!(store.event(&a, it.event.id).await.unwrap().unwrap(), it.event);
    }
    let read = store.versioned(&a, copy.event.id).await.unwrap().unwrap();
    let mut again = copy.clone();
    again.tasks.clear();
    again.event.plugin_log = "replayed".into();
    let (ingested, updates) = (again.clone(), Vec::new());
    let replace = Replace { ingested, read: read.version, idempotency: None, forget: None, audit: None, updates };
    store.replace(replace).await.unwrap();
    assert_eq!(store.event(&a, copy.event.id).await.unwrap().unwrap(), again.event);
    let listed = store.list_events(&a, Default::default(), None, 9).await.unwrap().events;
    assert!(listed.iter().all(|it| it.origin.is_some()), "{listed:?}");
    let items = tokio::task::spawn_blocking(move || {
        let mut items = Vec::new();
        store
            .export(&mut |it| {
                items.push(it);
                Ok(())
            })
            .map(|()| items)
    });
    other.import(items.await.unwrap().unwrap()).await.unwrap();
    assert_eq!(other.event(&a, copy.event.id).await.unwrap().unwrap(), again.event);
    assert_eq!(other.event(&a, test.event.id).await.unwrap().unwrap(), test.event);
}
