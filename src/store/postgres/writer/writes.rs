//! What a batch writes: rows by table, as arrays, in as few statements as there are tables.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::change::{EncodedEvent, EncodedKey, EncodedTask, json};
use super::super::failure::Trouble;
use super::super::shared::name_of;
use super::super::text::{indexed, stored};
use super::beginning::Beginning;
use super::evidence::{EVENT, Evidence, NEW_ENTRY, NEW_EVENT, NEW_TASK, TASK, Written};
use super::ids::{AnswerKey, Id};
use super::rows::{AnswerRow, Assigned, EventRows, QueueRows, TaskRows, UserRows};
use super::run::run;
use super::sent::SentSignal;
use crate::model::audit::Entry;
use crate::model::company::CompanyId;
use crate::model::event::{Event, EventStatus};
use crate::model::task::Task;
use crate::store::erasure::Patient;
use crate::store::error::StoreError;
use crate::store::idempotency::FirstAnswer;

/// The rows to write.
#[derive(Debug, Default)]
pub(super) struct Writes {
    number: i64,
    count: i64,
    events: EventRows,
    /// Ids of events that this batch stores.
    pub(super) stored: HashSet<Uuid>,
    /// New states of events. Of several in one batch the last counts, because an UPDATE changes a row once.
    states: BTreeMap<Id, (Arc<EncodedEvent>, i64)>,
    bodies_deleted: Vec<Id>,
    tasks: TaskRows,
    /// New states of tasks, likewise.
    task_states: BTreeMap<Id, TaskStateChange>,
    users: UserRows,
    queue: QueueRows,
    queue_deleted: Vec<Id>,
    /// New responses, and names of those to delete.
    answers: BTreeMap<AnswerKey, Option<AnswerRow>>,
    keys: Vec<EncodedKey>,
    /// Where `keep_days` must read again, by integration.
    forget_later: BTreeMap<String, Uuid>,
    audit: Vec<(String, Uuid, String)>,
    /// New states that show whether this batch was committed.
    last_state: Option<Written>,
    last_task_state: Option<Written>,
    /// Imported erasures: patients, and up to which time of receipt.
    erasures: Vec<(Patient, DateTime<Utc>)>,
}

/// A change of a stored task: the stored state, and the new one.
#[derive(Debug)]
struct TaskStateChange {
    before: Task,
    after: EncodedTask,
    place: i64,
    change: i64,
}

/// How an erased patient is stored.
pub(in crate::store::postgres) struct ErasedPatient<'a> {
    /// The id as indexes have it.
    pub(in crate::store::postgres) name: Cow<'a, str>,
    pub(in crate::store::postgres) id: Cow<'a, str>,
}

impl<'a> ErasedPatient<'a> {
    pub(in crate::store::postgres) fn of(patient: &'a Patient) -> Self {
        Self { name: indexed(&patient.id), id: stored(&patient.id) }
    }
}

impl EncodedTask {
    fn assigned(&self) -> Assigned<'_> {
        Assigned { users: &self.users, status: self.status, priority: self.priority }
    }
}

impl Writes {
    pub(super) fn new(number: i64) -> Self {
        Self { number, ..Self::default() }
    }

    /// Returns the next place in the order of changes.
    fn next(&mut self) -> i64 {
        self.count += 1;
        (self.number << 20) | self.count
    }

    pub(super) fn event(&mut self, event: Arc<EncodedEvent>, lane: Option<i64>) {
        let version = self.next();
        self.stored.insert(event.id.0);
        if event.status == EventStatus::Queued {
            self.queue.push(Arc::clone(&event), version, lane);
        }
        self.events.push(event, version);
    }

    /// Writes a new state of an event.
    pub(super) fn state(&mut self, event: Event) -> Result<(), StoreError> {
        let version = self.next();
        let id = (event.company_id.clone(), event.id.0);
        self.states.insert(id, (Arc::new(EncodedEvent::of(event)?), version));
        Ok(())
    }

