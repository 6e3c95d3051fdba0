//! `/console/events/tail`: events as they are stored, as server-sent events (HTML, section 9.2).
//!
//! A message has the newest events of a quarter of a second, and how many it left out. A reader that is slower gets fewer
//! messages, each with more left out.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use warp::Reply as _;
use warp::http::StatusCode;
use warp::sse;

use super::super::client::target;
use super::super::page::PageCall;
use super::super::page_failure::{PageFailure, refused};
use super::super::page_reply::PageReply;
use super::filters;
use super::store_looks::StoreLooks;
use super::tail_sender::TailSender;
use crate::auth::{AuthError, Scope};
use crate::format::payload::Rules;
use crate::http::query::QueryParameters as _;
use crate::http::query::reading::QueryReader;
use crate::http::query::routes::EventListQuery;
use crate::store::EventFilter;

/// `GET /console/events/tail`, with the filters of the list. Its first message has the newest events as they are stored.
pub(in super::super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    let (Some(session), Some(company)) = (page.session().cloned(), page.who.company.clone()) else {
        let message = "Choose a company first.";
        return Err(PageFailure::own(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message));
    };
    let sees_reasons = page.who.can(Scope::Admin) || page.who.can(Scope::EventsRead);
    let filter = filter(&page)?;
    if (!filter.reason.is_empty() || filter.repeats.is_some()) && !sees_reasons {
        return Err(refused(AuthError::Scope(Scope::EventsRead).into()));
    }
    // The API says whether the visitor may list these events.
    let set = filters::set(&page);
    let query = set.iter().map(|(name, value)| (*name, Some(value.as_str()))).chain([("limit", Some("1"))]);
    page.client.get(&target("/v1/events", query)).await?;
    let Some(tail) = page.app().tail.open(&company, filter) else {
        let message = "Too many pages show events live. Close one of them.";
        return Err(PageFailure::own(StatusCode::TOO_MANY_REQUESTS, "busy", message));
    };
    let (to, mut from) = mpsc::channel(1);
    let sender = TailSender { to, sees_reasons, looks: StoreLooks::new() };
    tokio::spawn(sender.run(Arc::clone(page.app()), session, tail));
    let stream = futures_util::stream::poll_fn(move |cx| from.poll_recv(cx)).map(Ok::<_, Infallible>);
    let response = sse::reply(stream).into_response();
    Ok(PageReply::stream(response).with("x-accel-buffering", "no").with("connection", "close"))
}

/// The filters of the query. A search in payloads has no tail.
fn filter(page: &PageCall) -> Result<EventFilter, PageFailure> {
    let rules = Rules::default();
    let mut reader = QueryReader::new(&page.call().query, &rules, EventListQuery::PARAMETERS);
    let query = EventListQuery::take(&mut reader);
    reader.end().map_err(|it| refused(it.into()))?;
    Ok(query.filter())
}
