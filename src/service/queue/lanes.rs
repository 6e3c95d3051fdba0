//! Lanes of an integration: each processes one event after another.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::waiting::{Cause, Waiting};
use super::work::Work;
use crate::integration::Found;
use crate::integration::stop::Stop;
use crate::metrics::queue::QUEUE;
use crate::model::ids::IntegrationName;
use crate::pipeline;
use crate::plugin::PluginLimits;
use crate::store::StoreError;

/// Delay before an event is retried: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How often a damaged event, one whose result is refused, or one whose pipeline panics, is tried: for about ten seconds.
const TRIES: usize = 8;
/// How often an event is tried that the system cannot read, for example because too many files are open: for about
/// two minutes.
const TRIES_TO_READ: usize = 30;

/// Number of lanes per concurrent plugin call. A lane spends most of its time waiting for the disk, together with
/// other lanes.
const LANES_A_CALL: usize = 16;

/// Queued events wait while more requests than this are running, so that a burst is accepted before it is
/// processed.
const BUSY: usize = 8;
/// How long an event waits for them. So each lane processes at least 20 events per second, however busy the server
/// is.
const PATIENCE: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_millis(5);
/// Number of events that are set aside at the same time, so that they share disk writes.
const GIVEN_UP: usize = 64;

/// The lanes. Dropping them stops all processing.
pub(super) struct Lanes {
    waiting: Vec<UnboundedSender<Waiting>>,
    workers: JoinSet<()>,
}

impl Lanes {
    pub(super) fn none() -> Self {
        Self { waiting: Vec::new(), workers: JoinSet::new() }
    }

    /// Returns the number of lanes for a plugin: no more than its queue can hold, because other calls must not be
    /// refused.
    pub(super) fn of(limits: &PluginLimits) -> usize {
        (limits.concurrency * LANES_A_CALL).min(limits.queue.div_ceil(2)).max(1)
    }

    /// Changes the number of lanes. The old ones finish their events first, so that events with the same ordering
    /// key stay in order although they go to another lane.
    pub(super) async fn become_as_many_as(&mut self, wanted: usize, work: &Arc<Work>, name: &IntegrationName) {
        if self.waiting.len() == wanted {
            return;
        }
        self.end().await;
        for _ in 0..wanted {
            let (waiting, next) = unbounded_channel();
            self.waiting.push(waiting);
            self.workers.spawn(lane(Arc::clone(work), name.clone(), next));
        }
    }

    /// Waits until all lanes have finished their events.
    pub(super) async fn end(&mut self) {
        self.waiting.clear();
        while self.workers.join_next().await.is_some() {}
    }

    pub(super) fn put(&self, number: usize, waiting: Waiting) {
        let lane = self.waiting.get(number % self.waiting.len().max(1));
        if lane.is_none_or(|it| it.send(waiting).is_err()) {
            tracing::error!("a lane has ended; its queued events are processed after a restart");
        }
    }
}

