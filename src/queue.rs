//! Deliveries that were answered before their pipeline ran: where they are worked on, and in which order.
//!
//! What waits is in the store; here are ids only, as many as [`Queue::new`] says. Each integration has a dispatcher, which
//! hands its events to lanes (`queue/lanes.rs`): a lane works on one event after another, and events with the same
//! ordering key go into the same lane. The dispatcher waits while the integration is being loaded, starts other lanes
//! when a new version allows more or fewer calls at once, and ends when the integration is removed. What waits for an
//! integration that was removed, or has moved to another company, is quarantined without a call, and its places are given
//! back.

mod lanes;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::app::App;
use crate::auth::CompanyId;
use crate::event::{Event, EventId, IntegrationName, RawEvent, Reason};
use crate::ingest;
use crate::integration::{Found, Integration};
use crate::shares::{Rule, Share, Shares, UsedUp};
use crate::store::StoreError;
use lanes::Lanes;

/// What waits, by integration.
#[derive(Debug)]
pub struct Queue {
    room: Arc<Shares>,
    dispatchers: Mutex<HashMap<IntegrationName, Dispatcher>>,
    next: AtomicUsize,
    unreadable: AtomicU64,
}

#[derive(Debug)]
struct Dispatcher {
    waiting: UnboundedSender<Waiting>,
    task: AbortHandle,
}

/// An event that waits.
#[derive(Debug)]
struct Waiting {
    company: CompanyId,
    id: EventId,
    /// Decides about the lane: the same for all events with the same ordering key. None where the integration was not live
    /// when the event was put here.
    number: Option<usize>,
    /// None where the queue was full when the server started, and where the integration is gone.
    room: Option<Place>,
    /// It could not be read yet, so nobody knows whose it is.
    unread: bool,
}

/// A place in the queue, taken before a delivery is answered.
pub type Place = Share;

impl Queue {
    /// At most so many wait, divided among companies and their integrations.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let room = Shares::new(most, Rule::PLACES);
        let (next, unreadable) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { room, dispatchers: Mutex::default(), next, unreadable }
    }

    /// A place for an integration of a company.
    ///
    /// # Errors
    /// Whose share of the queue is used up.
    pub fn place(&self, company: &CompanyId, name: &IntegrationName) -> Result<Place, UsedUp> {
        self.room.take(company, name, 1)
    }

    /// Events that were set aside since the start, because they cannot be worked on.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// Puts an event behind the others; it is durable by now.
    pub fn push(&self, app: &Arc<App>, integration: &Integration, raw: &RawEvent, place: Option<Place>) {
        let number = Some(self.number(integration, raw));
        let waiting = Waiting { company: raw.company_id.clone(), id: raw.id, number, room: place, unread: false };
        self.dispatch(app, &integration.name, waiting);
    }

    fn number(&self, integration: &Integration, raw: &RawEvent) -> usize {
        integration.order_key(raw).map_or_else(|| self.next.fetch_add(1, Ordering::Relaxed), number)
    }

    fn dispatch(&self, app: &Arc<App>, name: &IntegrationName, waiting: Waiting) {
        let mut all = self.all();
        let dispatcher = all.entry(name.clone()).or_insert_with(|| Dispatcher::start(app, name));
        if dispatcher.waiting.send(waiting).is_err() {
            tracing::error!(integration = %name, "a dispatcher has ended; what waits for it is worked on after a restart");
        }
    }

    /// Takes up what waited when the server was stopped. What cannot be read is tried again by a lane of its own.
    ///
    /// # Errors
    /// Where the list of it cannot be read.
    pub async fn resume(&self, app: &Arc<App>) -> Result<(), StoreError> {
        let waiting = app.store.queued().await?;
        if !waiting.is_empty() {
            tracing::info!(events = waiting.len(), "events that waited before the restart are taken up");
        }
        for (company, id) in waiting {
            match app.store.event(&company, id).await {
                Ok(Some(event)) => self.take_up(app, company, &event),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, event.id = %id, "a queued event cannot be read yet");
                    let name = IntegrationName("unknown".into());
                    let room = self.place(&company, &name).ok();
                    self.dispatch(app, &name, Waiting { company, id, number: None, room, unread: true });
                }
            }
        }
        Ok(())
    }

    fn take_up(&self, app: &Arc<App>, company: CompanyId, event: &Event) {
        let live = app.registry.get(&event.integration.0);
        let number = live.map(|it| self.number(&it, &event.raw()));
        let room = self.place(&company, &event.integration).ok();
        let waiting = Waiting { company, id: event.id, number, room, unread: false };
        self.dispatch(app, &event.integration, waiting);
    }

    /// The one place where an event is given up that cannot be worked on. One that is damaged is quarantined without what
    /// was sent, and one whose pipeline panics with it; what may be read later stays queued, and the next start tries it
    /// again.
    async fn set_aside(
        &self,
        app: &App,
        integration: &IntegrationName,
        (company, id): (&CompanyId, EventId),
        cause: &Cause,
    ) {
        let given_up = match cause {
            Cause::Unreadable(StoreError::Damaged { .. }) => {
                let message = format!("the stored event cannot be read: {cause}");
                let reason = Reason { stage: "queue".into(), code: "unreadable".into(), message };
                app.store.give_up(company, id, integration, reason).await.unwrap_or(false)
            }
            Cause::Unreadable(_) => false,
            Cause::Panicked => ingest::panicked(app, company, id).await.is_ok(),
        };
        self.unreadable.fetch_add(1, Ordering::Relaxed);
        let outcome = if given_up { "it is quarantined" } else { "it stays queued until the next start" };
        tracing::error!(%cause, event.id = %id, outcome, "a queued event cannot be worked on");
    }

    /// Works on nothing more. What waits does so in the store.
    pub fn stop(&self) {
        // A dispatcher's lanes end with it.
        self.all().drain().for_each(|(_, it)| it.task.abort());
    }

    fn all(&self) -> MutexGuard<'_, HashMap<IntegrationName, Dispatcher>> {
        self.dispatchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an event cannot be worked on.
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Unreadable(StoreError),
    #[error("its pipeline panicked")]
    Panicked,
}

