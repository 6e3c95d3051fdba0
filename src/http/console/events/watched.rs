//! Events that a live tail has shown, and that other servers may process: nothing tells this server about it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::event::{Event, EventStatus};
use crate::model::ids::EventId;
use crate::service::tail::Tail;
use crate::store::Store;

/// How often other servers' changes are looked for.
const LOOK: Duration = Duration::from_secs(2);
/// Most events that are looked at.
const MOST: usize = 100;

/// The newest events that a page shows, with the status that it shows.
pub(super) struct WatchedEvents {
    shown: VecDeque<(EventId, EventStatus)>,
    looked: Instant,
}

impl WatchedEvents {
    /// Events in the order in which they were stored.
    pub(super) fn new(shown: impl IntoIterator<Item = (EventId, EventStatus)>) -> Self {
        let mut watched = Self { shown: VecDeque::new(), looked: Instant::now() };
        shown.into_iter().for_each(|(id, status)| watched.show(id, status));
        watched
    }

    /// Notes what the page shows now.
    pub(super) fn show(&mut self, id: EventId, status: EventStatus) {
        self.shown.retain(|it| it.0 != id);
        if self.shown.len() == MOST {
            self.shown.pop_front();
        }
        self.shown.push_back((id, status));
    }

    /// From time to time, returns the events with another status than the page shows. With a store that has one server, there
    /// are none: the tail has all changes.
    pub(super) async fn changed(&mut self, store: &dyn Store, tail: &Tail) -> Vec<Event> {
        let Some(cluster) = store.cluster().filter(|_| self.looked.elapsed() >= LOOK && !self.shown.is_empty()) else {
            return Vec::new();
        };
        let ids = self.shown.iter().map(|it| it.0).collect();
        let read = cluster.event_states(tail.company(), ids).await;
        self.looked = Instant::now();
        let mut changed = read.unwrap_or_else(|error| {
            tracing::debug!(cause = %error, "a live tail cannot look for what other servers have processed");
            Vec::new()
        });
        changed.retain(|event| self.shown.iter().any(|(id, status)| *id == event.id && *status != event.status));
        changed
    }
}
