//! Values to store, made from a few numbers: the same on both sides of the protocol.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use hookmill::auth::{ApiKey, KeyId, Scope};
use hookmill::model::audit::{Action, Entry};
use hookmill::model::company::CompanyId;
use hookmill::model::event::{Event, EventStatus, Reason};
use hookmill::model::ids::TaskId;
use hookmill::model::ids::{EventId, IntegrationName};
use hookmill::model::sent_url::SentParameter;
use hookmill::model::task::{NewTask, Priority, Status, Task, TaskPatch};
use hookmill::store::{Commit, FirstAnswer, Idempotency, IdempotencyId, Ingested};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub const COMPANIES: u8 = 2;
pub const INTEGRATIONS: u8 = 3;
pub const PATIENTS: u8 = 4;

/// An event and what it makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Names it.
    pub n: u64,
    pub company: u8,
    pub integration: u8,
    pub patient: u8,
    pub at_ms: i64,
    pub body_bytes: u32,
    pub task_bytes: u32,
    /// How often it was stored before.
    pub attempt: u8,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// So many tasks.
    Tasks(u8),
    Skipped,
    Quarantined,
    Queued,
}

/// An idempotency key, and the answer that a request with it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AnswerOf {
    pub name: u8,
    /// Hours; none for the store's own time.
    pub window: Option<u8>,
    pub at_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyOf {
    pub name: u8,
    pub revision: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntryOf {
    pub n: u64,
    pub company: Option<u8>,
    pub at_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PatchOf {
    pub n: u64,
    pub bytes: u32,
}

pub fn company(n: u8) -> CompanyId {
    CompanyId::parse(&format!("company-{n}")).unwrap()
}

pub fn company_number(id: &CompanyId) -> u8 {
    id.as_str().strip_prefix("company-").unwrap().parse().unwrap()
}

pub fn integration(n: u8) -> String {
    format!("integration-{n}")
}

pub fn patient(n: u8) -> String {
    format!("patient-{n:03}")
}

pub fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap()
}

/// SplitMix64's last step: neighbours have nothing in common.
pub fn mixed(n: u64) -> u64 {
    let z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A UUID of version 7 (RFC 9562, section 5.7) of this time.
pub fn id(at_ms: i64, n: u64) -> Uuid {
    let (high, low) = (mixed(n) & 0xfff, mixed(n ^ 0xa5a5) >> 2);
    Uuid::from_u128((at_ms as u128) << 80 | 7 << 76 | u128::from(high) << 64 | 2 << 62 | u128::from(low))
}

/// Text that does not compress and has no patient's name in it.
fn text(n: u64, bytes: u32) -> String {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";
    let mut text = String::with_capacity(bytes as usize + 8);
    let mut state = mixed(n);
    while text.len() < bytes as usize {
        state = mixed(state);
        (0..8).for_each(|at| text.push(char::from(LETTERS[(state >> (at * 8)) as usize & 63])));
    }
    text
}

impl Delivery {
    pub fn event_id(&self) -> EventId {
        EventId(id(self.at_ms, self.n))
    }

    pub fn ingested(&self) -> Ingested {
        let tasks: Vec<Task> = match self.outcome {
            Outcome::Tasks(count) => (0..count).map(|at| self.task(at)).collect(),
            _ => Vec::new(),
        };
        let (status, reason) = match self.outcome {
            Outcome::Tasks(_) => (EventStatus::Stored, None),
            Outcome::Skipped => (EventStatus::Skipped, None),
            Outcome::Queued => (EventStatus::Queued, None),
            Outcome::Quarantined => {
                let reason = Reason { stage: "schema".into(), code: "invalid".into(), message: "it is wrong".into() };
                (EventStatus::Quarantined, Some(reason))
            }
        };
        let pad = text(self.n, self.body_bytes);
        // Other events are stored in older formats.
        let has_url = self.n.is_multiple_of(3);
        let body =
            Bytes::from(format!("{{\"n\":{},\"patient_id\":\"{}\",\"pad\":\"{pad}\"}}", self.n, patient(self.patient)));
        let event = Event {
            id: self.event_id(),
            integration: IntegrationName(integration(self.integration).into()),
            company_id: company(self.company),
            received_at: time(self.at_ms),
            status,
            reason,
            task_ids: tasks.iter().map(|it| it.id).collect(),
            provenance: None,
            plugin_log: format!("attempt {}", self.attempt),
            content_type: Some("application/json".into()),
            headers: vec![("x-delivery".into(), self.n.to_string())],
            query: has_url.then(|| parameter(self.n)).into_iter().collect(),
            path: if has_url { format!("/n/{}", self.n) } else { String::new() },
            stages: Vec::new(),
            redacted: Vec::new(),
            erased_at: None,
            attempts: 1 + u32::from(self.attempt),
            last_attempt_at: (self.attempt > 0).then(|| time(self.at_ms + i64::from(self.attempt))),
            trace: None,
            origin: None,
            body_bytes: body.len() as u64,
            body,
        };
        Ingested { event, tasks }
    }

    fn task(&self, at: u8) -> Task {
        let n = self.n << 16 | u64::from(self.attempt) << 8 | u64::from(at);
        let new = NewTask {
            title: format!("task {n}"),
            description: text(n, self.task_bytes.max(1)),
            assigned_user_ids: vec![format!("user-{}", mixed(n) % 5)],
            created_by_id: "u9".into(),
            deadline: time(self.at_ms),
            tags: None,
            call_id: None,
            fax_id: None,
            assistant_id: None,
            session_id: None,
            patient_id: Some(patient(self.patient)),
            status: status(n),
            priority: [Priority::Low, Priority::Medium, Priority::High, Priority::Urgent][mixed(n) as usize % 4],
            kind: Some(n % 3).filter(|it| *it > 0).map(|it| format!("kind-{it}")),
        };
        new.into_task(TaskId(id(self.at_ms, n << 8 | 1)), self.event_id(), company(self.company), time(self.at_ms))
    }
}

fn status(n: u64) -> Status {
    [Status::Pending, Status::InProgress, Status::Completed][(mixed(n) >> 8) as usize % 3]
}

impl AnswerOf {
    pub fn id(&self) -> IdempotencyId {
        let window = self.window.map(|hours| Duration::hours(i64::from(hours)));
        // An integration has one window, and is in the name.
        IdempotencyId { company: None, name: [self.name + self.window.unwrap_or(0); 16], window }
    }

    pub fn answer(&self) -> FirstAnswer {
        FirstAnswer {
            fingerprint: FirstAnswer::fingerprint(b"request"),
            refused: false,
            at: time(self.at_ms),
            event_id: None,
            head: Bytes::from(format!("/v1/tasks/{}", self.at_ms)),
            body: Bytes::from(text(self.at_ms as u64, 100)),
        }
    }

    pub fn idempotency(&self) -> Idempotency {
        Idempotency { id: self.id(), answer: self.answer() }
    }
}

impl KeyOf {
    pub fn key(&self) -> ApiKey {
        ApiKey {
            id: KeyId(format!("key_{}", self.name)),
            label: format!("revision {}", self.revision),
            company_id: company(self.name % COMPANIES),
            scopes: vec![Scope::TasksRead],
            created_at: time(1_000_000),
            expires_at: None,
            revoked_at: (self.revision > 2).then(|| time(2_000_000)),
            timezone: None,
            strict: false,
            hash: [self.name; 32],
        }
    }
}

impl EntryOf {
    pub fn entry(&self) -> Entry {
        Entry {
            id: id(self.at_ms, self.n),
            at: time(self.at_ms),
            company_id: self.company.map(company),
            actor: "model".into(),
            action: Action::EventRead,
            target: self.n.to_string(),
            detail: String::new(),
        }
    }
}

impl PatchOf {
    pub fn patch(&self) -> TaskPatch {
        TaskPatch {
            title: Some(format!("patch {}", self.n)),
            description: Some(text(self.n, self.bytes.max(1))),
            status: Some(status(self.n)),
            assigned_user_ids: Some(vec![format!("user-{}", self.n % 5), "user-9".into()]),
            ..TaskPatch::default()
        }
    }
}

pub fn commit(deliveries: &[Delivery], answer: Option<&AnswerOf>) -> Commit {
    Commit {
        ingested: deliveries.iter().map(Delivery::ingested).collect(),
        idempotency: answer.map(AnswerOf::idempotency),
        lane: None,
        audit: None,
    }
}

/// The same for the same value in both processes: they run the same binary.
pub fn hash(value: &impl std::fmt::Debug) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{value:?}").hash(&mut hasher);
    hasher.finish()
}

/// Of an event, by its body's checksum; of an erased one only what it must still have.
pub fn event_hash(event: &Event) -> u64 {
    let body = crc32fast::hash(&event.body);
    let event = Event { body: Bytes::new(), ..event.clone() };
    if event.erased_at.is_none() {
        return hash(&(event, body));
    }
    hash(&(
        event.id,
        event.integration,
        event.company_id,
        event.received_at,
        event.status,
        event.task_ids,
        event.body_bytes,
    ))
}

fn parameter(n: u64) -> SentParameter {
    SentParameter { name: "n".into(), value: n.is_multiple_of(2).then(|| n.to_string()) }
}
