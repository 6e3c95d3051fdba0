//! The reference: what was acknowledged, and what may have happened.
//!
//! A write that failed, or whose process ended, is a doubt: the store may have it whole or not at all. The next look
//! into the store settles that. What has expired may be gone, as whole segments go; once gone, it stays so.
//! `model/compare.rs` compares it with what a store has.

mod compare;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use hookmill::model::task::Task;
use hookmill::store::FirstAnswer;
use uuid::Uuid;

use super::made::{self, AnswerOf, Delivery, Outcome, hash, time};
use super::protocol::{Reply, Write};

const HOUR_MS: i64 = 3_600_000;
pub const DAY_MS: i64 = 24 * HOUR_MS;
/// The two processes do not look at the clock at the same moment.
const SLACK_MS: i64 = 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Is {
    No,
    /// It was asked for, and is settled by the next look.
    Maybe,
    /// It was asked for and failed: what the next look sees may be undone by a power cut.
    Unsure,
    Yes,
}

/// An event.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its last state.
    pub delivery: Delivery,
    /// Whether what was sent is erased.
    pub erased: Is,
    /// It may have expired.
    pub may_be_gone: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Deleted ones as well.
    pub tasks: HashMap<Uuid, Task>,
    /// Each company's, oldest first.
    order: [Vec<Uuid>; made::COMPANIES as usize],
    /// From where on the order is not known yet, as these were written at the same time.
    loose: [usize; made::COMPANIES as usize],
    pub events: BTreeMap<Uuid, Known>,
    queue: BTreeSet<(i64, u64, u8, Uuid)>,
    answers: HashMap<(u8, Option<u8>), AnswerOf>,
    keys: BTreeMap<String, u64>,
    audit: BTreeMap<Uuid, u64>,
    pub doubts: Vec<Write>,
    /// Events whose writes ran at the same time as their patient's erasure: where such a write is in doubt, so is whether
    /// the erasure met it.
    pub raced: HashSet<Uuid>,
    /// Ids of deleted tasks, under which nothing may be found again.
    deleted: Vec<(u8, Uuid)>,
    /// Events that were seen to have gone.
    expired: BTreeMap<Uuid, Known>,
    /// Events received before this have expired, and may not be seen.
    horizon_ms: i64,
    /// Segments that were removed may be there again, as the directory was not synced: expiry makes space, and erasing
    /// is what must survive. The same where it was not written up to when events have expired.
    pub lost_power: bool,
    /// What a client that follows each company's feed has, and its cursor.
    followers: [Follower; made::COMPANIES as usize],
}

#[derive(Debug, Clone, Default)]
struct Follower {
    cursor: Option<String>,
    tasks: BTreeMap<Uuid, u64>,
}

impl Model {
    /// What a write that nothing disturbs is answered.
    pub fn answer_to(&self, write: &Write) -> Reply {
        match write {
            Write::Commit { answer: Some(answer), .. } => match self.remembered(answer, answer.at_ms) {
                Some(first) => Reply::Repeated(hash(&first)),
                None => Reply::Stored,
            },
            Write::Again { delivery } if self.is_erased(delivery) => Reply::Erased,
            Write::Update { task, version, .. } => match self.tasks.get(task).filter(|it| it.deleted_at.is_none()) {
                None => Reply::Missing,
                Some(task) if task.version != *version => Reply::Stale(task.version),
                Some(_) => Reply::Updated(self.updated(write).map_or(0, |it| hash(&it))),
            },
            _ => Reply::Stored,
        }
    }

    fn is_erased(&self, delivery: &Delivery) -> bool {
        self.events.get(&delivery.event_id().0).is_some_and(|it| it.erased == Is::Yes)
    }

    /// A task as an update or a deletion leaves it.
    fn updated(&self, write: &Write) -> Option<Task> {
        let Write::Update { task, version, patch, at_ms, .. } = write else { return None };
        let task = self.tasks.get(task).filter(|it| it.deleted_at.is_none() && it.version == *version)?.clone();
        let now = time(*at_ms);
        Some(match patch {
            Some(patch) => patch.patch().apply(task, now),
            None => Task { deleted_at: Some(now), ..hookmill::model::task::TaskPatch::default().apply(task, now) },
        })
    }

    fn remembered(&self, key: &AnswerOf, now_ms: i64) -> Option<FirstAnswer> {
        let window_ms = i64::from(key.window.unwrap_or(24)) * HOUR_MS;
        let first = self.answers.get(&(key.name, key.window))?;
        (first.at_ms > now_ms - window_ms).then(|| first.answer())
    }

