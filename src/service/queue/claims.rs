//! Queued events of a store that servers share: each server claims as many as it can process.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::absent::{Absences, LiveSomewhere};
use super::dispatch::{Queue, counted};
use super::held::{Claims, FIRST, HeldClaim};
use super::lanes::until_done;
use super::waiting::Waiting;
use crate::integration::{Found, Integration};
use crate::pipeline::QueuedEvent;
use crate::store::{ClaimedEvent, Cluster, QueueOf, StoreError};

/// How often a server looks for events that another one has stored.
const LOOK: Duration = Duration::from_millis(100);
/// Time before it looks again after a claim that has found few events, and the shortest time.
const SOON: Duration = Duration::from_millis(20);
const SHORT: Duration = Duration::from_millis(5);
/// Time before it looks again after an error.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// How often a server looks for events whose integration no server has: usually, and while there are some.
const LOOK_FOR_ABSENT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(200));
/// These looks take at most one part in so many of the time.
const PART: u32 = 20;
/// How often an event is claimed without a result before it is quarantined.
const ATTEMPTS: u32 = 5;

impl Queue {
    /// Claims and processes queued events until `ended`; does nothing for a store that servers do not share.
    pub async fn claim(self: Arc<Self>, ended: CancellationToken) {
        let pipeline = Arc::clone(&self.work.pipeline);
        let Some(cluster) = pipeline.store.cluster() else { return };
        let claims = Arc::new(Claims::default());
        tokio::join!(self.claim_live(cluster, &claims, &ended), self.claim_absent(cluster, &claims, &ended));
    }

    /// Claims events of the integrations that are live here.
    async fn claim_live(self: &Arc<Self>, cluster: &dyn Cluster, claims: &Arc<Claims>, ended: &CancellationToken) {
        let mut failing = false;
        while !ended.is_cancelled() {
            let one = claims.one.lock().await;
            let (asked, began) = (claims.room_for(self.live_here()), Instant::now());
            let claimed =
                if asked.is_empty() { Ok(Vec::new()) } else { cluster.claim(&asked, claims.suspect_room()).await };
            // At least so long, and then until something wakes it. Claims one after another would take the processor from the work.
            let (least, pause) = match &claimed {
                Ok(claimed) if claimed.len() >= FIRST => (Duration::ZERO, Duration::ZERO),
                Ok(claimed) if !claimed.is_empty() => (SHORT.max(began.elapsed()), SOON),
                Ok(_) => (SHORT.max(began.elapsed()), LOOK),
                Err(error) => {
                    // Once in an outage.
                    if !failing {
                        tracing::warn!(cause = %error, "queued events cannot be claimed");
                    }
                    (AFTER_ERROR, AFTER_ERROR)
                }
            };
            failing = claimed.is_err();
            for it in claimed.unwrap_or_default() {
                self.take_claimed(it, claims, false);
            }
            drop(one);
            let _ended = ended.run_until_cancelled(tokio::time::sleep(least)).await;
            tokio::select! {
                () = ended.cancelled() => {}
                () = claims.room.notified() => {}
                () = cluster.queued_here() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn live_here(&self) -> Vec<QueueOf> {
        let live = self.work.pipeline.registry.list();
        let of = |it: &Arc<Integration>| QueueOf { company: it.company_id.clone(), integration: it.name.clone() };
        live.iter().map(of).collect()
    }

    /// Claims events of integrations that no server has had for a while, to quarantine them.
    async fn claim_absent(self: &Arc<Self>, cluster: &dyn Cluster, claims: &Arc<Claims>, ended: &CancellationToken) {
        let (mut absences, mut pause, mut failing) = (Absences::default(), LOOK_FOR_ABSENT.0, false);
        while ended.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            let began = Instant::now();
            let claimed = self.look_for_absent(cluster, &mut absences, claims).await;
            let least = if matches!(claimed, Ok(true)) { LOOK_FOR_ABSENT.1 } else { LOOK_FOR_ABSENT.0 };
            pause = least.max(began.elapsed() * PART);
            if let Err(error) = &claimed {
                absences.forget();
                if !failing {
                    tracing::warn!(cause = %error, "events of integrations that no server has cannot be claimed");
                }
            }
            failing = claimed.is_err();
        }
    }

    /// Returns whether there were such events.
    async fn look_for_absent(
        self: &Arc<Self>,
        cluster: &dyn Cluster,
        absences: &mut Absences,
        claims: &Arc<Claims>,
    ) -> Result<bool, StoreError> {
        let queued = cluster.queued_for().await?;
        let live = LiveSomewhere::of(&cluster.nodes().await?);
        let absent = absences.look(Instant::now(), queued, &live);
        let absent = absent.into_iter().filter(|it| self.may_give_up(it, &live)).collect();
        let one = claims.one.lock().await;
        let asked = claims.room_for(absent);
        if asked.is_empty() {
            return Ok(false);
        }
        let claimed = cluster.claim(&asked, claims.suspect_room()).await?;
        let any = !claimed.is_empty();
        let mut back = Vec::new();
        for it in claimed {
            // It may have become live in the meantime, here or elsewhere.
            let of = QueueOf { company: it.claim.company.clone(), integration: it.integration.clone() };
            let is_here = matches!(self.work.pipeline.registry.find(&of.integration.0), Found::Live(it) if it.company_id == of.company);
            let is_absent = self.may_give_up(&of, &live);
            if is_here || is_absent {
                self.take_claimed(it, claims, is_absent);
            } else {
                back.push(it.claim);
            }
        }
        drop(one);
        for claim in back {
            self.work.release(&claim).await;
        }
        Ok(any)
    }

    /// Returns whether this server may quarantine events of an integration. If another company has one with this name, only a
    /// server that has it can say so.
    fn may_give_up(&self, of: &QueueOf, live: &LiveSomewhere) -> bool {
        match self.work.pipeline.registry.find(&of.integration.0) {
            Found::Live(integration) => integration.company_id != of.company,
            Found::Loading => false,
            Found::Unknown => !live.has_name(&of.integration),
        }
    }

    /// Passes a claimed event to its lane, or quarantines it if that was tried too often.
    fn take_claimed(self: &Arc<Self>, it: ClaimedEvent, claims: &Arc<Claims>, is_absent: bool) {
        let ClaimedEvent { claim, integration, lane, attempts } = it;
        let (company, id) = (claim.company.clone(), claim.id);
        let of = QueueOf { company: company.clone(), integration: integration.clone() };
        let held = HeldClaim::of(claims, of, attempts);
        let next = || self.next.fetch_add(1, Ordering::Relaxed);
        let number = lane.map_or_else(next, |it| usize::try_from(it.unsigned_abs() >> 1).unwrap_or(0));
        let waiting = Waiting {
            event: QueuedEvent { company, id, claim: Some(claim), is_absent },
            number: Some(number),
            room: None,
            unread: false,
            interrupted: (attempts > ATTEMPTS).then(|| attempts - 1),
            _held: Some(held),
            _counted: counted(&integration, id),
        };
        if waiting.interrupted.is_some() {
            tracing::error!(event.id = %id, attempts, "a queued event was interrupted too often and is quarantined");
            let work = Arc::clone(&self.work);
            tokio::spawn(async move { until_done(&work, &integration, &waiting).await });
            return;
        }
        self.dispatch(&integration, waiting);
    }
}
