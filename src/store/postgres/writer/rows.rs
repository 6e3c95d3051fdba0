//! Rows of the larger tables, as arrays: one for each column.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::change::{EncodedEvent, EncodedTask};
use super::super::failure::Trouble;
use super::super::text::{indexed, stored};
use super::evidence::Written;
use super::ids::AnswerKey;
use super::run::run;
use crate::model::company::CompanyId;
use crate::model::task::{Priority, Status};
use crate::store::idempotency::FirstAnswer;

/// Events, each with its version.
#[derive(Debug, Default)]
pub(super) struct EventRows(Vec<(Arc<EncodedEvent>, i64)>);

impl EventRows {
    pub(super) fn push(&mut self, event: Arc<EncodedEvent>, version: i64) {
        self.0.push((event, version));
    }

    /// Returns the last row.
    pub(super) fn last(&self) -> Option<Written> {
        let (event, version) = self.0.last()?;
        let (company, document) = (event.company.to_string(), event.document.clone());
        Some(Written { company, id: event.id.0, version: *version, document })
    }

    pub(super) async fn insert(&self, client: &Object) -> Result<(), Trouble> {
        self.write(client, INSERT_EVENTS).await
    }

    pub(super) async fn update(&self, client: &Object) -> Result<(), Trouble> {
        self.write(client, UPDATE_EVENTS).await
    }

    /// Inserts what was sent.
    pub(super) async fn insert_bodies(&self, client: &Object) -> Result<(), Trouble> {
        let sent: Vec<&EncodedEvent> = self.0.iter().map(|it| &*it.0).filter(|it| !it.sent.is_empty()).collect();
        let companies = column(&sent, |it| it.company.as_str());
        let ids = column(&sent, |it| it.id.0);
        let texts = column(&sent, |it| it.sent.as_str());
        let bodies = column(&sent, |it| &it.body[..]);
        run(client, sent.len(), INSERT_BODIES, &[&companies, &ids, &texts, &bodies]).await
    }

    async fn write(&self, client: &Object, statement: &str) -> Result<(), Trouble> {
        let all = &self.0;
        let companies = column(all, |it| it.0.company.as_str());
        let ids = column(all, |it| it.0.id.0);
        let versions = column(all, |it| it.1);
        let integrations = column(all, |it| stored(&it.0.integration.0));
        let statuses = column(all, |it| it.0.status as i16);
        let stages = column(all, |it| it.0.reason.as_ref().map(|(stage, _)| stored(stage)));
        let codes = column(all, |it| it.0.reason.as_ref().map(|(_, code)| stored(code)));
        let erased = column(all, |it| it.0.is_erased);
        let documents = column(all, |it| it.0.document.as_str());
        let repeats = column(all, |it| it.0.repeats.map(|it| it.0));
        let columns: [&(dyn ToSql + Sync); 10] =
            [&companies, &ids, &versions, &integrations, &statuses, &stages, &codes, &erased, &documents, &repeats];
        run(client, all.len(), statement, &columns).await
    }
}

/// Tasks, each with its places in lists and in the order of changes.
#[derive(Debug, Default)]
pub(super) struct TaskRows(Vec<(Arc<EncodedTask>, i64, i64)>);

impl TaskRows {
    pub(super) fn push(&mut self, task: Arc<EncodedTask>, place: i64, change: i64) {
        self.0.push((task, place, change));
    }

    /// Returns the last row.
    pub(super) fn last(&self) -> Option<Written> {
        let (task, _, change) = self.0.last()?;
        let (company, document) = (task.company.to_string(), task.document.clone());
        Some(Written { company, id: task.id.0, version: *change, document })
    }

    pub(super) async fn insert(&self, client: &Object) -> Result<(), Trouble> {
        self.write(client, INSERT_TASKS).await
    }

    pub(super) async fn update(&self, client: &Object) -> Result<(), Trouble> {
        self.write(client, UPDATE_TASKS).await
    }

