//! What a batch needs to know: the rows that its changes name, read after the rows of its companies are locked.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::change::Mutation;
use super::super::failure::{Trouble, damaged};
use super::super::text::shown;
use super::ids::{AnswerKey, Id};
use crate::auth::ApiKey;
use crate::model::audit::Entry;
use crate::model::company::CompanyId;
use crate::model::event::Event;
use crate::model::task::Task;
use crate::store::document::{EventDocument, KeyDocument, SentParts, TaskDocument};
use crate::store::erasure::Patient;
use crate::store::error::StoreError;
use crate::store::id_time::received_ms;
use crate::store::idempotency::FirstAnswer;
use crate::store::item::StoredItem;

/// A stored response.
#[derive(Debug, Clone)]
pub(super) struct KnownAnswer {
    pub(super) first: FirstAnswer,
    /// Whether another copy of the delivery counts as an attempt of its event.
    pub(super) may_come_again: bool,
}

/// A stored event, without what was sent.
#[derive(Debug, Clone)]
pub(super) struct EventRow {
    pub(super) version: i64,
    /// The fencing token, if the event is queued.
    pub(super) token: Option<i64>,
    /// The event; `None` if its document cannot be read.
    pub(super) event: Option<Event>,
}

/// A stored task.
#[derive(Debug, Clone)]
pub(super) struct TaskRow {
    pub(super) place: i64,
    /// The task; `None` if its document cannot be read.
    pub(super) task: Option<Task>,
}

/// An erasure that concerns events that are stored now.
#[derive(Debug)]
pub(super) struct KnownErasure {
    pub(super) patient: Patient,
    /// Events received up to this time are erased.
    pub(super) at: DateTime<Utc>,
}

/// The rows.
#[derive(Debug, Default)]
pub(super) struct LoadedRows {
    /// Number of this transaction in the order of changes.
    pub(super) number: i64,
    /// The transaction's id, to look up whether it was committed.
    pub(super) transaction: String,
    pub(super) erasures: Vec<KnownErasure>,
    pub(super) answers: HashMap<AnswerKey, KnownAnswer>,
    pub(super) events: HashMap<Id, EventRow>,
    pub(super) tasks: HashMap<Id, TaskRow>,
    /// Items that an import compares.
    pub(super) stored: ItemsThere,
}

/// Items of an import that exist.
#[derive(Debug, Default)]
pub(super) struct ItemsThere {
    pub(super) events: HashMap<Uuid, Event>,
    pub(super) keys: HashMap<String, ApiKey>,
    pub(super) owners: HashMap<[u8; 32], String>,
    pub(super) audit: HashMap<Uuid, Entry>,
}

/// The names of rows to load, as arrays.
#[derive(Debug, Default)]
pub(super) struct Named {
    companies: BTreeSet<String>,
    answers: BTreeSet<AnswerKey>,
    events: BTreeSet<Id>,
    tasks: BTreeSet<Id>,
    imported: BTreeSet<Uuid>,
    keys: bool,
    audit: BTreeSet<Uuid>,
    /// Events that could not be read.
    given_up: BTreeSet<Id>,
    /// Earliest erasure that may concern the changes.
    erased_since: DateTime<Utc>,
}

