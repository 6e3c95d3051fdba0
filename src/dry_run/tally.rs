//! Counts and examples of how one line differs from another, in bounded memory however many events there are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::verdict::{Class, Verdict};
use crate::diff::Difference;
use crate::event::EventId;

/// Most places, and most reasons, that are told apart; what differs elsewhere is counted together.
const PLACES: usize = 200;
const ELSEWHERE: &str = "(elsewhere)";

/// Counts and examples.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Events that came to the same.
    pub same: u64,
    /// Events that came to something else.
    pub changed: u64,
    /// Events that passed before and fail now.
    pub newly_failing: u64,
    /// Events that failed before and pass now.
    pub newly_passing: u64,
    /// Events that pass, and what they made is not known any more.
    pub uncompared: u64,
    /// Of the changed events: where they differ, by JSON Pointer into `{"tasks": […]}` or `{"skip": …}`.
    pub fields: BTreeMap<String, Field>,
    /// Of the newly failing events: why, by stage, code and place.
    pub failures: BTreeMap<String, Why>,
    /// Some events that did not come to the same.
    pub samples: Samples,
}

/// A place that differs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Field {
    /// In how many events.
    pub events: u64,
    /// One of them.
    pub example: EventId,
    /// What was there in it; none where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What is there now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// A reason for failing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Why {
    /// How many events.
    pub events: u64,
    /// One of them.
    pub example: EventId,
    /// What its sender would be told.
    pub message: String,
}

/// An event that did not come to the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// The event.
    pub event_id: EventId,
    /// How it differs.
    pub class: Class,
    /// What it came to before.
    pub before: String,
    /// What it comes to now.
    pub after: String,
    /// Where the two differ.
    pub differences: Vec<Difference>,
    /// In how many places besides.
    #[serde(default)]
    pub differences_omitted: usize,
}

/// Some of many.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    most: usize,
    newest: bool,
    kept: BTreeMap<EventId, Sample>,
}

impl Tally {
    /// Keeps so many samples: the newest events, or the oldest.
    #[must_use]
    pub fn new(samples: usize, newest: bool) -> Self {
        Self { samples: Samples { most: samples, newest, kept: BTreeMap::new() }, ..Self::default() }
    }

    /// Counts an event in.
    pub fn add(&mut self, id: EventId, before: &Verdict, after: &Verdict) {
        let (class, differences) = before.compare(after);
        match class {
            Class::Same => return self.same += 1,
            Class::Uncompared => return self.uncompared += 1,
            Class::Changed => self.changed += 1,
            Class::NewlyFailing => self.newly_failing += 1,
            Class::NewlyPassing => self.newly_passing += 1,
        }
        for it in &differences.shown {
            let new = || Field { events: 0, example: id, before: it.expected.clone(), after: it.found.clone() };
            place(&mut self.fields, it.pointer.clone(), new).events += 1;
        }
        if let (Class::NewlyFailing, Verdict::Failed(failure)) = (class, after) {
            let new = |message: &str| Why { events: 0, example: id, message: message.to_owned() };
            for it in &failure.violations {
                let name = format!("{} {} at {}", failure.stage, it.code, at(&it.pointer));
                place(&mut self.failures, name, || new(&it.message)).events += 1;
            }
            if failure.violations.is_empty() {
                let name = format!("{} {}", failure.stage, failure.code);
                place(&mut self.failures, name, || new(&failure.message)).events += 1;
            }
        }
        let told = |it: &Verdict| it.to_string();
        let (before, after, differences_omitted) = (told(before), told(after), differences.omitted);
        let differences = differences.shown;
        self.samples.add(Sample { event_id: id, class, before, after, differences, differences_omitted });
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: Self) {
        self.same += other.same;
        self.changed += other.changed;
        self.newly_failing += other.newly_failing;
        self.newly_passing += other.newly_passing;
        self.uncompared += other.uncompared;
        for (name, it) in other.fields {
            let events = it.events;
            place(&mut self.fields, name, || Field { events: 0, ..it }).events += events;
        }
        for (name, it) in other.failures {
            let events = it.events;
            place(&mut self.failures, name, || Why { events: 0, ..it }).events += events;
        }
        other.samples.kept.into_values().for_each(|it| self.samples.add(it));
    }

    /// Forgets the samples, and every value that was seen; the counts stay.
    pub fn forget_samples(&mut self) {
        self.forget_values();
        self.samples.kept.clear();
    }

    /// Forgets every value that was seen, and no count.
    pub fn forget_values(&mut self) {
        for it in self.fields.values_mut() {
            (it.before, it.after) = (None, None);
        }
        self.failures.values_mut().for_each(|it| it.message = String::new());
        for it in self.samples.kept.values_mut() {
            (it.before, it.after) = (String::new(), String::new());
            it.differences.iter_mut().for_each(|it| (it.expected, it.found) = (None, None));
        }
    }
}

fn at(pointer: &str) -> &str {
    if pointer.is_empty() { "the whole" } else { pointer }
}

fn place<T>(all: &mut BTreeMap<String, T>, name: String, new: impl FnOnce() -> T) -> &mut T {
    let name = if all.len() < PLACES || all.contains_key(&name) { name } else { ELSEWHERE.to_owned() };
    all.entry(name).or_insert_with(new)
}

impl Samples {
    fn add(&mut self, sample: Sample) {
        self.kept.insert(sample.event_id, sample);
        if self.kept.len() > self.most {
            if self.newest {
                self.kept.pop_first()
            } else {
                self.kept.pop_last()
            };
        }
    }

    /// In the order in which the events came.
    pub fn iter(&self) -> impl Iterator<Item = &Sample> {
        self.kept.values()
    }
}

impl Serialize for Samples {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Samples {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = Vec::<Sample>::deserialize(deserializer)?;
        Ok(Self { most: all.len(), newest: false, kept: all.into_iter().map(|it| (it.event_id, it)).collect() })
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tasks(tasks) if tasks.len() == 1 => f.write_str("1 task"),
            Self::Tasks(tasks) => write!(f, "{} tasks", tasks.len()),
            Self::Skip(reason) => write!(f, "the skip \"{reason}\""),
            Self::Failed(it) => write!(f, "{}: {}", it.stage, it.message),
            Self::Lost => f.write_str("tasks that were changed since"),
        }
    }
}