    pub(super) fn delete_body(&mut self, company: &CompanyId, id: Uuid) {
        self.bodies_deleted.push((company.clone(), id));
    }

    pub(super) fn unqueue(&mut self, company: &CompanyId, id: Uuid) {
        self.queue_deleted.push((company.clone(), id));
    }

    pub(super) fn task(&mut self, task: Arc<EncodedTask>) {
        let place = self.next();
        if task.deleted_at.is_none() {
            self.users.push(&task.company, task.assigned(), place);
        }
        self.tasks.push(task, place, place);
    }

    /// Writes a new state of a task. `before` is the one that is stored.
    pub(super) fn task_state(&mut self, before: &Task, task: EncodedTask, place: i64) {
        let change = self.next();
        let id = (before.company_id.clone(), before.id.0);
        let earlier = self.task_states.remove(&id).map(|it| it.before);
        let before = earlier.unwrap_or_else(|| before.clone());
        self.task_states.insert(id, TaskStateChange { before, after: task, place, change });
    }

    pub(super) fn answer(&mut self, key: AnswerKey, first: FirstAnswer, expires_at: DateTime<Utc>) {
        self.answers.insert(key, Some(AnswerRow { first, expires_at }));
    }

    pub(super) fn forget_answer(&mut self, key: AnswerKey) {
        self.answers.insert(key, None);
    }

    pub(super) fn key(&mut self, key: EncodedKey) {
        self.keys.push(key);
    }

    pub(super) fn audit(&mut self, entry: &Entry) -> Result<(), StoreError> {
        self.audit.push((name_of(entry.company_id.as_ref()).to_owned(), entry.id, json(entry)?));
        Ok(())
    }

    pub(super) fn erasure(&mut self, patient: &Patient, at: DateTime<Utc>) {
        self.erasures.push((patient.clone(), at));
    }

    /// Makes `keep_days` read again from this event on.
    pub(super) fn forget_later(&mut self, event: &Event) {
        if event.erased_at.is_none() {
            let from = self.forget_later.entry(stored(&event.integration.0).into_owned()).or_insert(event.id.0);
            *from = event.id.0.min(*from);
        }
    }

