//! Runs a job: its events in the order of their ids, one after another, with a place among the requests for each.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;

use super::ReplayJobs;
use super::filter::Plan;
use super::found::MatchingPages;
use super::job::{JobState, OneReplay, ReplayJob};
use super::shared;
use super::turn::JobTurn;
use crate::integration::load::direct;
use crate::limits::shares::Share;
use crate::model::audit::{Entry, SERVER};
use crate::model::ids::EventId;
use crate::pipeline::Existing;
use crate::service::app::App;
use crate::store::StoreError;

/// Maximum number of events of a job: their ids are in memory.
const EVENTS: usize = 1_000_000;
/// How long a job waits before it looks again whether the server is less busy.
const PAUSE: Duration = Duration::from_millis(100);
/// How often an event is tried that the server is too busy for, and the longest time in between.
const TRIES: u32 = 12;
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often it is looked up whether the one who began the job still may.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a job needs to run.
pub struct RunningJob {
    /// The server.
    pub app: Arc<App>,
    /// The job.
    pub job: Arc<ReplayJob>,
    /// Replays one event.
    pub replay: Box<dyn Fn(EventId) -> BoxFuture<'static, OneReplay> + Send + Sync>,
    /// Whether the one who began the job still may.
    pub may: Box<dyn Fn() -> bool + Send + Sync>,
    /// Creates the audit entry with this detail.
    pub audit: Box<dyn Fn(&str) -> Entry + Send + Sync>,
}

impl ReplayJobs {
    /// Runs a job in the background.
    pub fn run(&self, running: RunningJob) {
        let (turns, ended) = (Arc::clone(&self.turns), self.ended.clone());
        self.tasks.spawn(async move {
            let job = Arc::clone(&running.job);
            let work = async {
                tokio::select! {
                    biased;
                    () = running.stopped() => {}
                    () = ended.cancelled() => job.stop(SERVER),
                    turn = JobTurn::wait(turns) => {
                        let server_ends = async {
                            ended.cancelled().await;
                            job.stop(SERVER);
                            std::future::pending::<()>().await;
                        };
                        tokio::select! {
                            biased;
                            () = running.work(turn) => {}
                            () = server_ends => {}
                        }
                    }
                }
            };
            let work = async {
                tokio::select! {
                    () = work => {}
                    () = shared::keep(&*running.app.store, &job) => {}
                }
            };
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                job.end(JobState::Failed, Some("the server failed; its log says why".into()));
            }
            job.end(JobState::Stopped, None);
            let noted = running.app.store.note((running.audit)(&job.words()));
            let (noted, ()) = tokio::join!(noted, shared::end(&*running.app.store, &job));
            if let Err(error) = noted {
                tracing::warn!(%error, job = %job.id, "the end of a replay of many events is not in the audit log");
            }
        });
    }
}

impl RunningJob {
    async fn stopped(&self) {
        self.job.stop.cancelled().await;
    }

    /// Replays everything, until it is stopped.
    async fn work(&self, mut turn: JobTurn) {
        let ended = match self.find(&mut turn).await {
            Ok(Some(ids)) => self.replay_all(ids, &mut turn).await,
            Ok(None) => Some((JobState::Failed, Some(format!("more than {EVENTS} events match; narrow the filter")))),
            Err(error) => Some((JobState::Failed, Some(error.to_string()))),
        };
        if let Some((state, error)) = ended {
            self.job.end(state, error);
        }
    }

    /// Finds the events, oldest first; `None` if there are too many.
    async fn find(&self, turn: &mut JobTurn) -> Result<Option<Vec<EventId>>, StoreError> {
        self.job.set(JobState::Searching);
        let (store, job) = (&*self.app.store, &self.job);
        let (mut ids, mut left, mut not_replayable) = (Vec::new(), 0, 0);
        let mut pages = MatchingPages::new(&job.filter, job.newest);
        while !job.stop.is_cancelled() {
            let one_of_few = self.app.memory.page().await;
            let Some(events) = pages.next(store, &job.company).await? else { break };
            for event in events {
                match Plan::of(&event, job.existing == Existing::Leave) {
                    Plan::Replay => ids.push(event.id),
                    Plan::Leave => left += 1,
                    Plan::Skip => not_replayable += 1,
                }
            }
            if ids.len() > EVENTS {
                return Ok(None);
            }
            drop(one_of_few);
            // A job that was stopped meanwhile leaves the loop.
            if self.let_others_run(turn).await.is_some() {
                job.set(JobState::Searching);
            }
        }
        ids.reverse();
        job.found(ids.len(), left, not_replayable);
        Ok(Some(ids))
    }

    /// Returns how it ended; `None` if it was stopped.
    async fn replay_all(&self, ids: Vec<EventId>, turn: &mut JobTurn) -> Option<(JobState, Option<String>)> {
        let mut asked = Instant::now();
        for id in ids {
            if asked.elapsed() > ASK_AGAIN {
                asked = Instant::now();
                if !(self.may)() {
                    return Some((JobState::Failed, Some("the key that began it is no longer valid".into())));
                }
            }
            let one = self.replay_one(id, turn).await?;
            if let OneReplay::Busy(code) = &one {
                let error = format!("the server is too busy, or cannot store anything ({code}); begin it again later");
                return Some((JobState::Failed, Some(error)));
            }
            self.job.count(id, &one);
        }
        Some((JobState::Done, None))
    }

    /// Replays an event as soon as the server has room for it; `None` if the job was stopped.
    async fn replay_one(&self, id: EventId, turn: &mut JobTurn) -> Option<OneReplay> {
        let mut wait = PAUSE;
        for tried in 1.. {
            let place = self.place(turn).await?;
            let one = (self.replay)(id).await;
            drop(place);
            if !matches!(one, OneReplay::Busy(_)) || tried == TRIES {
                return Some(one);
            }
            self.job.set(JobState::Paused);
            self.pause(wait).await?;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        None
    }

    /// Waits for a place among the requests: one of the half that a busy server keeps for its senders is never taken.
    async fn place(&self, turn: &mut JobTurn) -> Option<(OwnedSemaphorePermit, Share)> {
        let half = self.app.config.limits.concurrency / 2;
        loop {
            self.let_others_run(turn).await?;
            if self.job.stop.is_cancelled() {
                return None;
            }
            if self.app.in_flight.available_permits() > half
                && let Ok(place) = Arc::clone(&self.app.in_flight).try_acquire_owned()
                && let Ok(share) = self.app.shares.take(&self.job.company, &direct(), 1)
            {
                self.job.set(JobState::Running);
                return Some((place, share));
            }
            self.job.set(JobState::Paused);
            self.pause(PAUSE).await?;
        }
    }

    /// Passes the turn on once it is over; `None` if the job was stopped meanwhile.
    async fn let_others_run(&self, turn: &mut JobTurn) -> Option<()> {
        if turn.is_over() {
            self.job.set(JobState::Waiting);
            turn.pass_on(&self.job.stop).await?;
        }
        Some(())
    }

    /// Waits; `None` if the job was stopped meanwhile.
    async fn pause(&self, time: Duration) -> Option<()> {
        tokio::select! {
            biased;
            () = self.stopped() => None,
            () = tokio::time::sleep(time) => Some(()),
        }
    }
}
