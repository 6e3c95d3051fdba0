//! `/console/events/tail`: events as they are stored, as server-sent events (HTML, section 9.2).
//!
//! A message has the newest events of a quarter of a second, and how many it left out. A reader that is slower gets fewer
//! messages, each with more left out; writers never wait.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, interval};
use warp::Reply as _;
use warp::http::StatusCode;
use warp::sse;

use super::super::client::target;
use super::super::page::PageCall;
use super::super::page_failure::{PageFailure, refused};
use super::super::page_reply::PageReply;
use super::super::session::{VisitorSession, is_valid};
use super::{filters, text};
use crate::auth::{AuthError, Scope};
use crate::format::payload::Rules;
use crate::http::query::QueryParameters as _;
use crate::http::query::reading::QueryReader;
use crate::http::query::routes::EventListQuery;
use crate::model::ids::EventId;
use crate::service::app::App;
use crate::service::tail::{Tail, TailEvent};
use crate::store::EventFilter;
use crate::system::text::is_unprintable;

/// Time between messages, and most events of one.
const BATCH: Duration = Duration::from_millis(250);
const MOST: usize = 100;
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
    let Some(tail) = page.app().tail.open(&company) else {
        let message = "Too many pages show events live. Close one of them.";
        return Err(PageFailure::own(StatusCode::TOO_MANY_REQUESTS, "busy", message));
    };
    // The API says whether the visitor may list these events, and has those since the last message.
    let (missed, had_more) = missed(&page).await?;
    let (to, mut from) = mpsc::channel(1);
    let sender = TailSender {
        to,
        filter,
        company,
        sees_reasons,
        missed: Vec::new(),
        waiting: VecDeque::new(),
        omitted: 0,
        lost: had_more,
        last: String::new(),
    };
    tokio::spawn(sender.run(Arc::clone(page.app()), session, tail, missed));
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
    filter: EventFilter,
    company: crate::model::company::CompanyId,
    sees_reasons: bool,
    /// Events from before the tail began, oldest first, as the script shows them.
    missed: Vec<Value>,
    /// The newest events that are not sent yet, oldest first. They are written only when they are sent: of a flood, most are
    /// left out.
    waiting: VecDeque<Arc<TailEvent>>,
    omitted: u64,
    /// Events were lost; nobody has counted how many of them pass the filter.
    lost: bool,
    /// The largest id that was sent.
    last: String,
}

impl TailSender {
    /// Sends until the reader goes, the session ends or the server stops.
    async fn run(mut self, app: Arc<App>, session: VisitorSession, mut tail: Tail, missed: Vec<Value>) {
        self.missed = missed.iter().rev().map(row).collect();
        let (began, mut sent, mut checked) = (Instant::now(), Instant::now(), Instant::now());
        let mut batches = interval(BATCH);
        batches.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = batches.tick() => {}
                () = self.to.closed() => return,
                event = tail.events.recv(), if self.is_empty() => {
                    if !self.take(event) { return; }
                    continue;
                }
            }
            loop {
                match tail.events.try_recv() {
                    Ok(event) => self.add(event),
                    Err(TryRecvError::Lagged(_)) => self.lost = true,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Closed) => return,
                }
            }
            if checked.elapsed() >= CHECK {
                checked = Instant::now();
                if began.elapsed() >= LONGEST || !is_valid(&app, &session).await {
                    let _gone = self.to.try_send(sse::Event::default().event("end").data("{}"));
                    return;
                }
            }
            let message = if !self.is_empty() || self.omitted > 0 || self.lost {
                self.message()
            } else if sent.elapsed() >= SILENCE {
                sse::Event::default().comment("still here")
            } else {
                continue;
            };
            match self.to.try_send(message) {
                Ok(()) => {
                    sent = Instant::now();
                    self.waiting.clear();
                    self.missed.clear();
                    (self.omitted, self.lost) = (0, false);
                }
                // The reader has not read the last message: what waits is in the next one.
                Err(TrySendError::Full(_)) => {}
                Err(TrySendError::Closed(_)) => return,
            }
        }
    }

    /// Takes an event; false if the server ends.
    fn take(&mut self, event: Result<Arc<TailEvent>, RecvError>) -> bool {
        match event {
            Ok(event) => self.add(event),
            Err(RecvError::Lagged(_)) => self.lost = true,
            Err(RecvError::Closed) => return false,
        }
        true
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.missed.is_empty()
    }

    fn add(&mut self, event: Arc<TailEvent>) {
        if event.company_id != self.company || !self.filter.fits(&*event) {
            return;
        }
        if self.waiting.len() == MOST {
            self.waiting.pop_front();
            self.omitted += 1;
        }
        self.waiting.push_back(event);
    }

    /// What is sent. An event that was processed since is shown once, as it is now.
    fn rows(&self) -> Vec<Value> {
        let mut seen = HashSet::new();
        let newest = self.waiting.iter().rev().filter(|it| seen.insert(it.id));
        let mut rows: Vec<Value> = newest.map(|it| row(&self.shown(it))).collect();
        let ids: HashSet<String> = rows.iter().map(|it| text(it, "id").to_owned()).collect();
        rows.extend(self.missed.iter().rev().filter(|it| !ids.contains(text(it, "id"))).cloned());
        rows.reverse();
        rows
    }

    fn shown(&self, event: &TailEvent) -> Value {
        let mut shown = json!({
            "id": event.id, "received_at": event.received_at, "integration": event.integration, "status": event.status,
            "task_ids": event.task_ids, "body_bytes": event.body_bytes,
        });
        if self.sees_reasons {
            shown["reason"] = json!(event.reason);
        }
        shown
    }

    /// The browser continues after the largest id: a replayed event must not take it back.
    fn message(&mut self) -> sse::Event {
        let rows = self.rows();
        let newest = rows.iter().map(|it| text(it, "id")).max().unwrap_or_default();
        if newest > self.last.as_str() {
            newest.clone_into(&mut self.last);
        }
        let data = json!({"events": rows, "omitted": self.omitted, "lost": self.lost}).to_string();
        let message = sse::Event::default().data(data);
        if self.last.is_empty() { message } else { message.id(&self.last) }
    }
}

/// What the script shows of an event. Nothing in it can look like something else.
fn row(event: &Value) -> Value {
    let plain = |text: &str| text.chars().filter(|it| !is_unprintable(*it)).take(200).collect::<String>();
    json!({
        "id": event["id"], "received_at": event["received_at"], "status": event["status"],
        "integration": plain(text(event, "integration")),
        "code": plain(event["reason"]["code"].as_str().unwrap_or_default()),
        "tasks": event["task_ids"].as_array().map_or(0, Vec::len),
        "size": super::super::parts::bytes(event["body_bytes"].as_u64().unwrap_or(0)),
    })
}
