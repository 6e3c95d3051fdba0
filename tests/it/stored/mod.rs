//! Things to store.

use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, Utc};
use hookmill::auth::{ApiKey, KeyId, Scope};
use hookmill::model::company::CompanyId;
use hookmill::model::event::{Event, EventStatus};
use hookmill::model::ids::TaskId;
use hookmill::model::ids::{EventId, IntegrationName, new_id};
use hookmill::model::task::{NewTask, Task};
use hookmill::store::{
    ChangeFeed, Cursor, FeedCursor, FirstAnswer, IdempotencyId, Ingested, PageRequest, Store, TaskFilter,
};

pub fn company(name: &str) -> CompanyId {
    CompanyId::parse(name).unwrap()
}

/// An event that made one task.
pub fn ingested(of: &str, change: impl FnOnce(&mut Task)) -> Ingested {
    let now = Utc::now().trunc_subsecs(3);
    let (event_id, id) = (EventId(new_id(now)), TaskId(new_id(now)));
    let new: NewTask = serde_json::from_value(serde_json::json!({
        "title": "Call back", "description": "Asks for a refill", "assigned_user_ids": ["u1"],
        "created_by_id": "u9", "deadline": "2026-12-01T09:00:00Z", "patient_id": "p1",
    }))
    .unwrap();
    let mut task = new.into_task(id, event_id, company(of), now);
    change(&mut task);
    let body = Bytes::from(format!("{{\"title\":\"Call back\",\"n\":\"{id}\"}}"));
    let event = Event {
        id: event_id,
        integration: IntegrationName("tasks".into()),
        company_id: company(of),
        received_at: now,
        status: EventStatus::Stored,
        reason: None,
        task_ids: vec![id],
        provenance: None,
        plugin_log: String::new(),
        content_type: Some("application/json".into()),
        headers: Vec::new(),
        query: Vec::new(),
        path: String::new(),
        stages: Vec::new(),
        redacted: Vec::new(),
        erased_at: None,
        attempts: 1,
        last_attempt_at: None,
        trace: None,
        origin: None,
        body_bytes: body.len() as u64,
        body,
    };
    Ingested { event, tasks: vec![task] }
}

pub fn once(n: u8) -> IdempotencyId {
    IdempotencyId { company: None, name: [n; 16], window: None }
}

pub fn answer(body: &str, at: DateTime<Utc>) -> FirstAnswer {
    FirstAnswer {
        fingerprint: FirstAnswer::fingerprint(b"request"),
        at,
        refused: false,
        event_id: None,
        head: Bytes::from_static(b"201, /v1/tasks/1"),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

pub fn api_key(id: &str) -> ApiKey {
    ApiKey {
        id: KeyId(id.into()),
        label: "label".into(),
        company_id: company("a"),
        scopes: vec![Scope::TasksRead],
        created_at: DateTime::UNIX_EPOCH,
        expires_at: None,
        revoked_at: None,
        timezone: Some(chrono_tz::Tz::Europe__Berlin),
        strict: true,
        hash: [7; 32],
    }
}

/// The feed from this cursor to its end, in pages of two: each change's id and version, negative where the task is deleted; and
/// the cursor to go on with. None where the cursor has expired.
pub async fn feed(store: &dyn Store, of: &str, after: Option<FeedCursor>) -> Option<(Vec<(TaskId, i64)>, FeedCursor)> {
    let (mut changes, mut after) = (Vec::new(), after);
    loop {
        let ChangeFeed::Page(page) = store.change_feed(&company(of), after, 2).await.unwrap() else { return None };
        changes.extend(page.tasks.iter().map(|it| {
            let version = i64::try_from(it.version).unwrap();
            (it.id, if it.deleted_at.is_some() { -version } else { version })
        }));
        if !page.has_more {
            return Some((changes, page.next));
        }
        after = Some(page.next);
    }
}

/// Every id of a list, walked by cursor, and the total.
pub async fn list(store: &dyn Store, of: &str, filter: TaskFilter) -> (Vec<TaskId>, u64) {
    let mut ids = Vec::new();
    let mut cursor = Cursor(u64::MAX);
    loop {
        let page =
            store.list_tasks(&company(of), filter.clone(), PageRequest::After { cursor, limit: 7 }).await.unwrap();
        ids.extend(page.tasks.iter().map(|it| it.id));
        match page.next {
            Some(next) => cursor = next,
            None => return (ids, page.total),
        }
    }
}