    async fn write(&self, client: &Object, statement: &str) -> Result<(), Trouble> {
        let all = &self.0;
        let companies = column(all, |it| it.0.company.as_str());
        let ids = column(all, |it| it.0.id.0);
        let places = column(all, |it| it.1);
        let changes = column(all, |it| it.2);
        let versions = column(all, |it| i64::try_from(it.0.version).unwrap_or(i64::MAX));
        let statuses = column(all, |it| it.0.status as i16);
        let priorities = column(all, |it| it.0.priority as i16);
        let patients = column(all, |it| it.0.patient_id.as_deref().map(indexed));
        let kinds = column(all, |it| it.0.kind.as_deref().map(indexed));
        let updated = column(all, |it| it.0.updated_at);
        let deleted = column(all, |it| it.0.deleted_at);
        let documents = column(all, |it| it.0.document.as_str());
        let columns: [&(dyn ToSql + Sync); 12] = [
            &companies,
            &ids,
            &places,
            &changes,
            &versions,
            &statuses,
            &priorities,
            &patients,
            &kinds,
            &updated,
            &deleted,
            &documents,
        ];
        run(client, all.len(), statement, &columns).await
    }
}

/// The users that tasks are assigned to, each with the task's status, priority and place.
#[derive(Debug, Default)]
pub(super) struct UserRows(Vec<UserRow>);

#[derive(Debug)]
struct UserRow {
    company: CompanyId,
    user: String,
    status: Status,
    priority: Priority,
    place: i64,
}

/// What the rows of a task's users consist of. They change with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Assigned<'a> {
    pub(super) users: &'a [String],
    pub(super) status: Status,
    pub(super) priority: Priority,
}

impl UserRows {
    pub(super) fn push(&mut self, company: &CompanyId, assigned: Assigned<'_>, place: i64) {
        let Assigned { users, status, priority } = assigned;
        for (at, user) in users.iter().enumerate() {
            if !users[..at].contains(user) {
                let (company, user) = (company.clone(), indexed(user).into_owned());
                self.0.push(UserRow { company, user, status, priority, place });
            }
        }
    }

    pub(super) async fn insert(&self, client: &Object) -> Result<(), Trouble> {
        self.write(client, INSERT_USERS).await
    }

    pub(super) async fn delete(&self, client: &Object) -> Result<(), Trouble> {
        self.write(client, DELETE_USERS).await
    }

    async fn write(&self, client: &Object, statement: &str) -> Result<(), Trouble> {
        let companies = column(&self.0, |it| it.company.as_str());
        let users = column(&self.0, |it| it.user.as_str());
        let statuses = column(&self.0, |it| it.status as i16);
        let priorities = column(&self.0, |it| it.priority as i16);
        let places = column(&self.0, |it| it.place);
        run(client, places.len(), statement, &[&companies, &users, &statuses, &priorities, &places]).await
    }
}

/// Queued events, each with its place and lane.
#[derive(Debug, Default)]
pub(super) struct QueueRows(Vec<(Arc<EncodedEvent>, i64, Option<i64>)>);

impl QueueRows {
    pub(super) fn push(&mut self, event: Arc<EncodedEvent>, place: i64, lane: Option<i64>) {
        self.0.push((event, place, lane));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) async fn insert(&self, client: &Object) -> Result<(), Trouble> {
        let all = &self.0;
        let companies = column(all, |it| it.0.company.as_str());
        let places = column(all, |it| it.1);
        let events = column(all, |it| it.0.id.0);
        let integrations = column(all, |it| stored(&it.0.integration.0));
        let lanes = column(all, |it| it.2);
        run(client, all.len(), INSERT_QUEUE, &[&companies, &places, &events, &integrations, &lanes]).await
    }
}

/// Returns one column of rows.
fn column<'a, T, C>(rows: &'a [T], value: impl Fn(&'a T) -> C) -> Vec<C> {
    rows.iter().map(value).collect()
}

