//! Events that a live tail begins with.

use super::super::client::target;
use super::super::page::PageCall;
use super::super::page_failure::PageFailure;
use super::filters;
use super::tail_row::TailRow;
use crate::model::ids::EventId;

/// What was stored before a tail began.
pub(super) struct StoredEvents {
    /// The newest events, oldest first.
    pub(super) newest: Vec<TailRow>,
    /// The page shows events up to this one; `None` if it does not say.
    pub(super) shown: Option<EventId>,
    /// There are older events that it does not show.
    pub(super) lost: bool,
}

impl StoredEvents {
    /// Reads them with the page's filters. Fails if the visitor may not list them.
    pub(super) async fn read(page: &PageCall) -> Result<Self, PageFailure> {
        let id = |it: &str| uuid::Uuid::parse_str(it).ok().map(EventId);
        let shown = page.header("last-event-id").and_then(id).or_else(|| page.query("shown").and_then(id));
        let set = filters::set(page);
        let query = set.iter().map(|(name, value)| (*name, Some(value.as_str()))).chain([("limit", Some("100"))]);
        let listed = page.client.get(&target("/v1/events", query)).await?;
        let newest: Vec<_> =
            listed["data"].as_array().into_iter().flatten().rev().filter_map(TailRow::of_json).collect();
        let is_new = |it: &TailRow| shown.is_some_and(|shown| it.id > shown);
        let lost = newest.iter().all(is_new) && shown.is_some() && !listed["pagination"]["next_cursor"].is_null();
        Ok(Self { newest, shown, lost })
    }
}
