//! The problem of an `Idempotency-Key` that was used for another body: what the first request made, and what differs.
//!
//! A workflow that tries again after a lost response may compute its values again, such as the current time. The sender must
//! learn that the task exists: a new key would create it a second time.

use bytes::Bytes;
use serde_json::Value;

use super::answer::Failed;
use super::call::Call;
use super::key_conflict::KeyConflict;
use super::problem::Problem;
use crate::format::diff::differences;
use crate::format::payload;
use crate::format::schema::cut;
use crate::model::company::CompanyId;
use crate::model::event::Event;

/// Most places that are named.
const NAMED: usize = 5;
/// Most items of a batch that are compared.
const COMPARED: usize = 100;
/// Most tasks that are named.
const TASKS: usize = 100;

/// A body as it was sent, or one item of a batch.
pub(super) struct ComparedBody<'a> {
    pub(super) content_type: Option<&'a str>,
    pub(super) body: &'a Bytes,
}

/// How the route decodes a body.
pub(super) trait Reads: Fn(Option<&str>, &Bytes) -> Option<Value> + Sync {}

impl<F: Fn(Option<&str>, &Bytes) -> Option<Value> + Sync> Reads for F {}

/// Adds to a conflict what differs, and which tasks the first request made. Other problems stay as they are.
pub(super) async fn explained(
    mut failed: Failed,
    call: &Call,
    company: &CompanyId,
    sent: &[ComparedBody<'_>],
    read: impl Reads,
) -> Failed {
    if let Problem::IdempotencyConflict(conflict) = &mut failed.problem {
        compare(conflict, call, company, sent, &read).await;
    }
    failed
}

/// Compares what was sent, item by item, with what the first request's events have stored. Without items, a batch could not
/// be read.
async fn compare(
    conflict: &mut KeyConflict,
    call: &Call,
    company: &CompanyId,
    sent: &[ComparedBody<'_>],
    read: &impl Reads,
) {
    let mut differs = Vec::new();
    let mut known = false;
    for (index, id) in conflict.events.iter().take(COMPARED).enumerate() {
        let Ok(Some(event)) = call.app.store.event(company, *id).await else { continue };
        if event.erased_at.is_some() {
            continue;
        }
        conflict.task_ids.extend(event.task_ids.iter().take(TASKS.saturating_sub(conflict.task_ids.len())));
        if sent.is_empty() {
            continue;
        }
        let place = if conflict.is_batch { format!("/{index}") } else { String::new() };
        match sent.get(index) {
            None => differs.push(place),
            Some(_) if differs.len() > NAMED => {}
            Some(sent) => {
                let Some(found) = places(call, &event, sent, read) else { continue };
                let named =
                    |pointer: String| cut(&if conflict.is_batch { format!("{place}{pointer}") } else { name(pointer) });
                differs.extend(found.into_iter().map(named));
            }
        }
        known = true;
    }
    if known && conflict.is_batch && conflict.events.len() <= COMPARED && sent.len() > conflict.events.len() {
        differs.push(format!("/{}", conflict.events.len()));
    }
    conflict.more = differs.len().saturating_sub(NAMED);
    differs.truncate(NAMED);
    conflict.differs = known.then_some(differs);
}

/// JSON Pointers of the places that differ; `None` if one of the two cannot be read.
fn places(call: &Call, event: &Event, sent: &ComparedBody<'_>, read: &impl Reads) -> Option<Vec<String>> {
    if event.no_body().is_some() {
        return None;
    }
    // This request's own charge covers one of the two. Without memory for the other, nothing is compared.
    let budget = &call.app.memory.decoded;
    let _charge = budget.charge(call.exchange.wire.company(), payload::weight(&event.body))?;
    let first = read(event.content_type.as_deref(), &event.body)?;
    let again = read(sent.content_type, sent.body)?;
    let found = differences(&first, &again).shown;
    Some(found.into_iter().map(|it| it.pointer).collect())
}

/// `deadline` for `/deadline`; a nested place stays a pointer.
fn name(pointer: String) -> String {
    match pointer.strip_prefix('/') {
        Some(name) if !name.contains('/') => name.replace("~1", "/").replace("~0", "~"),
        _ => pointer,
    }
}