    /// Notes a write that was acknowledged.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Commit { deliveries, answer } => {
                deliveries.iter().for_each(|it| self.store(it));
                if let Some(answer) = answer {
                    self.answers.insert((answer.name, answer.window), *answer);
                }
            }
            Write::Again { delivery } if self.is_erased(delivery) => self.late(write),
            Write::Again { delivery } => {
                self.queue.retain(|it| it.3 != delivery.event_id().0);
                self.store(delivery);
            }
            Write::Update { company, task, .. } => {
                if let Some(updated) = self.updated(write) {
                    if updated.deleted_at.is_some() {
                        self.deleted.push((*company, *task));
                    }
                    self.tasks.insert(*task, updated);
                }
            }
            Write::Key { key, entry } => {
                let key = key.key();
                self.keys.insert(key.id.0.clone(), hash(&key));
                self.audit.insert(entry.entry().id, hash(&entry.entry()));
            }
            Write::Note { entry } => drop(self.audit.insert(entry.entry().id, hash(&entry.entry()))),
        }
    }

    /// What comes after the erasure makes no task, and the event does not wait any more.
    pub fn late(&mut self, write: &Write) {
        let delivery = match write {
            Write::Again { delivery } => delivery,
            Write::Commit { deliveries, .. } => {
                // Several are not stored at all.
                if let [delivery] = deliveries.as_slice() {
                    let delivery = Delivery { outcome: Outcome::Quarantined, ..delivery.clone() };
                    let known = Known { delivery, erased: Is::Yes, may_be_gone: false };
                    self.events.insert(known.delivery.event_id().0, known);
                }
                return;
            }
            _ => return,
        };
        let id = delivery.event_id().0;
        let waited = self.queue.len();
        self.queue.retain(|it| it.3 != id);
        if let Some(known) = self.events.get_mut(&id).filter(|_| self.queue.len() < waited) {
            known.delivery.outcome = Outcome::Quarantined;
        }
    }

    fn store(&mut self, delivery: &Delivery) {
        let ingested = delivery.ingested();
        for task in ingested.tasks {
            self.order[usize::from(delivery.company)].push(task.id.0);
            self.tasks.insert(task.id.0, task);
        }
        let id = ingested.event.id.0;
        if delivery.outcome == Outcome::Queued {
            self.queue.insert((delivery.at_ms, delivery.n, delivery.company, id));
        }
        let erased = if self.raced.contains(&id) { Is::Unsure } else { Is::No };
        self.events.insert(id, Known { delivery: delivery.clone(), erased, may_be_gone: false });
    }

    /// Whatever is stored until the next look may be in any order.
    pub fn loosen(&mut self) {
        for (loose, order) in self.loose.iter_mut().zip(&self.order) {
            *loose = (*loose).min(order.len());
        }
    }

    pub fn waits(&self, id: &Uuid) -> bool {
        self.queue.iter().any(|it| it.3 == *id)
    }

    /// What was received so long ago may be gone; it is, where the store came to the end of it (`done`), except for what
    /// waits and what was received after that.
    pub fn expire(&mut self, now_ms: i64, days: Option<i64>, done: bool) {
        let Some(days) = days else { return };
        if done {
            let oldest_waiting = self.queue.first().map_or(i64::MAX, |it| it.0);
            self.horizon_ms = self.horizon_ms.max((now_ms - days * DAY_MS).min(oldest_waiting) - SLACK_MS);
        }
        let waiting: HashSet<Uuid> = self.queue.iter().map(|it| it.3).collect();
        for (id, known) in &mut self.events {
            let old = known.delivery.at_ms < now_ms - days * DAY_MS + SLACK_MS;
            known.may_be_gone |= old && !waiting.contains(id);
        }
    }

    /// What an integration was sent so long ago may be erased; `done`: the store came to the end of it.
    pub fn forget(&mut self, integration: u8, days: i64, now_ms: i64, done: bool) {
        let waiting: HashSet<Uuid> = self.queue.iter().map(|it| it.3).collect();
        for (id, known) in &mut self.events {
            let old = known.delivery.at_ms < now_ms - days * DAY_MS + SLACK_MS;
            if old && known.delivery.integration == integration && known.erased == Is::No && !waiting.contains(id) {
                known.erased = if done { Is::Maybe } else { Is::Unsure };
            }
        }
    }

    /// A patient's events.
    pub fn of_patient(&self, company: u8, patient: u8) -> Vec<Uuid> {
        let its = |it: &Known| it.delivery.company == company && it.delivery.patient == patient;
        self.events.iter().filter(|(_, it)| its(it)).map(|(id, _)| *id).collect()
    }

    /// A patient's events are erased; `done` says which, where the store came to the end of it. Those that were stored
    /// meanwhile, and were not there `before`, may be.
    pub fn erase(&mut self, company: u8, patient: u8, done: Option<&[Uuid]>, before: &[Uuid]) -> Result<(), String> {
        let done: Option<HashSet<&Uuid>> = done.map(|it| it.iter().collect());
        for (id, known) in &mut self.events {
            let its = known.delivery.company == company && known.delivery.patient == patient;
            match &done {
                Some(done) if done.contains(id) && !its => {
                    return Err(format!("{id} is another patient's, and erased"));
                }
                Some(done) if its && !done.contains(id) && !before.contains(id) => {}
                Some(done) if its && known.erased == Is::No && !known.may_be_gone && !done.contains(id) => {
                    return Err(format!("{id} is the patient's, and was not erased"));
                }
                Some(_) if its => known.erased = Is::Yes,
                None if its && known.erased == Is::No => known.erased = Is::Unsure,
                _ => {}
            }
        }
        Ok(())
    }

    /// Ids under which nothing may be found.
    pub fn gone(&self) -> Vec<(u8, Uuid)> {
        let expired = self.expired.iter().filter(|_| !self.lost_power).map(|(id, it)| (it.delivery.company, *id));
        self.deleted.iter().copied().chain(expired).collect()
    }

    /// Where each company's follower of the feed is.
    pub fn feed(&self) -> Vec<Option<String>> {
        self.followers.iter().map(|it| it.cursor.clone()).collect()
    }

    /// Every key that was used, to be asked for.
    pub fn keys_used(&self) -> Vec<AnswerOf> {
        let mut used: Vec<_> = self.answers.values().copied().collect();
        used.sort_by_key(|it| (it.name, it.window));
        used
    }
}
