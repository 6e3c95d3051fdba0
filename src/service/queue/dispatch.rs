//! The queue of deliveries that were acknowledged before they were processed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use super::held::KnownDepth;
use super::lanes::Lanes;
use super::waiting::{Place, Waiting};
use super::work::Work;
use crate::integration::{Found, Integration, Received};
use crate::limits::shares::{Rule, Shares, UsedUp};
use crate::metrics::queue::{InQueue, QUEUE};
use crate::model::company::CompanyId;
use crate::model::event::Event;
use crate::model::ids::{EventId, IntegrationName};
use crate::pipeline::{Pipeline, QueuedEvent};
use crate::store::StoreError;

/// The queued events, by integration.
pub struct Queue {
    room: Arc<Shares>,
    dispatchers: Mutex<HashMap<IntegrationName, Dispatcher>>,
    pub(super) next: AtomicUsize,
    pub(super) work: Arc<Work>,
    /// Maximum number of queued events.
    most: usize,
    /// Numbers of queued events in a store that servers share.
    depth: Option<KnownDepth>,
}

#[derive(Debug)]
struct Dispatcher {
    waiting: UnboundedSender<Waiting>,
    task: AbortHandle,
}

impl Queue {
    /// Creates a queue with at most `most` places, divided among companies and their integrations. `in_flight` are
    /// the places for requests, of which there are `concurrency`.
    #[must_use]
    pub fn new(most: usize, pipeline: Arc<Pipeline>, in_flight: Arc<Semaphore>, concurrency: usize) -> Self {
        let room = Shares::new(most, Rule::PLACES);
        let depth = pipeline.store.cluster().map(|it| KnownDepth(it.depth(most)));
        let work = Arc::new(Work { pipeline, in_flight, concurrency, unreadable: AtomicU64::new(0) });
        Self { room, dispatchers: Mutex::default(), next: AtomicUsize::new(0), work, most, depth }
    }

    /// Takes a place for an integration of a company.
    ///
    /// # Errors
    /// Whose share of the queue is used up.
    pub fn place(&self, company: &CompanyId, name: &IntegrationName) -> Result<Place, UsedUp> {
        if let Some(depth) = &self.depth {
            depth.has_room(self.most, company)?;
        }
        self.room.take(company, name, 1)
    }

    /// Returns the number of queued events of all servers, as of a moment ago; `None` if this one is alone.
    #[must_use]
    pub fn stored(&self) -> Option<u64> {
        self.depth.as_ref().map(|it| it.0.borrow().all)
    }

    /// Returns the number of events that were set aside since the start because they cannot be processed.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.work.unreadable.load(Ordering::Relaxed)
    }

    /// Queues an event that is durable already. Where servers share the store, whichever is free claims it.
    pub fn push(self: &Arc<Self>, integration: &Integration, received: &Received, place: Option<Place>) {
        if self.depth.is_some() {
            return;
        }
        let (raw, number) = (received.raw(), Some(self.number(integration, received)));
        let counted = counted(&integration.name, raw.id);
        let event = QueuedEvent { company: raw.company_id.clone(), id: raw.id, claim: None, is_absent: true };
        let waiting =
            Waiting { event, number, room: place, unread: false, interrupted: None, _held: None, _counted: counted };
        self.dispatch(&integration.name, waiting);
    }

    fn number(&self, integration: &Integration, received: &Received) -> usize {
        integration.order_key(received).map_or_else(|| self.next.fetch_add(1, Ordering::Relaxed), number)
    }

    pub(super) fn dispatch(self: &Arc<Self>, name: &IntegrationName, waiting: Waiting) {
        let mut all = self.all();
        let dispatcher = all.entry(name.clone()).or_insert_with(|| Dispatcher::start(self, name));
        if dispatcher.waiting.send(waiting).is_err() {
            tracing::error!(integration = %name, "a dispatcher has ended; its queued events are processed after a restart");
        }
    }

    /// Resumes the events that were queued when the server was stopped. Unreadable ones are retried by a lane of
    /// their own.
    ///
    /// # Errors
    /// Fails if the list of queued events cannot be read.
    pub async fn resume(self: &Arc<Self>) -> Result<(), StoreError> {
        let waiting = self.work.pipeline.store.queued().await?;
        if !waiting.is_empty() {
            tracing::info!(events = waiting.len(), "events that were queued before the restart are resumed");
        }
        for (company, id) in waiting {
            match self.work.pipeline.store.event(&company, id).await {
                Ok(Some(event)) => self.take_up(company, &event),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, event.id = %id, "a queued event cannot be read yet");
                    let name = IntegrationName("unknown".into());
                    let room = self.place(&company, &name).ok();
                    let counted = counted(&name, id);
                    let event = QueuedEvent { company, id, claim: None, is_absent: true };
                    let waiting = Waiting {
                        event,
                        number: None,
                        room,
                        unread: true,
                        interrupted: None,
                        _held: None,
                        _counted: counted,
                    };
                    self.dispatch(&name, waiting);
                }
            }
        }
        Ok(())
    }

    fn take_up(self: &Arc<Self>, company: CompanyId, event: &Event) {
        let live = self.work.pipeline.registry.get(&event.integration.0);
        let number = live.map(|it| self.number(&it, &Received::new(event.raw())));
        let room = self.place(&company, &event.integration).ok();
        let counted = counted(&event.integration, event.id);
        let name = &event.integration;
        let event = QueuedEvent { company, id: event.id, claim: None, is_absent: true };
        self.dispatch(
            name,
            Waiting { event, number, room, unread: false, interrupted: None, _held: None, _counted: counted },
        );
    }

    /// Stops all processing. Queued events remain in the store.
    pub fn stop(&self) {
        // A dispatcher's lanes end with it.
        self.all().drain().for_each(|(_, it)| it.task.abort());
    }

    fn all(&self) -> MutexGuard<'_, HashMap<IntegrationName, Dispatcher>> {
        self.dispatchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts an event in the queue. Its age comes from its id.
