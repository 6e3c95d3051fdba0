//! Lanes of one integration: each works on one event after another.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::{Cause, Waiting};
use crate::app::App;
use crate::event::IntegrationName;
use crate::ingest::{self, Stop};
use crate::integration::Found;
use crate::plugin::Limits;
use crate::store::StoreError;

/// How long until an event is tried again that could not be worked on: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How often an event is tried that is damaged, or whose pipeline panics: about ten seconds.
const TRIES: usize = 8;
/// How often one is tried that the system cannot read just now, such as while too many files are open: about two minutes.
const TRIES_TO_READ: usize = 30;

/// Lanes for each call that a plugin makes at once: most of a lane's time goes into waiting for the disk, together with
/// others.
const LANES_A_CALL: usize = 16;

/// While more requests than this are under way, they go first: a burst is taken in before it is worked on.
const BUSY: usize = 8;
/// For how long an event lets them: so many events a second and lane are worked on however busy the server is.
const PATIENCE: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_millis(5);
/// Events that are given up at the same time: they share the disk's writes.
const GIVEN_UP: usize = 64;

/// Some lanes. When they are dropped, nothing more is worked on.
pub(super) struct Lanes {
    waiting: Vec<UnboundedSender<Waiting>>,
    workers: JoinSet<()>,
}

impl Lanes {
    pub(super) fn none() -> Self {
        Self { waiting: Vec::new(), workers: JoinSet::new() }
    }

    /// How many lanes a plugin has use for: no more than may wait for it, as others must not be turned away.
    pub(super) fn of(limits: &Limits) -> usize {
        (limits.concurrency * LANES_A_CALL).min(limits.queue.div_ceil(2)).max(1)
    }

    /// Where there are to be more or fewer, the old ones first end what they have: events with the same ordering key are
    /// then worked on in their order, although they go into another lane.
    pub(super) async fn become_as_many_as(&mut self, wanted: usize, app: &Arc<App>, name: &IntegrationName) {
        if self.waiting.len() == wanted {
            return;
        }
        self.end().await;
        for _ in 0..wanted {
            let (waiting, next) = unbounded_channel();
            self.waiting.push(waiting);
            self.workers.spawn(lane(Arc::clone(app), name.clone(), next));
        }
    }

    /// Waits until every lane has ended what it has.
    pub(super) async fn end(&mut self) {
        self.waiting.clear();
        while self.workers.join_next().await.is_some() {}
    }

    pub(super) fn put(&self, number: usize, waiting: Waiting) {
        let lane = self.waiting.get(number % self.waiting.len().max(1));
        if lane.is_none_or(|it| it.send(waiting).is_err()) {
            tracing::error!("a lane has ended; what waits for it is worked on after a restart");
        }
    }
}

async fn lane(app: Arc<App>, name: IntegrationName, mut next: UnboundedReceiver<Waiting>) {
    let mut here = VecDeque::new();
    loop {
        let first = match here.pop_front() {
            Some(first) => first,
            None => match next.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        if runs(&app, &name, &first) {
            let _in_time = tokio::time::timeout(PATIENCE, quiet(&app)).await;
            until_done(&app, &name, &first).await;
            continue;
        }
        here.push_front(first);
        here.extend(std::iter::from_fn(|| next.try_recv().ok()));
        let (own, foreign) = here.into_iter().partition::<VecDeque<_>, _>(|it| runs(&app, &name, it));
        here = own;
        give_up(&app, &name, foreign).await;
    }
}

/// Whether the event's integration is there, and still its company's; or nobody knows yet whose it is.
fn runs(app: &App, name: &IntegrationName, waiting: &Waiting) -> bool {
    if waiting.unread {
        return true;
    }
    match app.registry.find(&name.0) {
        Found::Live(integration) => integration.company_id == waiting.company,
        Found::Loading => true,
        Found::Unknown => false,
    }
}

/// Quarantines what will not be run. Its places are given back first: others need not wait for the disk.
async fn give_up(app: &App, name: &IntegrationName, mut all: VecDeque<Waiting>) {
    all.iter_mut().for_each(|it| it.room = None);
    tracing::warn!(integration = %name, events = all.len(), "the integration was removed or has moved: its queued events are quarantined");
    stream::iter(all).for_each_concurrent(GIVEN_UP, |it| async move { until_done(app, name, &it).await }).await;
}

/// Returns when few requests are under way.
async fn quiet(app: &App) {
    while app.config.limits.concurrency.saturating_sub(app.in_flight.available_permits()) > BUSY {
        tokio::time::sleep(LOOK).await;
    }
}

/// The lane waits until this event is done, or the order would be lost. What passes by itself is waited for as long as it
/// takes; what does not, only so often.
async fn until_done(app: &App, name: &IntegrationName, waiting: &Waiting) {
    let (mut pause, longest) = AGAIN;
    let mut tries = 0;
    loop {
        let work = AssertUnwindSafe(ingest::work(app, &waiting.company, waiting.id)).catch_unwind();
        let failed = match work.await {
            Ok(Ok(())) => return,
            Ok(Err(Stop::Store(error @ StoreError::Read(_)))) => {
                Failed::StaysSo(Cause::Unreadable(error), TRIES_TO_READ)
            }
            Ok(Err(Stop::Store(error @ StoreError::Damaged { .. }))) => {
                Failed::StaysSo(Cause::Unreadable(error), TRIES)
            }
            Ok(Err(stop)) => Failed::Passes(stop.to_string()),
            Err(_) => Failed::StaysSo(Cause::Panicked, TRIES),
        };
        let cause = match failed {
            Failed::Passes(cause) => cause,
            Failed::StaysSo(cause, most) => {
                tries += 1;
                if tries >= most {
                    return app.queue.set_aside(app, name, (&waiting.company, waiting.id), &cause).await;
                }
                cause.to_string()
            }
        };
        tracing::warn!(cause, event.id = %waiting.id, "a queued event is tried again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Why an event could not be worked on.
enum Failed {
    /// Time alone can help.
    Passes(String),
    /// Perhaps it cannot: it is tried so often.
    StaysSo(Cause, usize),
}
