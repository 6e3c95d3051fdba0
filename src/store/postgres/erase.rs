//! Erases what was sent of a patient.
//!
//! The erasure is registered while the company's row is locked. A write is therefore either committed before, and found by the
//! search, or it sees the erasure and stores the event as erased (`writer/decide.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use uuid::Uuid;

use super::apart::apart;
use super::failure::{self, Trouble};
use super::pages::{self, Range};
use super::partitions::day_of;
use super::shared::SharedDatabase;
use super::writer::{ErasedPatient, MutationWriter, UPSERT_ERASURE, task, whole_event};
use super::{erase_answers, vacuum};
use crate::model::ids::EventId;
use crate::store::erasure::patient::{FoundBy, Match, Patient};
use crate::store::erasure::report::{Erased, ErasedEvent, NamingTask};
use crate::store::error::StoreError;
use crate::store::id_time::received_ms;

/// Number of tasks that are read at once.
const TASKS: i64 = 500;

/// A patient's events and tasks, as found.
#[derive(Debug, Default)]
struct FoundContent {
    /// All of the patient's events: how each was found, and where.
    known: BTreeMap<Uuid, (FoundBy, BTreeSet<Match>)>,
    /// Those that are not erased yet.
    events: BTreeMap<Uuid, ErasedEvent>,
    tasks: Vec<NamingTask>,
    damaged: u64,
}

/// Erases what was sent of a patient; with `dry_run`, only reports it.
pub(super) async fn erase(
    shared: &SharedDatabase,
    writer: &MutationWriter,
    patient: Patient,
    now: DateTime<Utc>,
    dry_run: bool,
) -> Result<Erased, StoreError> {
    if !dry_run {
        begin(shared, &patient, now).await.map_err(Trouble::into_error)?;
    }
    let patient = Arc::new(patient);
    let mut found = FoundContent::default();
    search_tasks(shared, &patient, &mut found).await?;
    search_events(shared, &patient, &mut found).await?;
    let known: BTreeSet<Uuid> = found.known.keys().copied().collect();
    let days: BTreeSet<_> = found.events.keys().map(|id| day_of(*id)).collect();
    if !dry_run {
        let ids: Vec<EventId> = found.events.keys().copied().map(EventId).collect();
        writer.erase(&patient.company, &ids, now).await?;
    }
    let remembered_responses = erase_answers::erase(shared, &patient, known, dry_run).await?;
    if !dry_run {
        vacuum::vacuum(shared, &days, remembered_responses > 0).await;
    }
    let FoundContent { events, tasks, damaged, .. } = found;
    let events: Vec<ErasedEvent> = events.into_values().collect();
    let body_bytes = events.iter().map(|it| it.body_bytes).sum();
    Ok(Erased { events, body_bytes, damaged, remembered_responses, tasks })
}

const NEWEST: &str = "SELECT id FROM hookmill.events WHERE company_id = $1 ORDER BY id DESC LIMIT 1";

/// Registers the erasure. It covers all events that are stored now, even if a clock was ahead.
async fn begin(shared: &SharedDatabase, patient: &Patient, now: DateTime<Utc>) -> Result<(), Trouble> {
    let company = patient.company.as_str();
    shared.ensure_companies(&[company]).await?;
    let mut client = shared.connections.write().await?;
    let transaction = client.transaction().await?;
    transaction.execute("SELECT 1 FROM hookmill.companies WHERE company_id = $1 FOR UPDATE", &[&company]).await?;
    let newest: Option<Uuid> = transaction.query_opt(NEWEST, &[&company]).await?.map(|row| row.get(0));
    let newest = newest.and_then(|it| DateTime::from_timestamp_millis(received_ms(it)));
    let at = newest.map_or(now, |it| it.max(now));
    let ErasedPatient { name, id } = ErasedPatient::of(patient);
    transaction.execute(UPSERT_ERASURE, &[&company, &name, &id, &patient.leading_zeros, &at]).await?;
    transaction.commit().await.map_err(Trouble::from)
}

const TASKS_OF: &str =
    "SELECT id, document, original FROM hookmill.tasks WHERE company_id = $1 AND id > $2 ORDER BY id LIMIT $3";

/// Searches the company's tasks, also as they were created: an event that created a task for the patient is the patient's.
async fn search_tasks(
    shared: &SharedDatabase,
    patient: &Arc<Patient>,
    found: &mut FoundContent,
) -> Result<(), StoreError> {
    let mut after = Uuid::nil();
    loop {
        let client = shared.connections.read().await.map_err(failure::read)?;
        let rows = client.query(TASKS_OF, &[&patient.company.as_str(), &after, &TASKS]).await.map_err(failure::read)?;
        drop(client);
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.get(0);
        let patient = Arc::clone(patient);
        let look = move || rows.iter().map(|row| look_at_task(&patient, row)).collect::<Vec<_>>();
        for (naming, owned, damaged) in apart(look).await? {
            found.tasks.extend(naming);
            found.damaged += damaged;
            for (id, place) in owned {
                found.known.entry(id).or_insert_with(|| (FoundBy::Task, BTreeSet::new())).1.insert(place);
            }
        }
    }
}

type Look = (Option<NamingTask>, Vec<(Uuid, Match)>, u64);

fn look_at_task(patient: &Patient, row: &Row) -> Look {
    let documents = [row.get::<_, Option<&str>>(1), row.get(2)];
    let states: Vec<_> = documents.into_iter().map(|it| it.map(task)).collect();
    let damaged = u64::from(states.iter().flatten().any(Result::is_err));
    let present = states.first().into_iter().flatten().flatten().next();
    let naming = present.and_then(|it| NamingTask::of(patient, it));
    let owned = states.iter().flatten().flatten().filter_map(|it| Some((it.event_id.0, patient.owns_task(it)?)));
    (naming, owned.collect(), damaged)
}

/// Searches all events of the company that are still there, expired ones as well.
async fn search_events(
    shared: &SharedDatabase,
    patient: &Arc<Patient>,
    found: &mut FoundContent,
) -> Result<(), StoreError> {
    let mut range = Range { expired: true, ..Range::all(patient.company.clone()) };
    loop {
        let client = shared.connections.read().await.map_err(failure::read)?;
        let page = pages::next(&client, &mut range).await.map_err(failure::read)?;
        drop(client);
        let Some(page) = page else { return Ok(()) };
        let patient = Arc::clone(patient);
        let look = move || {
            let look = |row: &Row| {
                let event = whole_event(row).ok()?;
                let named = patient.named_in(&event);
                Some((event, named))
            };
            page.rows.iter().map(look).collect::<Vec<_>>()
        };
        for it in apart(look).await? {
            let Some((event, named)) = it else {
                found.damaged += 1;
                continue;
            };
            if let Some((how, places)) = named {
                let known = found.known.entry(event.id.0).or_insert((how, BTreeSet::new()));
                known.0 = how.min(known.0);
                known.1.extend(places);
            }
            if let Some((how, places)) = found.known.get(&event.id.0)
                && event.erased_at.is_none()
            {
                let it = ErasedEvent::of(&event, *how, places.iter().cloned().collect());
                found.events.insert(event.id.0, it);
            }
        }
    }
}
