//! Erases stored responses: the response to a request with an `Idempotency-Key`, or to a delivery, contains its task.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_postgres::Row;
use uuid::Uuid;

use super::apart::apart;
use super::failure::{self, Trouble};
use super::shared::SharedDatabase;
use super::writer::first_answer;
use crate::store::erasure::patient::Patient;
use crate::store::error::StoreError;

/// Body that replaces an erased response.
const ERASED: &[u8] = b"{\"erased\":true}";
/// Number of responses that are read at once.
const PAGE: i64 = 200;

const NEXT: &str = "SELECT kind, name, fingerprint, at, refused, event_id, head, body FROM hookmill.answers \
     WHERE company_id = $1 AND (kind, name) > ($2, $3) ORDER BY kind, name LIMIT $4";
const LOCK: &str = "SELECT 1 FROM hookmill.companies WHERE company_id = $1 FOR UPDATE";
const REPLACE: &str = "UPDATE hookmill.answers a SET body = $2 FROM unnest($3::int2[], $4::bytea[]) AS w (kind, name) \
     WHERE a.company_id = $1 AND a.kind = w.kind AND a.name = w.name";

/// Replaces the bodies of responses that belong to one of these events or name the patient. Status and headers remain, so that
/// a repetition is still recognized. Returns their number; with `dry_run`, nothing is changed.
pub(super) async fn erase(
    shared: &SharedDatabase,
    patient: &Arc<Patient>,
    events: BTreeSet<Uuid>,
    dry_run: bool,
) -> Result<u64, StoreError> {
    let (events, mut count) = (Arc::new(events), 0);
    // Responses to the operator are stored without a company.
    for company in ["", patient.company.as_str()] {
        let mut after = (-1_i16, Vec::<u8>::new());
        loop {
            let client = shared.connections.read().await.map_err(failure::read)?;
            let rows = client.query(NEXT, &[&company, &after.0, &after.1, &PAGE]).await.map_err(failure::read)?;
            drop(client);
            let Some(last) = rows.last() else { break };
            after = (last.get(0), last.get(1));
            let (patient, events) = (Arc::clone(patient), Arc::clone(&events));
            let names = apart(move || rows.iter().filter_map(|row| about(&patient, &events, row)).collect::<Vec<_>>());
            let (kinds, names): (Vec<i16>, Vec<Vec<u8>>) = names.await?.into_iter().unzip();
            count += kinds.len() as u64;
            if !dry_run && !kinds.is_empty() {
                replace(shared, company, &kinds, &names).await.map_err(Trouble::into_error)?;
            }
        }
    }
    Ok(count)
}

/// Returns the name of a response that concerns the patient.
fn about(patient: &Patient, events: &BTreeSet<Uuid>, row: &Row) -> Option<(i16, Vec<u8>)> {
    let first = first_answer(row, 2).filter(|it| !it.body.is_empty() && it.body != ERASED)?;
    let is_about = first.event_id.is_some_and(|id| events.contains(&id.0)) || patient.is_answered(&first.body);
    is_about.then(|| (row.get(0), row.get(1)))
}

async fn replace(shared: &SharedDatabase, company: &str, kinds: &[i16], names: &[Vec<u8>]) -> Result<(), Trouble> {
    let mut client = shared.connections.write().await?;
    let transaction = client.transaction().await?;
    // As every write does, so that no two wait for each other.
    transaction.execute(LOCK, &[&company]).await?;
    transaction.execute(REPLACE, &[&company, &ERASED, &kinds, &names]).await?;
    Ok(transaction.commit().await?)
}