    /// Whether nothing is written.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
            && self.answers.is_empty()
            && self.keys.is_empty()
            && self.audit.is_empty()
            && self.erasures.is_empty()
            && self.queue_deleted.is_empty()
    }

    /// Whether it has queued events, which wait for work.
    pub(super) fn queues(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Returns a row that shows whether this batch was committed. `None` if it only removes: that may be repeated.
    pub(super) fn evidence(&self) -> Option<Evidence> {
        let new = |select, (company, id)| Evidence::New { select, company, id };
        let state = |select, written| Evidence::State { select, written };
        let event = self.events.last().map(|it| new(NEW_EVENT, (it.company, it.id)));
        event
            .or_else(|| self.audit.last().map(|it| new(NEW_ENTRY, (it.0.clone(), it.1))))
            .or_else(|| self.last_state.clone().map(|it| state(EVENT, it)))
            .or_else(|| self.last_task_state.clone().map(|it| state(TASK, it)))
            // Last: another node may process the same event, whose tasks then have the same ids.
            .or_else(|| self.tasks.last().map(|it| new(NEW_TASK, (it.company, it.id))))
    }

    /// Writes everything and commits, in one exchange with the server. The statements of a failed one are not committed:
    /// the server answers its COMMIT with a rollback.
    pub(super) async fn commit(
        &mut self,
        client: &Object,
        begin: Option<&Beginning<'_>>,
        sent: &SentSignal,
    ) -> Result<(), Trouble> {
        let mut states = EventRows::default();
        self.states.values().for_each(|(event, version)| states.push(Arc::clone(event), *version));
        let (mut task_states, mut users_deleted) = (TaskRows::default(), UserRows::default());
        for TaskStateChange { before, after, place, change } in std::mem::take(&mut self.task_states).into_values() {
            let Task { assigned_user_ids: users, status, priority, .. } = &before;
            let assigned = Assigned { users, status: *status, priority: *priority };
            let is_gone = after.deleted_at.is_some();
            if is_gone || assigned != after.assigned() {
                users_deleted.push(&before.company_id, assigned, place);
                if !is_gone {
                    self.users.push(&after.company, after.assigned(), place);
                }
            }
            task_states.push(Arc::new(after), place, change);
        }
        (self.last_state, self.last_task_state) = (states.last(), task_states.last());
        let (integrations, again): (Vec<&str>, Vec<Uuid>) =
            self.forget_later.iter().map(|(name, id)| (&**name, *id)).unzip();
        let forget_later: [&(dyn ToSql + Sync); 2] = [&integrations, &again];
        // The first error in this order is the cause: statements after it only say that the transaction has failed (25P02).
        // `try_join` polls in a rotating order, and would return any of them.
        let written = async {
            let done = tokio::join!(
                biased;
                async { if let Some(begin) = begin { begin.send(client).await } else { Ok(()) } },
                self.events.insert(client),
                self.events.insert_bodies(client),
                states.update(client),
                delete(client, DELETE_BODIES, &self.bodies_deleted),
                self.tasks.insert(client),
                users_deleted.delete(client),
                task_states.update(client),
                self.users.insert(client),
                self.queue.insert(client),
                delete(client, DELETE_QUEUE, &self.queue_deleted),
                self.write_answers(client),
                self.write_keys(client),
                self.insert_audit(client),
                self.insert_erasures(client),
                run(client, again.len(), FORGET_LATER, &forget_later),
            );
            // The next batch of these companies is sent while this one waits for the disk.
            sent.tell();
            let (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) = done;
            [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p].into_iter().collect::<Result<(), Trouble>>()
        };
        let (written, committed) = tokio::join!(biased; written, client.batch_execute("COMMIT"));
        written?;
        Ok(committed?)
    }

    async fn write_answers(&self, client: &Object) -> Result<(), Trouble> {
        let gone: Vec<&AnswerKey> = self.answers.iter().filter(|it| it.1.is_none()).map(|it| it.0).collect();
        let companies: Vec<&str> = gone.iter().map(|it| it.company.as_str()).collect();
        let kinds: Vec<i16> = gone.iter().map(|it| it.kind).collect();
        let names: Vec<&[u8]> = gone.iter().map(|it| &it.name[..]).collect();
        let deleted: [&(dyn ToSql + Sync); 3] = [&companies, &kinds, &names];
        let done = tokio::join!(biased; run(client, gone.len(), DELETE_ANSWERS, &deleted), AnswerRow::write(&self.answers, self.number == 0, client));
        done.0.and(done.1)
    }

    async fn write_keys(&self, client: &Object) -> Result<(), Trouble> {
        let companies: Vec<&str> = self.keys.iter().map(|it| it.key.company_id.as_str()).collect();
        let ids: Vec<&str> = self.keys.iter().map(|it| it.key.id.0.as_str()).collect();
        let hashes: Vec<&[u8]> = self.keys.iter().map(|it| &it.key.hash[..]).collect();
        let documents: Vec<&str> = self.keys.iter().map(|it| it.document.as_str()).collect();
        let all: [&(dyn ToSql + Sync); 4] = [&companies, &ids, &hashes, &documents];
        let done =
            tokio::join!(biased; run(client, ids.len(), UPSERT_KEYS, &all), run(client, ids.len(), TELL_KEYS, &[]));
        done.0.and(done.1)
    }

    async fn insert_audit(&self, client: &Object) -> Result<(), Trouble> {
        let companies: Vec<&str> = self.audit.iter().map(|it| it.0.as_str()).collect();
        let ids: Vec<Uuid> = self.audit.iter().map(|it| it.1).collect();
        let documents: Vec<&str> = self.audit.iter().map(|it| it.2.as_str()).collect();
        run(client, ids.len(), INSERT_AUDIT, &[&companies, &ids, &documents]).await
    }

    /// Each in a statement of its own: there are few, and one of them may be there twice.
    async fn insert_erasures(&self, client: &Object) -> Result<(), Trouble> {
        let all = self.erasures.iter().map(|(patient, at)| async move {
            let ErasedPatient { name, id } = ErasedPatient::of(patient);
            let all: [&(dyn ToSql + Sync); 5] = [&patient.company.as_str(), &name, &id, &patient.leading_zeros, at];
            run(client, 1, UPSERT_ERASURE, &all).await
        });
        futures_util::future::try_join_all(all).await.map(drop)
    }
}

