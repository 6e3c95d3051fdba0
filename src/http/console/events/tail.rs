//! `/console/events/tail`: events as they are stored, as server-sent events (HTML, section 9.2).
//!
//! A message has the newest events of a quarter of a second, and how many it left out. A reader that is slower gets fewer
//! messages, each with more left out.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval};
use warp::Reply as _;
use warp::http::StatusCode;
use warp::sse;

use super::super::client::target;
use super::super::page::PageCall;
use super::super::page_failure::{PageFailure, refused};
use super::super::page_reply::PageReply;
use super::super::parts::bytes;
use super::super::session::{VisitorSession, is_valid};
use super::{filters, text};
use crate::auth::{AuthError, Scope};
use crate::format::payload::Rules;
use crate::http::query::QueryParameters as _;
use crate::http::query::reading::QueryReader;
use crate::http::query::routes::EventListQuery;
use crate::model::event::EventStatus;
use crate::model::ids::EventId;
use crate::service::app::App;
use crate::service::tail::{NewestEvents, Tail, TailEvent};
use crate::store::EventFilter;
use crate::system::text::is_unprintable;

/// Time between messages.
const BATCH: Duration = Duration::from_millis(250);
/// A comment is sent after this silence, so that proxies keep the connection.
const SILENCE: Duration = Duration::from_secs(15);
/// How often the session and its key are checked.
const CHECK: Duration = Duration::from_secs(5);
/// A tail ends after this time, even if its session goes on.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// `GET /console/events/tail`, with the filters of the list. `Last-Event-ID` continues an earlier tail.
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
    let Some(tail) = page.app().tail.open(&company, filter) else {
        let message = "Too many pages show events live. Close one of them.";
        return Err(PageFailure::own(StatusCode::TOO_MANY_REQUESTS, "busy", message));
    };
    // The API says whether the visitor may list these events, and has those since the last message.
    let (missed, had_more) = missed(&page).await?;
    let (to, mut from) = mpsc::channel(1);
    let sender = TailSender {
        to,
        sees_reasons,
        missed: missed.iter().rev().filter_map(TailRow::of_json).collect(),
        lost: had_more,
        last: None,
    };
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

/// Events that were stored after the last one that an earlier tail has shown, newest first.
/// Also whether there were more.
async fn missed(page: &PageCall) -> Result<(Vec<Value>, bool), PageFailure> {
    let last = page.header("last-event-id").and_then(|it| uuid::Uuid::parse_str(it).ok()).map(EventId);
    let set = filters::set(page);
    let query = set.iter().map(|(name, value)| (*name, Some(value.as_str())));
    let limit = if last.is_some() { "100" } else { "1" };
    let mut found = page.client.get(&target("/v1/events", query.chain([("limit", Some(limit))]))).await?;
    let events = found["data"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let Some(last) = last.map(|it| it.to_string()) else { return Ok((Vec::new(), false)) };
    let count = events.len();
    let missed: Vec<Value> = events.into_iter().filter(|it| text(it, "id") > last.as_str()).collect();
    let had_more = missed.len() == count && !found["pagination"]["next_cursor"].is_null();
    Ok((missed, had_more))
}

/// What sends a tail's messages.
struct TailSender {
    to: mpsc::Sender<sse::Event>,
    sees_reasons: bool,
    /// Events from before the tail began, oldest first.
    missed: Vec<TailRow>,
    /// More events than those were missed.
    lost: bool,
    /// The largest id that was sent.
    last: Option<EventId>,
}

/// What the script shows of an event. Nothing in it can look like something else.
#[derive(Serialize)]
struct TailRow {
    id: EventId,
    received_at: DateTime<Utc>,
    status: EventStatus,
    integration: String,
    code: String,
    tasks: usize,
    size: String,
}

#[derive(Serialize)]
struct TailMessage {
    /// Oldest first.
    events: Vec<TailRow>,
    omitted: u64,
    lost: bool,
}

impl TailRow {
    fn of(event: &TailEvent, sees_reasons: bool) -> Self {
        let reason = event.reason.as_ref().filter(|_| sees_reasons);
        Self {
            id: event.id,
            received_at: event.received_at,
            status: event.status,
            integration: plain(&event.integration.0),
            code: reason.map(|it| plain(&it.code)).unwrap_or_default(),
            tasks: event.task_ids.len(),
            size: bytes(event.body_bytes),
        }
    }

    /// An event as the API lists it.
    fn of_json(event: &Value) -> Option<Self> {
        Some(Self {
            id: EventId::deserialize(&event["id"]).ok()?,
            received_at: DateTime::deserialize(&event["received_at"]).ok()?,
            status: EventStatus::deserialize(&event["status"]).ok()?,
            integration: plain(text(event, "integration")),
            code: plain(event["reason"]["code"].as_str().unwrap_or_default()),
            tasks: event["task_ids"].as_array().map_or(0, Vec::len),
            size: bytes(event["body_bytes"].as_u64().unwrap_or(0)),
        })
    }
}

impl TailSender {
    /// Sends until the reader goes, the session ends or the server stops.
    async fn run(mut self, app: Arc<App>, session: VisitorSession, tail: Tail) {
        let to = self.to.clone();
        let (began, mut sent, mut checked) = (Instant::now(), Instant::now(), Instant::now());
        let mut batches = interval(BATCH);
        batches.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = batches.tick() => {}
                () = to.closed() => return,
            }
            if tail.has_ended() {
                return;
            }
            if checked.elapsed() >= CHECK {
                checked = Instant::now();
                if began.elapsed() >= LONGEST || !is_valid(&app, &session).await {
                    let _gone = to.try_send(sse::Event::default().event("end").data("{}"));
                    return;
                }
            }
            // Until the reader has read the last message, the tail keeps what is new.
            let Ok(place) = to.try_reserve() else { continue };
            let newest = tail.take();
            let message = if !newest.events.is_empty() || !self.missed.is_empty() || self.lost {
                self.message(&newest)
            } else if sent.elapsed() >= SILENCE {
                sse::Event::default().comment("still here")
            } else {
                continue;
            };
            place.send(message);
            sent = Instant::now();
        }
    }

    /// What is sent. An event that was processed since is shown once, as it is now.
    fn rows(&mut self, newest: &NewestEvents) -> Vec<TailRow> {
        let mut seen = HashSet::new();
        let events = newest.events.iter().rev().filter(|it| seen.insert(it.id));
        let mut rows: Vec<TailRow> = events.map(|it| TailRow::of(it, self.sees_reasons)).collect();
        rows.extend(self.missed.drain(..).rev().filter(|it| !seen.contains(&it.id)));
        rows.reverse();
        rows
    }

    /// The browser continues after the largest id: a replayed event must not take it back.
    fn message(&mut self, newest: &NewestEvents) -> sse::Event {
        let message =
            TailMessage { events: self.rows(newest), omitted: newest.omitted, lost: std::mem::take(&mut self.lost) };
        self.last = self.last.max(message.events.iter().map(|it| it.id).max());
        let event = sse::Event::default().data(serde_json::to_string(&message).unwrap_or_default());
        match self.last {
            Some(last) => event.id(last.to_string()),
            None => event,
        }
    }
}

fn plain(text: &str) -> String {
    text.chars().filter(|it| !is_unprintable(*it)).take(200).collect()
}