/// A response to store.
#[derive(Debug)]
pub(super) struct AnswerRow {
    pub(super) first: FirstAnswer,
    pub(super) expires_at: DateTime<Utc>,
}

impl AnswerRow {
    /// Writes new responses; with `only_new`, fails if one of them is stored already.
    pub(super) async fn write(
        all: &BTreeMap<AnswerKey, Option<Self>>,
        only_new: bool,
        client: &Object,
    ) -> Result<(), Trouble> {
        let new: Vec<(&AnswerKey, &Self)> = all.iter().filter_map(|(key, it)| Some((key, it.as_ref()?))).collect();
        let companies: Vec<&str> = new.iter().map(|it| it.0.company.as_str()).collect();
        let kinds: Vec<i16> = new.iter().map(|it| it.0.kind).collect();
        let names: Vec<&[u8]> = new.iter().map(|it| &it.0.name[..]).collect();
        let fingerprints: Vec<&[u8]> = new.iter().map(|it| &it.1.first.fingerprint[..]).collect();
        let at: Vec<DateTime<Utc>> = new.iter().map(|it| it.1.first.at).collect();
        let expires: Vec<DateTime<Utc>> = new.iter().map(|it| it.1.expires_at).collect();
        let refused: Vec<bool> = new.iter().map(|it| it.1.first.refused).collect();
        let events: Vec<Option<Uuid>> = new.iter().map(|it| it.1.first.event_id.map(|it| it.0)).collect();
        let heads: Vec<&[u8]> = new.iter().map(|it| &it.1.first.head[..]).collect();
        let bodies: Vec<&[u8]> = new.iter().map(|it| &it.1.first.body[..]).collect();
        let columns: [&(dyn ToSql + Sync); 10] =
            [&companies, &kinds, &names, &fingerprints, &at, &expires, &refused, &events, &heads, &bodies];
        let statement = if only_new { INSERT_ANSWERS } else { UPSERT_ANSWERS };
        run(client, new.len(), statement, &columns).await
    }
}

/// A number of a change, as SQL. A batch that is written at once does not know its transaction's number: it has only the place
/// within the transaction, which is less than 2^20.
macro_rules! absolute {
    ($place:literal) => {
        concat!(
            "CASE WHEN ",
            $place,
            " < 1048576 THEN ((SELECT currval('hookmill.changes')) << 20) | ",
            $place,
            " ELSE ",
            $place,
            " END"
        )
    };
}

/// All statements of this file.
pub(super) const STATEMENTS: [&str; 10] = [
    INSERT_ANSWERS,
    INSERT_BODIES,
    INSERT_EVENTS,
    UPDATE_EVENTS,
    INSERT_TASKS,
    UPDATE_TASKS,
    INSERT_USERS,
    DELETE_USERS,
    INSERT_QUEUE,
    UPSERT_ANSWERS,
];

const INSERT_BODIES: &str = "INSERT INTO hookmill.event_bodies (company_id, id, sent, body) \
     SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bytea[])";
const INSERT_EVENTS: &str = concat!(
    "INSERT INTO hookmill.events (company_id, id, version, integration, status, stage, code, erased, document, repeats) \
     SELECT w.a, w.b, ",
    absolute!("w.c"),
    ", w.d, w.e, w.f, w.g, w.h, w.i, w.j \
     FROM unnest($1::text[], $2::uuid[], $3::int8[], $4::text[], $5::int2[], $6::text[], $7::text[], $8::bool[], $9::text[], $10::uuid[]) \
     AS w (a, b, c, d, e, f, g, h, i, j)"
);
const UPDATE_EVENTS: &str = "UPDATE hookmill.events e SET version = w.version, integration = w.integration, status = w.status, stage = w.stage, \
     code = w.code, erased = w.erased, document = w.document, repeats = w.repeats \
     FROM unnest($1::text[], $2::uuid[], $3::int8[], $4::text[], $5::int2[], $6::text[], $7::text[], $8::bool[], $9::text[], $10::uuid[]) \
     AS w (company_id, id, version, integration, status, stage, code, erased, document, repeats) \
     WHERE e.company_id = w.company_id AND e.id = w.id";