pub(super) fn counted(name: &IntegrationName, id: EventId) -> InQueue {
    let (seconds, nanos) = id.0.get_timestamp().map_or((0, 0), |it| it.to_unix());
    let millis = i64::try_from(seconds).unwrap_or(0).saturating_mul(1000) + i64::from(nanos / 1_000_000);
    QUEUE.enter(&name.0, millis)
}

fn number(key: String) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() >> 1).unwrap_or(0)
}

impl Dispatcher {
    fn start(queue: &Arc<Queue>, name: &IntegrationName) -> Self {
        let (waiting, next) = unbounded_channel();
        let (queue, name, changes) = (Arc::clone(queue), name.clone(), queue.work.pipeline.registry.changes());
        let dispatching = Dispatching { lanes: Lanes::none(), queue, name, next, changes };
        Self { waiting, task: tokio::spawn(dispatching.run()).abort_handle() }
    }
}

struct Dispatching {
    queue: Arc<Queue>,
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

    /// Passes an event to its lane as soon as the lane is known.
    async fn hand_on(&mut self, waiting: Waiting) {
        let found = loop {
            self.changes.mark_unchanged();
            match self.queue.work.pipeline.registry.find(&self.name.0) {
                Found::Loading if waiting.event.claim.is_none() => drop(self.changes.changed().await),
                Found::Loading => break None,
                Found::Live(integration) => break Some(integration),
                Found::Unknown => break None,
            }
        };
        // If the integration is gone, one lane is enough: it sets many events aside at a time.
        let wanted = found.as_ref().map_or(1, |it| Lanes::of(&it.limits));
        self.lanes.become_as_many_as(wanted, &self.queue.work, &self.name).await;
        let number = match (waiting.number, &found) {
            (Some(number), _) => number,
            (None, Some(integration)) => self.number(integration, &waiting).await,
            (None, None) => 0,
        };
        self.lanes.put(number, waiting);
    }

    async fn number(&self, integration: &Integration, waiting: &Waiting) -> usize {
        let (store, queue) = (&self.queue.work.pipeline.store, &self.queue);
        if integration.later.order_by.is_none() {
            return queue.next.fetch_add(1, Ordering::Relaxed);
        }
        // Read only for its ordering key, so bodies are not kept in memory. If it cannot be read, the lane retries.
        let event = store.event(&waiting.event.company, waiting.event.id).await.ok().flatten();
        event.map_or(0, |it| queue.number(integration, &Received::new(it.raw())))
    }

    /// Returns whether the integration is gone and has no queued events.
    async fn is_over(&mut self) -> bool {
        let gone = matches!(self.queue.work.pipeline.registry.find(&self.name.0), Found::Unknown);
        if !gone || !self.next.is_empty() {
            return false;
        }
        self.lanes.end().await;
        let mut all = self.queue.all();
        // With the lock that pushes take, so no event can be added in between.
        let over = self.next.is_empty();
        if over {
            all.remove(&self.name);
        }
        over
    }
}