impl Named {
    pub(super) fn by<'a>(changes: impl Iterator<Item = &'a Mutation>) -> Self {
        let mut named = Self { erased_since: DateTime::<Utc>::MAX_UTC, ..Self::default() };
        for change in changes {
            change.new_events(&mut |id| named.receives(id));
            change.companies(&mut |it| {
                if !named.companies.contains(it) {
                    named.companies.insert(it.to_owned());
                }
            });
            match change {
                Mutation::Put(put) => named.answers.extend(put.guard.iter().map(|it| AnswerKey::of(&it.id))),
                Mutation::Replace(replace, _) => {
                    let event = &replace.ingested.event;
                    named.receives(event.id.0);
                    named.events.insert((event.company_id.clone(), event.id.0));
                    named.answers.extend(replace.idempotency.iter().map(|it| AnswerKey::of(&it.id)));
                    named.answers.extend(replace.forget.iter().map(AnswerKey::of));
                    named.tasks.extend(replace.updates.iter().map(|(id, _)| (event.company_id.clone(), id.0)));
                }
                Mutation::Update { company, id, .. } => drop(named.tasks.insert((company.clone(), id.0))),
                Mutation::GiveUp(event) => {
                    let id = (event.company_id.clone(), event.id.0);
                    named.events.insert(id.clone());
                    named.given_up.insert(id);
                }
                Mutation::Erase { company, events, .. } => {
                    named.events.extend(events.iter().map(|id| (company.clone(), id.0)));
                }
                Mutation::Import(items) => items.iter().for_each(|it| named.item(it)),
            }
        }
        named
    }

    /// Notes an event whose patients may have been erased since its receipt.
    fn receives(&mut self, id: Uuid) {
        let received = DateTime::from_timestamp_millis(received_ms(id)).unwrap_or(DateTime::<Utc>::MIN_UTC);
        self.erased_since = self.erased_since.min(received);
    }

    fn item(&mut self, item: &StoredItem) {
        match item {
            StoredItem::Task(it) => drop(self.tasks.insert((it.company_id.clone(), it.id.0))),
            StoredItem::Event(it) => drop(self.imported.insert(it.id.0)),
            StoredItem::Key(_) => self.keys = true,
            StoredItem::Audit(it) => drop(self.audit.insert(it.id)),
            StoredItem::Answer(it) => drop(self.answers.insert(AnswerKey::imported(it))),
            // Compared with all of the company's.
            StoredItem::Erasure(_) => self.erased_since = DateTime::UNIX_EPOCH,
        }
    }

    /// Also looks for the events that the changes themselves store.
    pub(super) fn own_events(&mut self, changes: &[&Mutation]) {
        for change in changes {
            if let Mutation::Put(put) = change {
                self.events.extend(put.events.iter().map(|it| (it.company.clone(), it.id.0)));
            }
        }
    }

    pub(super) fn companies(&self) -> Vec<&str> {
        self.companies.iter().map(String::as_str).collect()
    }

    /// Begins the transaction, locks, and loads; all in one exchange with the server, so that locks are held only while the
    /// server works and this node decides.
    pub(super) async fn load(&self, client: &Object) -> Result<LoadedRows, Trouble> {
        let companies = self.companies();
        let locked = client.prepare_cached(LOCK).await?;
        let number = client.prepare_cached(NUMBER).await?;
        let erasures = client.prepare_cached(ERASURES).await?;
        let lock: [&(dyn ToSql + Sync); 1] = [&companies];
        let concerned: [&(dyn ToSql + Sync); 2] = [&companies, &self.erased_since];
        // The first error is the cause of the others.
        let (begun, rows, numbers, erased, answers, events, tasks, stored) = tokio::join!(
            biased;
            async { client.batch_execute("BEGIN").await.map_err(Trouble::from) },
            async { client.query_one(&locked, &lock).await.map_err(Trouble::from) },
            async { client.query_one(&number, &[]).await.map_err(Trouble::from) },
            async { client.query(&erasures, &concerned).await.map_err(Trouble::from) },
            self.answers(client),
            self.events(client),
            self.tasks(client),
            self.stored(client),
        );
        begun?;
        let (rows, numbers, erased) = (rows?, numbers?, erased?);
        let (answers, events, tasks, stored) = (answers?, events?, tasks?, stored?);
        let count: i64 = rows.get(0);
        if usize::try_from(count) != Ok(companies.len()) {
            return Err(Trouble::Passing("the rows of companies are missing; was the database replaced?".into()));
        }
        let erasures = erased.iter().filter_map(erasure).collect();
        Ok(LoadedRows { number: numbers.get(0), transaction: numbers.get(1), erasures, answers, events, tasks, stored })
    }

    async fn answers(&self, client: &Object) -> Result<HashMap<AnswerKey, KnownAnswer>, Trouble> {
        if self.answers.is_empty() {
            return Ok(HashMap::new());
        }
        let companies: Vec<&str> = self.answers.iter().map(|it| it.company.as_str()).collect();
        let kinds: Vec<i16> = self.answers.iter().map(|it| it.kind).collect();
        let names: Vec<&[u8]> = self.answers.iter().map(|it| &it.name[..]).collect();
        let statement = client.prepare_cached(ANSWERS).await?;
        let rows = client.query(&statement, &[&companies, &kinds, &names]).await?;
        Ok(rows.iter().filter_map(known_answer).collect())
    }

    async fn events(&self, client: &Object) -> Result<HashMap<Id, EventRow>, Trouble> {
        let (Some(first), Some(last)) =
            (self.events.iter().map(|it| it.1).min(), self.events.iter().map(|it| it.1).max())
        else {
            return Ok(HashMap::new());
        };
        let (companies, ids) = split(&self.events);
        let (queue, statement) = (client.prepare_cached(QUEUE).await?, client.prepare_cached(EVENTS).await?);
        let (named, all): ([&(dyn ToSql + Sync); 2], [&(dyn ToSql + Sync); 4]) =
            ([&companies, &ids], [&companies, &ids, &first, &last]);
        let (queued, rows) = tokio::try_join!(client.query(&queue, &named), client.query(&statement, &all))?;
        let token = |row: &Row| Some(((company(row.get(0))?, row.get::<_, Uuid>(1)), row.get::<_, i64>(2)));
        let tokens: HashMap<Id, i64> = queued.iter().filter_map(token).collect();
        let row = |row: &Row| {
            let event = serde_json::from_str::<EventDocument>(row.get(3)).ok();
            let event = event.map(|it| it.whole(SentParts::default(), Bytes::new()));
            let id = (company(row.get(0))?, row.get(1));
            let token = tokens.get(&id).copied();
            Some((id, EventRow { version: row.get(2), token, event }))
        };
        let mut events: HashMap<Id, EventRow> = rows.iter().filter_map(row).collect();
        for id in &self.given_up {
            let sent = client.query_opt(SENT, &[&id.0.as_str(), &id.1]).await?;
            let unreadable = sent.is_some_and(|row| serde_json::from_str::<SentParts>(row.get(0)).is_err());
            if let Some(event) = events.get_mut(id).filter(|_| unreadable) {
                event.event = None;
            }
        }
        Ok(events)
    }

    async fn tasks(&self, client: &Object) -> Result<HashMap<Id, TaskRow>, Trouble> {
        if self.tasks.is_empty() {
            return Ok(HashMap::new());
        }
        let (companies, ids) = split(&self.tasks);
        let statement = client.prepare_cached(TASKS).await?;
        let rows = client.query(&statement, &[&companies, &ids]).await?;
        let mut tasks = HashMap::with_capacity(rows.len());
        for row in rows {
            let Some(company) = company(row.get(0)) else { continue };
            tasks.insert((company, row.get(1)), TaskRow { place: row.get(2), task: task(row.get(3)).ok() });
        }
        Ok(tasks)
    }

    async fn stored(&self, client: &Object) -> Result<ItemsThere, Trouble> {
        let mut stored = ItemsThere::default();
        if !self.imported.is_empty() {
            let ids: Vec<Uuid> = self.imported.iter().copied().collect();
            let (first, last) = (ids.first(), ids.last());
            let rows = client
                .query(&client.prepare_cached(IMPORTED).await?, &[&ids, &first, &last, &self.companies()])
                .await?;
            stored.events = rows.iter().filter_map(|row| Some((row.get(0), whole_event(row).ok()?))).collect();
        }
        if self.keys {
            let rows = client.query("SELECT document FROM hookmill.api_keys", &[]).await?;
            let keys: Vec<ApiKey> = rows.iter().filter_map(|row| api_key(row.get(0)).ok()).collect();
            stored.owners = keys.iter().map(|it| (it.hash, it.id.0.clone())).collect();
            stored.keys = keys.into_iter().map(|it| (it.id.0.clone(), it)).collect();
        }
        if !self.audit.is_empty() {
            let ids: Vec<Uuid> = self.audit.iter().copied().collect();
            let companies = self.companies();
            let select = "SELECT id, document FROM hookmill.audit WHERE company_id = ANY($1) AND id = ANY($2)";
            let rows = client.query(select, &[&companies, &ids]).await?;
            stored.audit =
                rows.iter().filter_map(|row| Some((row.get(0), serde_json::from_str(row.get(1)).ok()?))).collect();
        }
        Ok(stored)
    }
}

