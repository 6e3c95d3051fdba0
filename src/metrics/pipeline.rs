//! Series of the pipeline's stages and of replays.

use std::fmt;
use std::time::Duration;

use super::exposition::Exposition;
use super::histogram::{Histogram, WORK};
use super::series;
use super::value::Counter;

/// Names of the stages, in the order of [`PipelineStage`].
const STAGES: [&str; 5] = ["decode", "schema", "plugin", "task", "commit"];

/// A stage of the pipeline whose time is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PipelineStage {
    Decode,
    Schema,
    Plugin,
    Task,
    Commit,
}

/// Series of the whole process.
pub(crate) static PIPELINE: PipelineSeries = PipelineSeries {
    stages: [const { Histogram::of_times(&WORK) }; STAGES.len()],
    replays: [const { Counter::new() }; REPLAYS.len()],
};

/// Times and counts of the pipeline.
#[derive(Debug)]
pub(crate) struct PipelineSeries {
    stages: [Histogram<{ WORK.len() }>; STAGES.len()],
    replays: [Counter; REPLAYS.len()],
}

/// Names of the outcomes, in the order of [`ReplayEnd`].
const REPLAYS: [&str; 4] = ["done", "quarantined", "refused", "failed"];

/// Outcome of a replay of a stored event.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReplayEnd {
    Done,
    /// The pipeline quarantined it again.
    Quarantined,
    /// The event cannot be replayed.
    Refused,
    /// It could not be run or stored now.
    Failed,
}

impl PipelineSeries {
    /// Adds the time of a stage.
    pub(crate) fn took(&self, stage: PipelineStage, time: Duration) {
        if let Some(times) = self.stages.get(stage as usize) {
            times.took(time);
        }
    }

    /// Counts a replay.
    pub(crate) fn replayed(&self, end: ReplayEnd) {
        if let Some(count) = self.replays.get(end as usize) {
            count.count();
        }
    }

    pub(super) fn write(&self, to: &mut Exposition<'_>) -> fmt::Result {
        to.labelled(&series::STAGE_DURATION, |samples| {
            STAGES.iter().zip(&self.stages).try_for_each(|(stage, times)| samples.histogram(&[stage], times))
        })?;
        to.labelled(&series::EVENT_REPLAYS, |samples| {
            REPLAYS.iter().zip(&self.replays).try_for_each(|(end, count)| samples.counter(&[end], count.get()))
        })
    }
}
