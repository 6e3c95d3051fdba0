//! Export, item by item.
//!
//! One transaction reads everything, so that an export is the state of one moment. It runs on the threads of the connections,
//! and is a few pages ahead of the visitor.

use std::sync::Arc;

use tokio::sync::mpsc::{self, Sender};
use tokio_postgres::{Client, Row};

use super::backend::{Postgres, on};
use super::failure;
use super::pages::{self, Range};
use super::shared::SharedDatabase;
use super::text::shown;
use super::writer::{api_key, company, first_answer, task, whole_event};
use crate::store::erasure::Patient;
use crate::store::error::StoreError;
use crate::store::item::{StoredAnswer, StoredErasure, StoredItem};

/// Number of pages that are read ahead.
const AHEAD: usize = 2;
/// Number of entries and tasks that are read at once.
const PAGE: i64 = 1000;

/// A number that the database keeps for its plans, from the last time it looked; -1 if it never has.
const COUNT: &str = "SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::int8 FROM pg_class c \
     JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'hookmill' AND c.relkind = 'r' \
     AND (c.relname IN ('tasks', 'audit', 'api_keys', 'answers') OR c.relname ~ '^events_[0-9]{8}$')";
// The visitor may be slow, and there may be much.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '15min'; \
     SET LOCAL idle_in_transaction_session_timeout = 0";
const KEYS: &str = "SELECT document FROM hookmill.api_keys ORDER BY company_id, id";
const AUDIT: &str = "DECLARE audit NO SCROLL CURSOR FOR SELECT document FROM hookmill.audit ORDER BY id DESC";
const ANSWERS: &str = "DECLARE answers NO SCROLL CURSOR FOR SELECT fingerprint, at, refused, event_id, head, body, company_id, kind, \
     name, expires_at FROM hookmill.answers ORDER BY company_id, kind, name";
const ERASURES: &str = "SELECT company_id, patient_id, leading_zeros, at FROM hookmill.erasures ORDER BY company_id, patient, leading_zeros";
const TASKS: &str = "DECLARE tasks NO SCROLL CURSOR FOR SELECT document FROM hookmill.tasks ORDER BY company_id, place";
const COMPANIES: &str = "SELECT company_id FROM hookmill.companies ORDER BY company_id";

/// Returns about how many items an export visits.
pub(super) async fn count(shared: &SharedDatabase) -> Result<u64, StoreError> {
    let client = shared.connections.read().await.map_err(failure::read)?;
    let count: i64 = client.query_one(COUNT, &[]).await.map_err(failure::read)?.get(0);
    Ok(count.unsigned_abs())
}

type Items = Vec<StoredItem>;

/// Visits everything that is stored.
pub(super) fn export(
    store: &Postgres,
    visit: &mut dyn FnMut(StoredItem) -> std::io::Result<()>,
) -> Result<(), StoreError> {
    let handle = store.handle()?;
    let (send, mut receive) = mpsc::channel::<Result<Items, StoreError>>(AHEAD);
    let shared = Arc::clone(&store.shared);
    let reading = handle.spawn(async move {
        if let Err(error) = read(&shared, &send).await {
            let _visitor_gone = send.send(Err(error)).await;
        }
    });
    while let Some(items) = on(&handle, receive.recv()) {
        for item in items? {
            visit(item).map_err(|e| StoreError::Write(format!("the export cannot be written: {e}")))?;
        }
    }
    // If reading has panicked, the end of the items is not the end of what is stored.
    on(&handle, reading).map_err(|_| StoreError::Read("the export was interrupted".into()))
}

/// Reads everything, until the visitor is gone.
async fn read(shared: &SharedDatabase, to: &Sender<Result<Items, StoreError>>) -> Result<(), StoreError> {
    let client = shared.connections.own().await.map_err(failure::read)?;
    client.batch_execute(BEGIN).await.map_err(failure::read)?;
    let erasures = client.query(ERASURES, &[]).await.map_err(failure::read)?;
    if to.send(Ok(erasures.iter().filter_map(erasure).collect())).await.is_err() {
        return Ok(());
    }
    let keys = client.query(KEYS, &[]).await.map_err(failure::read)?;
    let keys: Items = all(&keys, |row| api_key(row.get(0)).map(|it| StoredItem::Key(Box::new(it))))?;
    if to.send(Ok(keys)).await.is_err() {
        return Ok(());
    }
    let entry = |row: &Row| {
        let entry = serde_json::from_str(row.get(0)).map_err(|e| failure::damaged("audit entry", &e))?;
        Ok(StoredItem::Audit(Box::new(entry)))
    };
    let one = |row: &Row| task(row.get(0)).map(|it| StoredItem::Task(Box::new(it)));
    if !cursor(&client, "audit", AUDIT, entry, to).await? || !cursor(&client, "tasks", TASKS, one, to).await? {
        return Ok(());
    }
    for row in client.query(COMPANIES, &[]).await.map_err(failure::read)? {
        let Some(company) = company(row.get(0)) else { continue };
        let mut range = Range::all(company);
        while let Some(page) = pages::next(&client, &mut range).await.map_err(failure::read)? {
            let events = all(&page.rows, |row| whole_event(row).map(|it| StoredItem::Event(Box::new(it))))?;
            if to.send(Ok(events)).await.is_err() {
                return Ok(());
            }
        }
    }
    if !cursor(&client, "answers", ANSWERS, answer, to).await? {
        return Ok(());
    }
    client.batch_execute("COMMIT").await.map_err(failure::read)
}

fn erasure(row: &Row) -> Option<StoredItem> {
    let patient = Patient::new(company(row.get(0))?, &shown(row.get(1)))?.any_leading_zeros(row.get(2));
    Some(StoredItem::Erasure(Box::new(StoredErasure { patient, at: row.get(3) })))
}

fn answer(row: &Row) -> Result<StoredItem, StoreError> {
    let damaged = || StoreError::Damaged { what: "idempotency key", cause: "a column is not valid".into() };
    let of: &str = row.get(6);
    Ok(StoredItem::Answer(Box::new(StoredAnswer {
        company: if of.is_empty() { None } else { Some(company(of).ok_or_else(damaged)?) },
        is_delivery: row.get::<_, i16>(7) == 1,
        name: row.get::<_, &[u8]>(8).try_into().map_err(|_| damaged())?,
        expires_at: row.get(9),
        first: first_answer(row, 0).ok_or_else(damaged)?,
    })))
}

/// Reads the rows of a cursor. Returns false if the visitor is gone.
async fn cursor(
    client: &Client,
    name: &str,
    declare: &str,
    item: impl Fn(&Row) -> Result<StoredItem, StoreError>,
    to: &Sender<Result<Items, StoreError>>,
) -> Result<bool, StoreError> {
    client.batch_execute(declare).await.map_err(failure::read)?;
    let fetch = format!("FETCH {PAGE} FROM {name}");
    let fetch = client.prepare(&fetch).await.map_err(failure::read)?;
    loop {
        let rows = client.query(&fetch, &[]).await.map_err(failure::read)?;
        if rows.is_empty() {
            client.batch_execute(&format!("CLOSE {name}")).await.map_err(failure::read)?;
            return Ok(true);
        }
        if to.send(Ok(all(&rows, &item)?)).await.is_err() {
            return Ok(false);
        }
    }
}

fn all(rows: &[Row], item: impl Fn(&Row) -> Result<StoredItem, StoreError>) -> Result<Items, StoreError> {
    rows.iter().map(item).collect()
}
