//! Stored events with the tasks that they created.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_postgres::Row;
use uuid::Uuid;

use super::backend::on;
use super::failure::{self, Trouble};
use super::pages::{self, Range};
use super::shared::SharedDatabase;
use super::text::stored;
use super::writer::{task, whole_event};
use crate::store::error::StoreError;
use crate::store::history::{EventHistory, Packed, Past, Wanted};
use crate::store::id_time::first_id;

/// The events of the database.
#[derive(Debug)]
pub(super) struct History {
    shared: Arc<SharedDatabase>,
    handle: Handle,
}

impl History {
    pub(super) fn new(shared: Arc<SharedDatabase>, handle: Handle) -> Self {
        Self { shared, handle }
    }
}

const COUNT: &str = "SELECT count(*) FROM hookmill.events WHERE company_id = $1 AND id >= $2 AND id < $3 \
     AND id >= (SELECT events_from FROM hookmill.installation)";
const NEWEST: &str = "SELECT id FROM hookmill.events WHERE company_id = $1 ORDER BY id DESC LIMIT 1";
const FROM: &str = "SELECT events_from FROM hookmill.installation";
/// The tasks of events, as they were created.
const TASKS: &str =
    "SELECT id, coalesce(original, document) FROM hookmill.tasks WHERE company_id = $1 AND id = ANY($2)";

impl EventHistory for History {
    /// All of the company's events in this time, as [`Self::read`] examines them all.
    fn events(&self, wanted: &Wanted) -> u64 {
        let range = range(wanted);
        let counted = on(&self.handle, async {
            let client = self.shared.connections.read().await?;
            let row = client.query_one(COUNT, &[&range.company.as_str(), &range.from, &range.until]).await?;
            Ok::<i64, Trouble>(row.get(0))
        });
        counted.map_or(0, i64::unsigned_abs)
    }

    fn read(&self, wanted: &Wanted, visit: &mut dyn FnMut(u64, Packed) -> bool) -> Result<(), StoreError> {
        let mut range = range(wanted);
        on(&self.handle, bound(&self.shared, &mut range)).map_err(failure::read)?;
        let mut examined = 0;
        while let Some(page) = on(&self.handle, next(&self.shared, &mut range)).map_err(failure::read)? {
            examined += page.examined;
            if page.events.is_empty() {
                continue;
            }
            let (events, tasks) = (page.events, page.tasks);
            let packed = Packed::new(events.len(), move || Ok(unpack(&events, &tasks)));
            if !visit(std::mem::take(&mut examined), packed) {
                break;
            }
        }
        Ok(())
    }
}

fn range(wanted: &Wanted) -> Range {
    let Wanted { company, integration, since, until } = wanted;
    Range {
        company: company.clone(),
        integration: Some(stored(integration).into_owned()),
        from: since.map_or(Uuid::nil(), first_id),
        until: until.map_or(Uuid::max(), first_id),
        expired: false,
    }
}

/// Limits the range to events that exist now, so that reading ends while others are received, and have not expired.
async fn bound(shared: &SharedDatabase, range: &mut Range) -> Result<(), Trouble> {
    let client = shared.connections.read().await?;
    let newest: Option<Uuid> = client.query_opt(NEWEST, &[&range.company.as_str()]).await?.map(|row| row.get(0));
    let end = newest.map_or(Uuid::nil(), |it| Uuid::from_u128(it.as_u128().saturating_add(1)));
    range.until = range.until.min(end);
    range.from = range.from.max(client.query_one(FROM, &[]).await?.get(0));
    Ok(())
}

/// A page of events, and their tasks.
struct PageOfPast {
    examined: u64,
    events: Vec<Row>,
    tasks: Vec<Row>,
}

async fn next(shared: &SharedDatabase, range: &mut Range) -> Result<Option<PageOfPast>, Trouble> {
    let client = shared.connections.read().await?;
    let Some(page) = pages::next(&client, range).await? else { return Ok(None) };
    let ids: Vec<Uuid> = page.rows.iter().flat_map(|row| task_ids(row.get(1))).collect();
    let tasks = if ids.is_empty() { Vec::new() } else { client.query(TASKS, &[&range.company.as_str(), &ids]).await? };
    Ok(Some(PageOfPast { examined: page.examined, events: page.rows, tasks }))
}

/// Returns the tasks that an event names. Of a damaged one there are none.
fn task_ids(document: &str) -> Vec<Uuid> {
    #[derive(serde::Deserialize)]
    struct CreatedTasks {
        task_ids: Vec<Uuid>,
    }
    serde_json::from_str::<CreatedTasks>(document).map(|it| it.task_ids).unwrap_or_default()
}

/// Decodes events with their tasks. Damaged ones are left out.
fn unpack(events: &[Row], tasks: &[Row]) -> Vec<Past> {
    let documents: HashMap<Uuid, &str> = tasks.iter().map(|row| (row.get(0), row.get(1))).collect();
    let past = |row: &Row| {
        let event = whole_event(row).ok()?;
        let tasks = event.task_ids.iter().filter_map(|id| task(documents.get(&id.0)?).ok());
        let tasks = tasks.filter(|it| it.event_id == event.id).collect();
        Some(Past { event, tasks })
    };
    events.iter().filter_map(past).collect()
}
