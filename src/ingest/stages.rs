//! How long each stage of a line took.

use std::time::Instant;

use crate::event::{Stage, StageTime};

/// The stages that a line has gone through so far.
pub(super) struct Stages {
    since: Instant,
    done: Vec<StageTime>,
}

impl Stages {
    pub(super) fn start() -> Self {
        Self { since: Instant::now(), done: Vec::with_capacity(4) }
    }

    /// A stage's end, good or not: the next one begins now.
    pub(super) fn end<T>(&mut self, stage: Stage, result: T) -> T {
        let now = Instant::now();
        let micros = u32::try_from((now - self.since).as_micros()).unwrap_or(u32::MAX);
        self.since = now;
        self.done.push(StageTime { stage, micros });
        result
    }

    pub(super) fn done(self) -> Vec<StageTime> {
        self.done
    }
}
