//! The buckets of a window: what was received, and what this server answered.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::event::EventStatus;
use crate::service::recorder::Recorder;
use crate::store::{Timeline, TimelineWindow};

/// What was received in a bucket.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OverviewBucket")]
pub(super) struct CountedBucket {
    /// When it begins.
    at: DateTime<Utc>,
    /// Number of events by their present status; without those that are 0.
    events: BTreeMap<&'static str, u64>,
    /// Number of tasks that were created.
    tasks: u64,
}

/// How this server answered deliveries and requests about tasks in a bucket.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ServedBucket")]
pub(super) struct ServedBucket {
    /// When it begins.
    at: DateTime<Utc>,
    /// Number of requests.
    requests: u64,
    /// Responses with a status from 400 to 499.
    refused: u64,
    /// Responses with a status from 500 on.
    failed: u64,
    /// The most deliveries that were queued.
    queued: u64,
    /// Median time until the response, in milliseconds; estimated from a histogram. Null without requests.
    p50_ms: Option<f64>,
    /// 99th percentile of it.
    p99_ms: Option<f64>,
}

/// Returns a status as the API names it.
pub(super) fn named(status: EventStatus) -> &'static str {
    match status {
        EventStatus::Stored => "stored",
        EventStatus::Skipped => "skipped",
        EventStatus::Quarantined => "quarantined",
        EventStatus::Rejected => "rejected",
        EventStatus::Duplicate => "duplicate",
        EventStatus::Queued => "queued",
        EventStatus::Captured => "captured",
    }
}

/// Returns when each bucket begins.
fn begins(window: TimelineWindow, end: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
    let step = TimeDelta::milliseconds(window.step_ms());
    std::iter::successors(Some(window.begins(end)), move |it| Some(*it + step)).take(window.buckets())
}

pub(super) fn buckets(window: TimelineWindow, end: DateTime<Utc>, timeline: &Timeline) -> Vec<CountedBucket> {
    let tasks = timeline.tasks.iter().copied().chain(std::iter::repeat(0));
    let bucket = |(at, tasks)| CountedBucket { at, events: BTreeMap::new(), tasks };
    let mut buckets: Vec<_> = begins(window, end).zip(tasks).map(bucket).collect();
    for count in &timeline.events {
        if let Some(bucket) = buckets.get_mut(count.bucket) {
            *bucket.events.entry(named(count.status())).or_default() += count.events;
        }
    }
    buckets
}

pub(super) fn served(window: TimelineWindow, end: DateTime<Utc>, recorder: &Recorder) -> Vec<ServedBucket> {
    let round = |it: f64| (it * 100.0).round() / 100.0;
    let served = begins(window, end).zip(recorder.buckets(window, end));
    let bucket = |(at, it): (_, crate::service::recorder::RecordedBucket)| ServedBucket {
        at,
        requests: it.requests(),
        refused: it.refused,
        failed: it.failed,
        queued: it.queued,
        p50_ms: it.percentile_ms(0.5).map(round),
        p99_ms: it.percentile_ms(0.99).map(round),
    };
    served.map(bucket).collect()
}
