//! What a store has, compared with the model.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::super::made::{self, AnswerOf, Delivery, Outcome, event_hash, hash, time};
use super::super::protocol::{Dump, Seen, Write};
use super::{Is, Known, Model};

impl Model {
    /// Settles what is open by what a store holds, and reports what it holds that it must not. `reopened`:
    /// what is not there by now does not come any more. `now_ms` is when the answers were asked for.
    pub fn compare(&mut self, dump: &Dump, asked: &[AnswerOf], now_ms: i64, reopened: bool) -> Result<(), String> {
        self.settle_doubts(dump, reopened);
        for company in 0..made::COMPANIES {
            self.compare_tasks(company, &dump.tasks[usize::from(company)])?;
        }
        self.compare_feed(dump)?;
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

    /// A follower has what the list has, whatever happened since it last asked.
    fn compare_feed(&mut self, dump: &Dump) -> Result<(), String> {
        for (company, (follower, new)) in self.followers.iter_mut().zip(&dump.feed).enumerate() {
            if new.again {
                follower.tasks.clear();
            }
            for (id, hash) in &new.changes {
                match hash {
                    Some(hash) => drop(follower.tasks.insert(*id, *hash)),
                    None => drop(follower.tasks.remove(id)),
                }
            }
            follower.cursor = Some(new.cursor.clone());
            let listed: BTreeMap<Uuid, u64> = dump.tasks[company].iter().copied().collect();
            if follower.tasks != listed {
                let (has, should): (Vec<_>, Vec<_>) = (follower.tasks.iter().collect(), listed.iter().collect());
                return Err(format!("the follower of company {company}: {}", difference(&should, &has)));
            }
        }
        Ok(())
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
