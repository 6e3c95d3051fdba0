//! Deliveries that were answered before they went through the line: who works on them, and in which order.
//!
//! What waits is in the store; here are ids only, as many as [`Queue::new`] says. Each integration has lanes of its own.
//! A lane works on one event after another, and events with the same ordering key go into the same lane.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use crate::app::App;
use crate::auth::CompanyId;
use crate::event::{EventId, IntegrationName, RawEvent};
use crate::ingest;
use crate::integration::Integration;
use crate::store::StoreError;

/// How long until an event is tried again that could not be worked on: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Lanes for each call that a plugin makes at once: most of a lane's time goes into waiting for the disk, together with
/// others.
const LANES_A_CALL: usize = 16;

/// While more requests than this are under way, whoever waits for an answer goes first: a burst is taken in before it is
/// worked on.
const BUSY: usize = 8;
/// For how long an event lets them: so many events a second and lane are worked on however busy the server is.
const PATIENCE: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_millis(5);

/// What waits, by integration and lane.
#[derive(Debug)]
pub struct Queue {
    room: Arc<Semaphore>,
    lanes: Mutex<HashMap<IntegrationName, Vec<Lane>>>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Lane {
    waiting: UnboundedSender<Waiting>,
    worker: AbortHandle,
}

struct Waiting {
    company: CompanyId,
    id: EventId,
    _room: Option<Place>,
}

/// A place in the queue, taken before a delivery is answered.
#[derive(Debug)]
pub struct Place(#[allow(dead_code, reason = "given back when it is dropped")] OwnedSemaphorePermit);

impl Queue {
    /// At most so many wait.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let room = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { room, lanes: Mutex::default(), next: AtomicUsize::new(0) }
    }

    /// A place, if there is one.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        Arc::clone(&self.room).try_acquire_owned().ok().map(Place)
    }

    /// Puts an event behind the others; it is durable by now.
    pub fn push(&self, app: &Arc<App>, integration: &Integration, raw: &RawEvent, place: Option<Place>) {
        let waiting = Waiting { company: raw.company_id.clone(), id: raw.id, _room: place };
        let number = integration.order_key(raw).map_or_else(|| self.next.fetch_add(1, Ordering::Relaxed), number);
        let mut all = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lanes = all.entry(integration.name.clone()).or_insert_with(|| {
            let limits = integration.plugin.limits();
            // No more than may wait for the plugin: others must not be turned away.
            let lanes = (limits.concurrency * LANES_A_CALL).min(limits.queue.div_ceil(2));
            (0..lanes).map(|_| Lane::start(Arc::clone(app))).collect()
        });
        let lane = number % lanes.len().max(1);
        if let Some(Err(_)) = lanes.get(lane).map(|it| it.waiting.send(waiting)) {
            tracing::error!(integration = %integration.name, "a lane has ended; what waits in it is worked on after a restart");
        }
    }

    /// Takes up what waited when the server was stopped.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn resume(&self, app: &Arc<App>) -> Result<(), StoreError> {
        let waiting = app.store.queued().await?;
        if !waiting.is_empty() {
            tracing::info!(events = waiting.len(), "what waited is taken up");
        }
        for (company, id) in waiting {
            let Some(event) = app.store.event(&company, id).await? else { continue };
            match app.registry.get(&event.integration.0) {
                Some(integration) => self.push(app, &integration, &event.raw(), self.place()),
                None => match ingest::work(app, &company, id).await {
                    Ok(()) => {}
                    Err(error) => {
                        tracing::warn!(cause = %error, event.id = %id, "an event that waits is left for later")
                    }
                },
            }
        }
        Ok(())
    }

    /// Works on nothing more. What waits does so in the store.
    pub fn stop(&self) {
        let mut all = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        all.drain().flat_map(|(_, lanes)| lanes).for_each(|it| it.worker.abort());
    }
}

fn number(key: String) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() >> 1).unwrap_or(0)
}

impl Lane {
    fn start(app: Arc<App>) -> Self {
        let (waiting, mut next) = unbounded_channel::<Waiting>();
        let worker = tokio::spawn(async move {
            while let Some(waiting) = next.recv().await {
                let _in_time = tokio::time::timeout(PATIENCE, quiet(&app)).await;
                until_done(&app, &waiting).await;
            }
        });
        Self { waiting, worker: worker.abort_handle() }
    }
}

/// Returns when few requests are under way.
async fn quiet(app: &App) {
    while app.config.limits.concurrency.saturating_sub(app.in_flight.available_permits()) > BUSY {
        tokio::time::sleep(LOOK).await;
    }
}

/// The lane stands still until this event is done, or its order would be lost.
async fn until_done(app: &App, waiting: &Waiting) {
    let (mut pause, longest) = AGAIN;
    while let Err(error) = ingest::work(app, &waiting.company, waiting.id).await {
        tracing::warn!(cause = %error, event.id = %waiting.id, "an event that waits is tried again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}