const INSERT_TASKS: &str = concat!(
    "INSERT INTO hookmill.tasks (company_id, id, place, change, version, status, priority, patient_id, kind, updated_at, deleted_at, document) \
     SELECT w.a, w.b, ",
    absolute!("w.c"),
    ", ",
    absolute!("w.d"),
    ", w.e, w.f, w.g, w.h, w.i, w.j, w.k, w.l \
     FROM unnest($1::text[], $2::uuid[], $3::int8[], $4::int8[], $5::int8[], $6::int2[], $7::int2[], $8::text[], \
     $9::text[], $10::timestamptz[], $11::timestamptz[], $12::text[]) AS w (a, b, c, d, e, f, g, h, i, j, k, l)"
);
const UPDATE_TASKS: &str = "UPDATE hookmill.tasks t SET change = w.change, version = w.version, status = w.status, priority = w.priority, \
     patient_id = w.patient_id, kind = w.kind, updated_at = w.updated_at, deleted_at = w.deleted_at, document = w.document, \
     original = coalesce(t.original, t.document) \
     FROM unnest($1::text[], $2::uuid[], $3::int8[], $4::int8[], $5::int8[], $6::int2[], $7::int2[], $8::text[], \
     $9::text[], $10::timestamptz[], $11::timestamptz[], $12::text[]) \
     AS w (company_id, id, place, change, version, status, priority, patient_id, kind, updated_at, deleted_at, document) \
     WHERE t.company_id = w.company_id AND t.id = w.id";
const INSERT_USERS: &str = concat!(
    "INSERT INTO hookmill.task_users (company_id, user_id, status, priority, place) SELECT w.a, w.b, w.c, w.d, ",
    absolute!("w.e"),
    " \
     FROM unnest($1::text[], $2::text[], $3::int2[], $4::int2[], $5::int8[]) AS w (a, b, c, d, e) ON CONFLICT DO NOTHING"
);
const DELETE_USERS: &str = "DELETE FROM hookmill.task_users u \
     USING unnest($1::text[], $2::text[], $3::int2[], $4::int2[], $5::int8[]) AS w (company_id, user_id, status, priority, place) \
     WHERE u.company_id = w.company_id AND u.user_id = w.user_id AND u.status = w.status AND u.priority = w.priority \
     AND u.place = w.place";
const INSERT_QUEUE: &str = concat!(
    "INSERT INTO hookmill.queue (company_id, place, event_id, integration, lane) SELECT w.a, ",
    absolute!("w.b"),
    ", w.c, w.d, w.e \
     FROM unnest($1::text[], $2::int8[], $3::uuid[], $4::text[], $5::int8[]) AS w (a, b, c, d, e)"
);
/// Fails if a response is stored already, also one that has expired.
const INSERT_ANSWERS: &str = "INSERT INTO hookmill.answers (company_id, kind, name, fingerprint, at, expires_at, refused, event_id, head, body) \
     SELECT * FROM unnest($1::text[], $2::int2[], $3::bytea[], $4::bytea[], $5::timestamptz[], $6::timestamptz[], $7::bool[], \
     $8::uuid[], $9::bytea[], $10::bytea[])";
const UPSERT_ANSWERS: &str = "INSERT INTO hookmill.answers (company_id, kind, name, fingerprint, at, expires_at, refused, event_id, head, body) \
     SELECT * FROM unnest($1::text[], $2::int2[], $3::bytea[], $4::bytea[], $5::timestamptz[], $6::timestamptz[], $7::bool[], \
     $8::uuid[], $9::bytea[], $10::bytea[]) \
     ON CONFLICT (company_id, kind, name) DO UPDATE SET fingerprint = excluded.fingerprint, at = excluded.at, \
     expires_at = excluded.expires_at, refused = excluded.refused, event_id = excluded.event_id, head = excluded.head, \
     body = excluded.body";
