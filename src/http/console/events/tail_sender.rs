//! What sends the messages of a live tail.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};
use warp::sse;

use super::super::session::{VisitorSession, is_valid};
use super::store_looks::{StoreLooks, UnsentEvents};
use super::tail_row::TailRow;
use crate::model::ids::EventId;
use crate::service::app::App;
use crate::service::tail::{NewestEvents, Tail, TailEvent};

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
    pub(super) to: mpsc::Sender<sse::Event>,
    pub(super) sees_reasons: bool,
    pub(super) looks: StoreLooks,
}

#[derive(Serialize)]
struct TailMessage {
    /// Events as they are stored, which the page may show already, oldest first.
    known: Vec<TailRow>,
    /// The event before all `known` ones, if there is one.
    older: Option<EventId>,
    /// Events that were stored now, oldest first.
    events: Vec<TailRow>,
    /// How many of those were left out.
    omitted: u64,
}

impl TailSender {
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
                // If the store does not say so in time, the tail ends too, and the browser connects again.
                let Ok(is_valid) = timeout(CHECK, is_valid(&app, &session)).await else { return };
                if began.elapsed() >= LONGEST || !is_valid {
                    let _gone = to.try_send(sse::Event::default().event("end").data("{}"));
                    return;
                }
            }
            // Until the reader has read the last message, the tail keeps what is new.
            let Ok(place) = to.try_reserve() else { continue };
            let unsent = self.looks.unsent(&app, &tail).await;
            // After the look: what was stored during it is newer than what it has found.
            let newest = tail.take();
            let message = if !newest.events.is_empty() || !unsent.events.is_empty() {
                self.message(&newest, &unsent)
            } else if sent.elapsed() >= SILENCE {
                sse::Event::default().comment("still here")
            } else {
                continue;
            };
            place.send(message);
            sent = Instant::now();
        }
    }

    fn message(&mut self, newest: &NewestEvents, unsent: &UnsentEvents) -> sse::Event {
        let row = |it: &TailEvent| TailRow::of(it, self.sees_reasons);
        // An event that was processed since is shown once, as it is now.
        let mut seen = HashSet::new();
        let mut events: Vec<TailRow> =
            newest.events.iter().rev().filter(|it| seen.insert(it.id)).map(|it| row(it)).collect();
        events.reverse();
        let known = unsent.events.iter().filter(|it| !seen.contains(&it.id)).map(|it| row(&it.into())).collect();
        let message = TailMessage { known, older: unsent.older, events, omitted: newest.omitted };
        self.looks.sent(&message.known);
        self.looks.sent(&message.events);
        sse::Event::default().data(serde_json::to_string(&message).unwrap_or_default())
    }
}
