//! The duration of each pipeline stage.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::metrics::pipeline::{PIPELINE, PipelineStage};
use crate::model::event::{Stage, StageTime};
use crate::system::trace::{self, Operation};

/// The stages of a run so far.
pub(super) struct Stages {
    since: Instant,
    done: Vec<StageTime>,
    /// Gets a span for each.
    operation: Option<Arc<Operation>>,
}

impl Stages {
    pub(super) fn start() -> Self {
        Self { operation: trace::current(), ..Self::untraced() }
    }

    /// For one of many deliveries in a request: spans of each would be too many.
    pub(super) fn untraced() -> Self {
        Self { since: Instant::now(), done: Vec::with_capacity(4), operation: None }
    }

    /// Adds time that the current stage took before this run began.
    pub(super) fn add(&mut self, earlier: Duration) {
        self.since = self.since.checked_sub(earlier).unwrap_or(self.since);
    }

    /// Ends a stage, whether it succeeded or not. The next one begins now.
    pub(super) fn end<T, E>(&mut self, stage: Stage, result: Result<T, E>) -> Result<T, E> {
        let now = Instant::now();
        let took = now - self.since;
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.since = now;
        self.done.push(StageTime { stage, micros });
        if let Some(operation) = &self.operation {
            operation.stage(stage.name(), took, result.is_ok());
        }
        PIPELINE.took(measured(stage), took);
        result
    }

    pub(super) fn done(self) -> Vec<StageTime> {
        self.done
    }
}

fn measured(stage: Stage) -> PipelineStage {
    match stage {
        Stage::Decode => PipelineStage::Decode,
        Stage::Schema => PipelineStage::Schema,
        Stage::Plugin => PipelineStage::Plugin,
        Stage::Task => PipelineStage::Task,
    }
}

/// Measures a commit, for metrics and as a stage of its request's trace.
pub(super) async fn timed<T, E>(commit: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let (started, stage) = (Instant::now(), trace::stage("commit"));
    let committed = commit.await;
    PIPELINE.took(PipelineStage::Commit, started.elapsed());
    stage.end(committed)
}