const LOCK: &str = "SELECT count(*) FROM (SELECT 1 FROM hookmill.companies WHERE company_id = ANY($1) \
     ORDER BY company_id FOR UPDATE) AS locked";
const NUMBER: &str = "SELECT nextval('hookmill.changes'), pg_current_xact_id()::text";
const ERASURES: &str =
    "SELECT company_id, patient_id, leading_zeros, at FROM hookmill.erasures WHERE company_id = ANY($1) AND at >= $2";
const ANSWERS: &str = "SELECT a.company_id, a.kind, a.name, a.fingerprint, a.at, a.refused, a.event_id, a.head, a.body, e.document \
     FROM unnest($1::text[], $2::int2[], $3::bytea[]) AS w (company_id, kind, name) \
     JOIN hookmill.answers a ON a.company_id = w.company_id AND a.kind = w.kind AND a.name = w.name \
     LEFT JOIN LATERAL (SELECT document FROM hookmill.events e WHERE a.refused AND e.company_id = a.company_id \
     AND e.id = a.event_id AND e.id >= (SELECT events_from FROM hookmill.installation)) e ON true";
// Locked, so that a claim cannot end between the check of its token and the commit. A claim of a node whose lease was ended
// has ended, even if nobody has freed it yet. Not of one whose lease is only too old here: a renewal may be about to commit.
const QUEUE: &str = "SELECT q.company_id, q.event_id, CASE WHEN q.node IS NULL OR EXISTS (SELECT 1 FROM hookmill.nodes n \
     WHERE n.id = q.node) THEN q.token ELSE -1 END \
     FROM unnest($1::text[], $2::uuid[]) AS w (company_id, id) \
     JOIN hookmill.queue q ON q.company_id = w.company_id AND q.event_id = w.id FOR UPDATE OF q";
