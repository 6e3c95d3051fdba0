//! The feed of a company's changes: each task once, at its last change, in the order of the journal.
//!
//! A cursor says where a client is (`last`), and which deletions it cannot need (`floor`): a task that was deleted before the
//! client began to read was never shown to it. Purging removes a deletion from the feed. A client that was to read it later
//! would miss it, so its cursor expires, and it reads everything again.

use serde::{Deserialize, Serialize};

use super::index::Company;
use super::last_change::LastChange;
use super::list::page;
use super::record::damaged;
use super::shared::SharedStore;
use crate::model::company::CompanyId;
use crate::model::ids::TaskId;
use crate::store::error::StoreError;
use crate::store::feed::{ChangeFeed, FeedCursor, FeedPage};

/// What a cursor holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Position {
    lineage: u64,
    /// The sequence up to which changes were in the view when the client began.
    floor: u64,
    /// The last change that the client has.
    last: Option<LastChange>,
}

impl Position {
    fn of(cursor: &FeedCursor) -> Option<Self> {
        postcard::from_bytes(cursor.bytes()).ok()
    }

    fn cursor(&self) -> Result<FeedCursor, StoreError> {
        postcard::to_stdvec(self).map(|it| FeedCursor::new(&it)).map_err(|e| StoreError::Read(e.to_string()))
    }

    /// Whether a deletion that the client has not read may be missing from the feed.
    fn has_missed(&self, purged: Option<LastChange>) -> bool {
        purged > self.last.max(Some(LastChange { sequence: self.floor, row: u32::MAX }))
    }
}

/// The changes of a page that is not read yet.
struct Behind {
    changes: Vec<LastChange>,
    more: bool,
}

/// The changes after this cursor, or from the first one on: at most so many.
pub(super) fn feed(
    shared: &SharedStore,
    company: &CompanyId,
    after: Option<&FeedCursor>,
    limit: usize,
) -> Result<ChangeFeed, StoreError> {
    // Before the index is read, so that the view has all of it.
    let floor = shared.applied();
    let position = match after.map(Position::of) {
        None => Position { lineage: shared.lineage, floor, last: None },
        Some(Some(it)) if it.lineage == shared.lineage && it.last.is_none_or(|at| at.sequence <= floor) => it,
        Some(_) => return Ok(ChangeFeed::Expired),
    };
    let found = page(shared, company, &|tasks| find(tasks, &position, limit, after.is_some()))?;
    let Some((tasks, behind)) = found else { return at_end(after, &position) };
    let Some(behind) = behind else { return Ok(ChangeFeed::Expired) };
    let Some(last) = tasks.len().checked_sub(1).and_then(|at| behind.changes.get(at)) else {
        return at_end(after, &position);
    };
    let floor = if last.sequence > position.floor { 0 } else { position.floor };
    let next = Position { floor, last: Some(*last), ..position }.cursor()?;
    let has_more = behind.more || tasks.len() < behind.changes.len();
    Ok(ChangeFeed::Page(FeedPage { tasks, next, has_more }))
}

/// No change: the same cursor, so that a client that polls may keep it.
fn at_end(after: Option<&FeedCursor>, position: &Position) -> Result<ChangeFeed, StoreError> {
    let next = after.cloned().map_or_else(|| position.cursor(), Ok)?;
    Ok(ChangeFeed::Page(FeedPage { tasks: Vec::new(), next, has_more: false }))
}

/// None where the position has expired, which the beginning does not.
fn find(
    tasks: &Company,
    position: &Position,
    limit: usize,
    has_begun: bool,
) -> Result<(Vec<TaskId>, Option<Behind>), StoreError> {
    let order = tasks.order();
    if has_begun && position.has_missed(order.purged()) {
        return Ok((Vec::new(), None));
    }
    let mut after = order.after(position.last);
    let changes: Vec<_> = after.by_ref().take(limit).collect();
    let id = |it: &LastChange| tasks.id(it.row).map(TaskId).ok_or_else(|| damaged("index", &"a row without a task"));
    let ids = changes.iter().map(id).collect::<Result<_, _>>()?;
    Ok((ids, Some(Behind { changes, more: after.next().is_some() })))
}