fn number(key: String) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() >> 1).unwrap_or(0)
}

impl Dispatcher {
    fn start(app: &Arc<App>, name: &IntegrationName) -> Self {
        let (waiting, next) = unbounded_channel();
        let (app, name, changes) = (Arc::clone(app), name.clone(), app.registry.changes());
        let dispatching = Dispatching { lanes: Lanes::none(), app, name, next, changes };
        Self { waiting, task: tokio::spawn(dispatching.run()).abort_handle() }
    }
}

struct Dispatching {
    app: Arc<App>,
    name: IntegrationName,
    next: UnboundedReceiver<Waiting>,
    changes: watch::Receiver<()>,
    lanes: Lanes,
}

impl Dispatching {
    async fn run(mut self) {
        loop {
            tokio::select! {
                waiting = self.next.recv() => match waiting {
                    Some(waiting) => self.hand_on(waiting).await,
                    None => return,
                },
                _changed = self.changes.changed() => {}
            }
            if self.is_over().await {
                return;
            }
        }
    }

    /// Gives an event to its lane, as soon as that can be told.
    async fn hand_on(&mut self, waiting: Waiting) {
        let found = loop {
            self.changes.mark_unchanged();
            match self.app.registry.find(&self.name.0) {
                Found::Loading => drop(self.changes.changed().await),
                Found::Live(integration) => break Some(integration),
                Found::Unknown => break None,
            }
        };
        // One lane is enough where the integration is gone: what it meets is given up many at a time.
        let wanted = found.as_ref().map_or(1, |it| Lanes::of(it.plugin.limits()));
        self.lanes.become_as_many_as(wanted, &self.app, &self.name).await;
        let number = match (waiting.number, &found) {
            (Some(number), _) => number,
            (None, Some(integration)) => self.number(integration, &waiting).await,
            (None, None) => 0,
        };
        self.lanes.put(number, waiting);
    }

    async fn number(&self, integration: &Integration, waiting: &Waiting) -> usize {
        let (store, queue) = (&self.app.store, &self.app.queue);
        if integration.later.order_by.is_none() {
            return queue.next.fetch_add(1, Ordering::Relaxed);
        }
        // Read for its ordering key only: bodies are not kept here. The lane meets what cannot be read again.
        let event = store.event(&waiting.company, waiting.id).await.ok().flatten();
        event.map_or(0, |it| queue.number(integration, &it.raw()))
    }

    /// Whether the integration is gone, and nothing waits for it.
    async fn is_over(&mut self) -> bool {
        let gone = matches!(self.app.registry.find(&self.name.0), Found::Unknown);
        if !gone || !self.next.is_empty() {
            return false;
        }
        self.lanes.end().await;
        let mut all = self.app.queue.all();
        // Under the lock that pushes take: nothing comes in between.
        let over = self.next.is_empty();
        if over {
            all.remove(&self.name);
        }
        over
    }
}