/// All statements of this file.
pub(super) const STATEMENTS: [&str; 8] =
    [DELETE_BODIES, DELETE_QUEUE, DELETE_ANSWERS, UPSERT_KEYS, TELL_KEYS, INSERT_AUDIT, FORGET_LATER, UPSERT_ERASURE];

const DELETE_BODIES: &str = "DELETE FROM hookmill.event_bodies b USING unnest($1::text[], $2::uuid[]) AS w (company_id, id) \
     WHERE b.company_id = w.company_id AND b.id = w.id";
const DELETE_QUEUE: &str = "DELETE FROM hookmill.queue q USING unnest($1::text[], $2::uuid[]) AS w (company_id, id) \
     WHERE q.company_id = w.company_id AND q.event_id = w.id";
const DELETE_ANSWERS: &str = "DELETE FROM hookmill.answers a \
     USING unnest($1::text[], $2::int2[], $3::bytea[]) AS w (company_id, kind, name) \
     WHERE a.company_id = w.company_id AND a.kind = w.kind AND a.name = w.name";
const UPSERT_KEYS: &str = "INSERT INTO hookmill.api_keys (company_id, id, hash, document) \
     SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[]) \
     ON CONFLICT (company_id, id) DO UPDATE SET hash = excluded.hash, document = excluded.document";
// Keys change rarely: other nodes are notified by this transaction itself.
const TELL_KEYS: &str =
    "UPDATE hookmill.installation SET keys_version = keys_version + 1 RETURNING pg_notify('hookmill', 'keys')";
const FORGET_LATER: &str = "UPDATE hookmill.forgotten f SET up_to = w.up_to \
     FROM unnest($1::text[], $2::uuid[]) AS w (integration, up_to) \
     WHERE f.integration = w.integration AND f.up_to > w.up_to";
pub(in crate::store::postgres) const UPSERT_ERASURE: &str = "INSERT INTO hookmill.erasures AS e (company_id, patient, patient_id, leading_zeros, at) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (company_id, patient, leading_zeros) DO UPDATE SET at = greatest(e.at, excluded.at), begun_at = now()";
const INSERT_AUDIT: &str = "INSERT INTO hookmill.audit (company_id, id, document) \
     SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[])";

/// Prepares all statements that write. Everything that is sent in one exchange must be prepared before: a statement that is
/// prepared first would be sent after the COMMIT.
pub(super) async fn prepare(client: &Object) -> Result<(), Trouble> {
    for statement in STATEMENTS.iter().chain(&super::rows::STATEMENTS).chain(&super::beginning::STATEMENTS) {
        client.prepare_cached(statement).await?;
    }
    Ok(())
}

async fn delete(client: &Object, statement: &str, ids: &[Id]) -> Result<(), Trouble> {
    let (companies, ids): (Vec<&str>, Vec<Uuid>) = ids.iter().map(|(company, id)| (company.as_str(), *id)).unzip();
    run(client, ids.len(), statement, &[&companies, &ids]).await
}
