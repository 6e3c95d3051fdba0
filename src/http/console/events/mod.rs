//! Pages about events: the list with its filters, one event, and two next to each other.

mod body;
mod compare;
mod curl;
mod filters;
mod list;
mod related;
mod show;
mod store_looks;
mod tail;
mod tail_row;
mod tail_sender;
mod timeline;

pub(super) use body::raw;
pub(super) use compare::show as compare;
pub(super) use list::show as list;
pub(super) use show::show as event;
pub(super) use tail::show as tail;

use serde_json::Value;
use uuid::Uuid;
use warp::http::StatusCode;

use super::client::{ApiClient, target};
use super::page_failure::PageFailure;
use super::parts::text;

/// An event as lists show it: without what was sent, so nothing is audited.
pub(super) async fn head(client: &ApiClient, id: &str) -> Result<Value, PageFailure> {
    let unknown = || PageFailure::own(StatusCode::NOT_FOUND, "not_found", "There is no such event, or it has expired.");
    let id = Uuid::parse_str(id).map_err(|_| unknown())?.to_string();
    // Its id says when it was received, so the list begins there.
    let (since, until) = around(&id).ok_or_else(unknown)?;
    let query = [("id", Some(id.as_str())), ("since", Some(&since)), ("until", Some(&until)), ("limit", Some("1"))];
    let mut page = client.get(&target("/v1/events", query)).await?;
    page["data"].get_mut(0).map(Value::take).ok_or_else(unknown)
}

/// The millisecond in an event's id, and the next one.
fn around(id: &str) -> Option<(String, String)> {
    let millis = i64::try_from(Uuid::parse_str(id).ok()?.as_u128() >> 80).ok()?;
    let text = |it| {
        let time = chrono::DateTime::from_timestamp_millis(it)?;
        Some(time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
    };
    Some((text(millis)?, text(millis + 1)?))
}