const EVENTS: &str = "SELECT e.company_id, e.id, e.version, e.document FROM unnest($1::text[], $2::uuid[]) AS w (company_id, id) \
     JOIN hookmill.events e ON e.company_id = w.company_id AND e.id = w.id AND e.id >= $3 AND e.id <= $4";
const SENT: &str = "SELECT sent FROM hookmill.event_bodies WHERE company_id = $1 AND id = $2";
const TASKS: &str = "SELECT t.company_id, t.id, t.place, t.document \
     FROM unnest($1::text[], $2::uuid[]) AS w (company_id, id) \
     JOIN hookmill.tasks t ON t.company_id = w.company_id AND t.id = w.id";
const IMPORTED: &str = "SELECT e.id, e.document, b.sent, b.body FROM hookmill.events e \
     LEFT JOIN hookmill.event_bodies b ON b.company_id = e.company_id AND b.id = e.id AND b.id >= $2 AND b.id <= $3 \
     WHERE e.company_id = ANY($4) AND e.id = ANY($1) AND e.id >= $2 AND e.id <= $3";

fn split(ids: &BTreeSet<Id>) -> (Vec<&str>, Vec<Uuid>) {
    ids.iter().map(|(company, id)| (company.as_str(), *id)).unzip()
}

pub(in crate::store::postgres) fn company(text: &str) -> Option<CompanyId> {
    CompanyId::parse(text).ok()
}

fn erasure(row: &Row) -> Option<KnownErasure> {
    let patient = Patient::new(company(row.get(0))?, &shown(row.get(1)))?.any_leading_zeros(row.get(2));
    Some(KnownErasure { patient, at: row.get(3) })
}

fn known_answer(row: &Row) -> Option<(AnswerKey, KnownAnswer)> {
    let key = AnswerKey { company: row.get(0), kind: row.get(1), name: row.get::<_, &[u8]>(2).try_into().ok()? };
    let document: Option<&str> = row.get(9);
    let event = document.and_then(|it| serde_json::from_str::<EventDocument>(it).ok());
    let may_come_again = event.is_some_and(|it| it.whole(SentParts::default(), Bytes::new()).may_come_again());
    Some((key, KnownAnswer { first: first_answer(row, 3)?, may_come_again }))
}

/// Reads a response from the columns fingerprint, at, refused, event_id, head and body, from this one on.
pub(in crate::store::postgres) fn first_answer(row: &Row, from: usize) -> Option<FirstAnswer> {
    Some(FirstAnswer {
        fingerprint: row.get::<_, &[u8]>(from).try_into().ok()?,
        at: row.get(from + 1),
        refused: row.get(from + 2),
        event_id: row.get::<_, Option<Uuid>>(from + 3).map(crate::model::ids::EventId),
        head: Bytes::copy_from_slice(row.get(from + 4)),
        body: Bytes::copy_from_slice(row.get(from + 5)),
    })
}

/// Reads a task from its document.
pub(in crate::store::postgres) fn task(document: &str) -> Result<Task, StoreError> {
    serde_json::from_str::<TaskDocument>(document).map(Task::from).map_err(|e| damaged("task", &e))
}

/// Reads an API key from its document.
pub(in crate::store::postgres) fn api_key(document: &str) -> Result<ApiKey, StoreError> {
    let key = serde_json::from_str::<KeyDocument>(document).map_err(|e| damaged("API key", &e))?;
    key.key().ok_or_else(|| StoreError::Damaged { what: "API key", cause: "its hash is not valid".into() })
}

/// Reads an event from the columns document, sent and body, after the first.
pub(in crate::store::postgres) fn whole_event(row: &Row) -> Result<Event, StoreError> {
    let document: EventDocument = serde_json::from_str(row.get(1)).map_err(|e| damaged("event", &e))?;
    let sent: Option<&str> = row.get(2);
    let sent =
        sent.map_or(Ok(SentParts::default()), |it| serde_json::from_str(it).map_err(|e| damaged("event", &e)))?;
    let body: Option<&[u8]> = row.get(3);
    Ok(document.whole(sent, Bytes::copy_from_slice(body.unwrap_or_default())))
}
