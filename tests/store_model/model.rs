//! The reference: what was acknowledged, and what may have happened.
//!
//! A write that failed, or whose process ended, is a doubt: the store may have it whole or not at all. The next look
//! into the store settles that. What has expired may be gone, as whole segments go; once gone, it stays so.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use hookmill::store::FirstAnswer;
use hookmill::task::Task;
use uuid::Uuid;

use crate::made::{self, AnswerOf, Delivery, Outcome, event_hash, hash, time};
use crate::protocol::{Dump, Reply, Seen, Write};

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
    /// is what has to last. The same where it was not written up to when events have expired.
    pub lost_power: bool,
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
            None => Task { deleted_at: Some(now), ..hookmill::task::TaskPatch::default().apply(task, now) },
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

    /// Every key that was used, to be asked for.
    pub fn keys_used(&self) -> Vec<AnswerOf> {
        let mut used: Vec<_> = self.answers.values().copied().collect();
        used.sort_by_key(|it| (it.name, it.window));
        used
    }

    /// Settles what is open by what a store holds, and says where it holds anything else than it has to. `reopened`:
    /// what is not there by now does not come any more. `now_ms` is when the answers were asked for.
    pub fn compare(&mut self, dump: &Dump, asked: &[AnswerOf], now_ms: i64, reopened: bool) -> Result<(), String> {
        self.settle_doubts(dump, reopened);
        for company in 0..made::COMPANIES {
            self.compare_tasks(company, &dump.tasks[usize::from(company)])?;
        }
        self.compare_events(dump)?;
        let queue: Vec<_> = self.queue.iter().map(|it| (it.2, it.3)).collect();
        if queue != dump.queue {
            return Err(format!(
                "the queue has {} events, and should have {}: {}",
                dump.queue.len(),
                queue.len(),
                difference(&queue, &dump.queue)
            ));
        }
        for (answer, found) in asked.iter().zip(&dump.answers) {
            let expected = self.remembered(answer, now_ms).map(|it| hash(&it));
            if expected != *found {
                return Err(format!("the answer to {answer:?} is {found:?}, and should be {expected:?}"));
            }
        }
        let keys: Vec<_> = self.keys.iter().map(|(id, hash)| (id.clone(), *hash)).collect();
        if keys != dump.keys {
            return Err(format!("the API keys differ: {}", difference(&keys, &dump.keys)));
        }
        let audit: Vec<_> = self.audit.iter().rev().map(|(id, hash)| (*id, *hash)).collect();
        if audit != dump.audit {
            return Err(format!("the audit log differs: {}", difference(&audit, &dump.audit)));
        }
        if !dump.problems.is_empty() {
            return Err(dump.problems.join("; "));
        }
        Ok(())
    }

    fn settle_doubts(&mut self, dump: &Dump, reopened: bool) {
        let doubts = std::mem::take(&mut self.doubts);
        if !doubts.is_empty() {
            self.loosen();
        }
        let found = Found::of(dump);
        for doubt in doubts {
            if self.came_late(&doubt, &found) {
                self.late(&doubt);
            } else if self.happened(&doubt, &found) {
                self.apply(&doubt);
            } else if !reopened {
                self.doubts.push(doubt);
            }
        }
    }

    /// Whether the event was erased when it was stored, or stored again.
    fn came_late(&self, doubt: &Write, found: &Found<'_>) -> bool {
        let (known, waited) = match doubt {
            Write::Again { delivery } => {
                let id = delivery.event_id().0;
                (self.events.get(&id).map(|it| &it.delivery), self.waits(&id))
            }
            Write::Commit { deliveries, .. } if deliveries.len() == 1 => (deliveries.first(), true),
            _ => return false,
        };
        let seen = known.and_then(|it| found.events.get(&it.event_id().0));
        let (Some(known), Some(seen)) = (known, seen) else { return false };
        let late = Delivery { outcome: Outcome::Quarantined, ..known.clone() };
        waited && seen.erased && seen.hash == expected(&late, true)
    }

    fn happened(&self, doubt: &Write, found: &Found<'_>) -> bool {
        match doubt {
            Write::Commit { deliveries, .. } => deliveries.iter().map(Delivery::ingested).any(|it| {
                found.events.contains_key(&it.event.id.0)
                    || it.tasks.iter().any(|it| found.tasks.contains_key(&it.id.0))
            }),
            Write::Again { delivery } => {
                let new = delivery.ingested();
                let state =
                    found.events.get(&new.event.id.0).is_some_and(|it| it.hash == expected(delivery, it.erased));
                state || new.tasks.iter().any(|it| found.tasks.contains_key(&it.id.0))
            }
            Write::Update { task, .. } => self.updated(doubt).is_some_and(|it| match it.deleted_at {
                Some(_) => !found.tasks.contains_key(task),
                None => found.tasks.get(task) == Some(&hash(&it)),
            }),
            Write::Key { entry, .. } | Write::Note { entry } => found.audit.contains(&entry.entry().id),
        }
    }

    fn compare_tasks(&mut self, company: u8, found: &[(Uuid, u64)]) -> Result<(), String> {
        let of = usize::from(company);
        let live = |it: &&Uuid| self.tasks[*it].deleted_at.is_none();
        let (known, loose) = self.order[of].split_at(self.loose[of]);
        let (known, loose): (Vec<&Uuid>, Vec<&Uuid>) =
            (known.iter().filter(live).collect(), loose.iter().filter(live).collect());
        let oldest_first: Vec<Uuid> = found.iter().rev().map(|it| it.0).collect();
        if oldest_first.len() != known.len() + loose.len() {
            let expected: Vec<Uuid> = known.iter().chain(&loose).map(|it| **it).collect();
            return Err(format!(
                "company {company} has {} tasks in its list, and should have {}: {}",
                oldest_first.len(),
                expected.len(),
                difference(&expected, &oldest_first)
            ));
        }
        if !oldest_first.iter().zip(&known).all(|(found, known)| found == *known) {
            return Err(format!("the tasks of company {company} have another order than before"));
        }
        let newest = &oldest_first[known.len()..];
        if newest.iter().collect::<HashSet<_>>() != loose.iter().copied().collect::<HashSet<_>>() {
            return Err(format!("company {company} has other new tasks than were stored"));
        }
        for (id, seen) in found {
            let expected = &self.tasks[id];
            if hash(expected) != *seen {
                return Err(format!("task {id} is not as it was stored (version {})", expected.version));
            }
        }
        let mut order: Vec<Uuid> = self.order[of][..self.loose[of]].to_vec();
        order.extend(newest);
        (self.loose[of], self.order[of]) = (order.len(), order);
        Ok(())
    }

    fn compare_events(&mut self, dump: &Dump) -> Result<(), String> {
        let found = Found::of(dump);
        for (company, events) in dump.events.iter().enumerate() {
            if !events.windows(2).all(|it| it[0].id > it[1].id) {
                return Err(format!("the events of company {company} are not in order, or are there twice"));
            }
            for seen in events {
                if self.lost_power && !self.events.contains_key(&seen.id) {
                    // It may have been erased since it was last seen.
                    let back = self.expired.remove_entry(&seen.id);
                    let unsure =
                        |it: Known| Known { erased: if it.erased == Is::No { Is::Unsure } else { it.erased }, ..it };
                    self.events.extend(back.map(|(id, it)| (id, unsure(it))));
                }
                match self.events.get(&seen.id) {
                    Some(it) if usize::from(it.delivery.company) == company => {}
                    _ => return Err(format!("event {} was not stored, or had expired, and is there", seen.id)),
                }
            }
        }
        let (mut gone, mut wrong) = (Vec::new(), None);
        if std::mem::take(&mut self.lost_power) {
            self.horizon_ms = 0;
        }
        for (id, known) in &mut self.events {
            match found.events.get(id) {
                None if known.may_be_gone => gone.push(*id),
                None => wrong = wrong.or(Some(format!("event {id} ({:?}) is not there", known.delivery))),
                Some(_) if known.delivery.at_ms < self.horizon_ms => {
                    wrong = Some(format!("event {id} has expired, and is there: {:?}", known.delivery));
                }
                Some(seen) => match (known.erased, seen.erased) {
                    (Is::No, true) => {
                        wrong = Some(format!("event {id} was erased, and nobody asked for that: {:?}", known.delivery))
                    }
                    (Is::Yes, false) => wrong = Some(format!("event {id} was erased, and is back")),
                    (was, erased) if seen.hash != expected(&known.delivery, erased) => {
                        let known = &known.delivery;
                        wrong = Some(format!("event {id} is not as it was stored ({was:?}, {erased}): {known:?}"));
                    }
                    (_, erased) => {
                        if known.erased == Is::Maybe {
                            known.erased = if erased { Is::Yes } else { Is::No };
                        }
                        known.may_be_gone = false;
                    }
                },
            }
        }
        for id in gone {
            self.expired.extend(self.events.remove_entry(&id));
        }
        wrong.map_or(Ok(()), Err)
    }
}

/// What a dump has, by id.
struct Found<'a> {
    events: HashMap<Uuid, &'a Seen>,
    tasks: HashMap<Uuid, u64>,
    audit: HashSet<Uuid>,
}

impl<'a> Found<'a> {
    fn of(dump: &'a Dump) -> Self {
        Self {
            events: dump.events.iter().flatten().map(|it| (it.id, it)).collect(),
            tasks: dump.tasks.iter().flatten().copied().collect(),
            audit: dump.audit.iter().map(|it| it.0).collect(),
        }
    }
}

/// The hash of an event, or of what is left of it.
fn expected(delivery: &Delivery, erased: bool) -> u64 {
    let mut event = delivery.ingested().event;
    event.erased_at = erased.then(|| time(0));
    event_hash(&event)
}

/// Some of what only one of the two has.
fn difference<T: PartialEq + std::fmt::Debug>(expected: &[T], found: &[T]) -> String {
    let missing: Vec<_> = expected.iter().filter(|it| !found.contains(it)).take(3).collect();
    let surplus: Vec<_> = found.iter().filter(|it| !expected.contains(it)).take(3).collect();
    format!("missing {missing:?}, surplus {surplus:?}")
}
