//! The audit log.

use std::sync::Arc;

use chrono::{Duration, SubsecRound as _, Utc};
use hookmill::model::audit::Entry;
use hookmill::store::{Commit, Committed, Idempotency, Store};

use super::entry;
use crate::stored::{answer, company, ingested, once};

pub async fn what_was_done_is_listed_newest_first_and_by_company(store: Arc<dyn Store>) {
    let now = Utc::now().trunc_subsecs(3);
    let mut all = Vec::new();
    for n in 0..6 {
        let it = entry(if n % 2 == 0 { "a" } else { "b" }, now + Duration::milliseconds(n));
        store.note(it.clone()).await.unwrap();
        all.insert(0, it);
    }
    assert_eq!(store.audit(None, None, 100).await.unwrap(), all);
    assert_eq!(store.audit(None, Some(all[1].id), 3).await.unwrap(), all[2..5]);
    let of_b: Vec<Entry> = all.iter().step_by(2).cloned().collect();
    assert_eq!(store.audit(Some(&company("b")), None, 100).await.unwrap(), of_b);
    assert_eq!(store.audit(Some(&company("c")), None, 100).await.unwrap(), []);
}

/// The law asks for six years, and for no more.
pub async fn entries_expire(store: Arc<dyn Store>) {
    let now = Utc::now().trunc_subsecs(3);
    let old = entry("a", now - Duration::days(10));
    for it in [old, entry("a", now)] {
        store.note(it).await.unwrap();
    }
    let years = Duration::days(6 * 365);
    assert_eq!(store.expire(now + years - Duration::days(11)).await.unwrap().audit_entries, 0);
    assert_eq!(store.expire(now + years - Duration::days(1)).await.unwrap().audit_entries, 1);
    assert_eq!(store.audit(None, None, 9).await.unwrap().len(), 1);
}

/// Otherwise an admin makes an event of which nobody knows who made it, or the log has one that was never made.
pub async fn an_entry_of_a_commit_is_stored_with_it_and_only_then(store: Arc<dyn Store>) {
    let now = Utc::now().trunc_subsecs(3);
    let commit = || {
        let idempotency = Some(Idempotency { id: once(1), answer: answer("first", now) });
        Commit { idempotency, audit: Some(entry("a", now)), ..ingested("a", |_| {}).into() }
    };
    assert_eq!(store.commit(commit()).await.unwrap(), Committed::Stored);
    assert!(matches!(store.commit(commit()).await.unwrap(), Committed::Repeated(_)));
    assert_eq!(store.audit(None, None, 9).await.unwrap().len(), 1);
}