async fn lane(work: Arc<Work>, name: IntegrationName, mut next: UnboundedReceiver<Waiting>) {
    let mut here = VecDeque::new();
    loop {
        let first = match here.pop_front() {
            Some(first) => first,
            None => match next.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        if runs(&work, &name, &first) {
            let _in_time = tokio::time::timeout(PATIENCE, quiet(&work)).await;
            until_done(&work, &name, &first).await;
            continue;
        }
        here.push_front(first);
        here.extend(std::iter::from_fn(|| next.try_recv().ok()));
        let (own, foreign) = here.into_iter().partition::<VecDeque<_>, _>(|it| runs(&work, &name, it));
        here = own;
        let (absent, elsewhere) = foreign.into_iter().partition(|it| it.event.is_absent);
        give_back(&work, &name, elsewhere).await;
        give_up(&work, &name, absent).await;
    }
}

/// Returns whether the event's integration exists and belongs to its company, or the event could not be read yet. A claim is not
/// kept for one that is only being loaded: another server may have it.
fn runs(work: &Work, name: &IntegrationName, waiting: &Waiting) -> bool {
    if waiting.unread {
        return true;
    }
    match work.pipeline.registry.find(&name.0) {
        Found::Live(integration) => integration.company_id == waiting.event.company,
        Found::Loading => waiting.event.claim.is_none(),
        Found::Unknown => false,
    }
}

/// Gives claims back: other servers may have the integration.
async fn give_back(work: &Work, name: &IntegrationName, all: VecDeque<Waiting>) {
    if !all.is_empty() {
        tracing::warn!(integration = %name, events = all.len(), "the integration is not live on this server any more; its queued events are left to others");
    }
    for it in all {
        if let Some(claim) = &it.event.claim {
            work.release(claim).await;
        }
    }
}

/// Quarantines events that will not be run. Their places are released first, because these need not wait for the
/// disk.
async fn give_up(work: &Work, name: &IntegrationName, mut all: VecDeque<Waiting>) {
    if all.is_empty() {
        return;
    }
    all.iter_mut().for_each(|it| it.room = None);
    tracing::warn!(integration = %name, events = all.len(), "the integration was removed or belongs to another company now; its queued events are quarantined");
    stream::iter(all).for_each_concurrent(GIVEN_UP, |it| async move { until_done(work, name, &it).await }).await;
}

/// Waits until few requests are running.
async fn quiet(work: &Work) {
    while work.concurrency.saturating_sub(work.in_flight.available_permits()) > BUSY {
        tokio::time::sleep(LOOK).await;
    }
}

/// Processes an event until it is done. The lane waits for it, because the order would be lost otherwise. Temporary
/// failures are retried without limit, others a limited number of times.
pub(super) async fn until_done(work: &Work, name: &IntegrationName, waiting: &Waiting) {
    let (mut pause, longest) = AGAIN;
    let mut tries = 0;
    loop {
        if let Some(claim) = &waiting.event.claim
            && !waiting.event.is_absent
            && waiting.interrupted.is_none()
            && !runs(work, name, waiting)
        {
            // It was removed while the event was being processed.
            return work.release(claim).await;
        }
        let run = async {
            match waiting.interrupted {
                Some(attempts) => pipeline::interrupted(&work.pipeline, &waiting.event, attempts).await,
                None => pipeline::work(&work.pipeline, &waiting.event).await,
            }
        };
        let failed = match AssertUnwindSafe(run).catch_unwind().await {
            Ok(Ok(())) => return,
            Ok(Err(Stop::Store(error @ StoreError::Read(_)))) => {
                AttemptFailure::StaysSo(Cause::Unreadable(error), TRIES_TO_READ)
            }
            Ok(Err(Stop::Store(error @ StoreError::Damaged { .. }))) => {
                AttemptFailure::StaysSo(Cause::Unreadable(error), TRIES)
            }
            Ok(Err(Stop::Store(error @ StoreError::Unstorable(_)))) => {
                AttemptFailure::StaysSo(Cause::Unstorable(error), TRIES)
            }
            Ok(Err(stop)) => AttemptFailure::Passes(stop.to_string()),
            Err(_) => AttemptFailure::StaysSo(Cause::Panicked, TRIES),
        };
        let cause = match failed {
            AttemptFailure::Passes(cause) => cause,
            AttemptFailure::StaysSo(cause, most) => {
                tries += 1;
                if tries >= most {
                    return work.set_aside(name, &waiting.event, &cause).await;
                }
                cause.to_string()
            }
        };
        QUEUE.retries.count();
        tracing::warn!(cause, event.id = %waiting.event.id, "a queued event is retried");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Why an event could not be processed.
enum AttemptFailure {
    /// Temporary: retried without limit.
    Passes(String),
    /// Possibly permanent: retried this many times.
    StaysSo(Cause, usize),
}
