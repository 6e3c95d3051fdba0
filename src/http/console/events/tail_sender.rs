//! What sends the messages of a live tail.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval};
use warp::sse;

use super::super::session::{VisitorSession, is_valid};
use super::stored_events::StoredEvents;
use super::tail_row::TailRow;
use super::watched::WatchedEvents;
use crate::model::ids::EventId;
use crate::service::app::App;
use crate::service::tail::{NewestEvents, Tail};

/// Time between messages.
const BATCH: Duration = Duration::from_millis(250);
/// A comment is sent after this silence, so that proxies keep the connection.
const SILENCE: Duration = Duration::from_secs(15);
/// How often the session and its key are checked.
const CHECK: Duration = Duration::from_secs(5);
/// A tail ends after this time, even if its session goes on.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// What sends a tail's messages.
pub(super) struct TailSender {
    to: mpsc::Sender<sse::Event>,
    sees_reasons: bool,
    /// Events from before the tail began, oldest first.
    missed: Vec<TailRow>,
    /// More events than those were missed.
    lost: bool,
    /// The largest id that was sent.
    last: Option<EventId>,
    watched: WatchedEvents,
}

#[derive(Serialize)]
struct TailMessage {
    /// Oldest first.
    events: Vec<TailRow>,
    omitted: u64,
    lost: bool,
}

impl TailSender {
    pub(super) fn new(to: mpsc::Sender<sse::Event>, sees_reasons: bool, stored: StoredEvents) -> Self {
        let StoredEvents { newest, shown, lost } = stored;
        let watched = WatchedEvents::new(newest.iter().map(|it| (it.id, it.status)));
        let missed = newest.into_iter().filter(|it| shown.is_some_and(|shown| it.id > shown)).collect();
        Self { to, sees_reasons, missed, lost, last: None, watched }
    }

    /// Sends until the reader goes, the session ends or the server stops.
    pub(super) async fn run(mut self, app: Arc<App>, session: VisitorSession, tail: Tail) {
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
            self.watched.changed(&*app.store, &tail).await.iter().for_each(|it| tail.show(it));
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
        message.events.iter().for_each(|it| self.watched.show(it.id, it.status));
        self.last = self.last.max(message.events.iter().map(|it| it.id).max());
        let event = sse::Event::default().data(serde_json::to_string(&message).unwrap_or_default());
        match self.last {
            Some(last) => event.id(last.to_string()),
            None => event,
        }
    }
}
