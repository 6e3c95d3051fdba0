//! Quarantine and the queue.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::{AttentionAnswer, AttentionKind, Severity, count};
use crate::http::answer::Failed;
use crate::http::overview::Asked;
use crate::metrics::queue::QUEUE;
use crate::model::event::EventStatus;
use crate::store::{EventFilter, Timeline, TimelineWindow};

/// Number of the newest quarantined events whose reasons are looked at.
const LOOKED_AT: usize = 100;
/// Number of reasons that are named.
const NAMED: usize = 3;
/// How long a delivery may be queued before it needs attention.
const WAITS: TimeDelta = TimeDelta::minutes(5);

pub(super) async fn add(asked: &Asked<'_>, day: &Timeline, all: &mut Vec<AttentionAnswer>) -> Result<(), Failed> {
    let of = |status: EventStatus| day.events.iter().filter(move |it| it.status() == status);
    let quarantined: u64 = of(EventStatus::Quarantined).map(|it| it.events).sum();
    if quarantined > 0 {
        let why = reasons(asked).await?;
        let deliveries = count(quarantined, "delivery was", "deliveries were");
        let message = format!("{deliveries} quarantined in the last 24 hours{why}. Fix the cause, and replay them.");
        let since = TimelineWindow::Day.begins(asked.now).format("%Y-%m-%dT%H:%M:%SZ");
        let link = format!("/console/events?status=quarantined&since={since}");
        all.push(AttentionAnswer::new(Severity::Warn, AttentionKind::Quarantine, message, link));
    }
    queue(asked, day, all);
    Ok(())
}

/// The most frequent reasons, in words; nothing without a company.
async fn reasons(asked: &Asked<'_>) -> Result<String, Failed> {
    let Some(company) = asked.company else { return Ok(String::new()) };
    let since = Some(TimelineWindow::Day.begins(asked.now));
    let filter = EventFilter { status: vec![EventStatus::Quarantined], since, ..EventFilter::default() };
    let page = asked.app.store.list_events(company, filter, None, LOOKED_AT).await?;
    let mut reasons: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for it in &page.events {
        let why = it.reason.as_ref().map_or("unknown", |it| it.code.as_str());
        *reasons.entry((&it.integration.0, why)).or_default() += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, events)| std::cmp::Reverse(*events));
    let named = |((integration, why), events): &((&str, &str), u64)| format!("{events} × {why} of {integration}");
    let named: Vec<_> = reasons.iter().take(NAMED).map(named).collect();
    let part = if page.next.is_some() || page.events.len() == LOOKED_AT { "; of the newest: " } else { ": " };
    Ok(if named.is_empty() { String::new() } else { format!("{part}{}", named.join(", ")) })
}

/// Deliveries that wait for long. An admin of a company sees those of its own, by the quarter of an hour.
fn queue(asked: &Asked<'_>, day: &Timeline, all: &mut Vec<AttentionAnswer>) {
    let queued = day.events.iter().filter(|it| it.status() == EventStatus::Queued);
    let waiting: u64 = queued.clone().map(|it| it.events).sum();
    let step = TimeDelta::milliseconds(TimelineWindow::Day.step_ms());
    let received = |bucket: usize| TimelineWindow::Day.begins(asked.now) + step * i32::try_from(bucket).unwrap_or(0);
    // At least so long: a bucket's events may have come at its end.
    let oldest = queued.map(|it| asked.now - received(it.bucket) - step).max();
    let exact = asked.is_operator().then(|| QUEUE.oldest()).flatten();
    let exact = exact.map(|it| TimeDelta::milliseconds(asked.now.timestamp_millis() - it));
    let age = exact.filter(|_| asked.company.is_none()).or(oldest);
    let link = "/console/events?status=queued";
    if let Some(age) = age.filter(|it| *it > WAITS) {
        let message = format!(
            "{} in the queue, the oldest for at least {} minutes.",
            count(waiting.max(1), "delivery waits", "deliveries wait"),
            age.num_minutes()
        );
        all.push(AttentionAnswer::new(Severity::Warn, AttentionKind::Queue, message, link));
    }
    let (stored, limit) =
        (asked.app.queue.stored().unwrap_or_else(|| QUEUE.all()), asked.app.config.limits.queue as u64);
    if asked.is_operator() && stored.saturating_mul(5) > limit.saturating_mul(4) {
        let message =
            format!("The queue is nearly full: {stored} of {limit} places are taken. Beyond that, deliveries get 503.");
        all.push(AttentionAnswer::new(Severity::Bad, AttentionKind::Queue, message, link));
    }
}
