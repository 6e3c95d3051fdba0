//! The integrations of the overview: their state, and what they received in the window.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::Asked;
use crate::http::answer::Failed;
use crate::http::plugin_answer::{PluginBrief, PluginState};
use crate::model::company::CompanyId;
use crate::model::event::EventStatus;
use crate::store::{EventFilter, Timeline, TimelineWindow};

/// Number of integrations whose last delivery is looked up.
const LOOKED_UP: usize = 200;

/// An integration in short.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "IntegrationInShort")]
pub(super) struct IntegrationBrief {
    /// Its name; `tasks` for `POST /v1/tasks`.
    name: String,
    /// Its company; null if it is not known.
    company_id: Option<CompanyId>,
    /// The state of its plugin; null if there is none.
    state: Option<PluginState>,
    /// Why a folder is refused.
    message: Option<String>,
    /// Whether deliveries are only captured.
    captures: bool,
    /// The version that is live.
    version: Option<String>,
    /// Deliveries in the window, including rejected and repeated ones.
    deliveries: u64,
    /// Those of them that are quarantined now.
    quarantined: u64,
    /// Those of them that were rejected.
    rejected: u64,
    /// When the last delivery of the window was received.
    last_delivery_at: Option<DateTime<Utc>>,
    /// Number of calls of the plugin since this version went live.
    calls: Option<u64>,
    /// Median duration of a call, in microseconds.
    p50_us: Option<u64>,
    /// 99th percentile of it.
    p99_us: Option<u64>,
    /// The last bucket with deliveries.
    #[serde(skip)]
    bucket: Option<usize>,
}

/// Returns them by name.
pub(super) async fn of(
    asked: &Asked<'_>,
    plugins: &[PluginBrief<'_>],
    (window, end): (TimelineWindow, DateTime<Utc>),
    timeline: &Timeline,
) -> Result<Vec<IntegrationBrief>, Failed> {
    let mut all: BTreeMap<String, IntegrationBrief> = BTreeMap::new();
    for it in plugins {
        let brief = IntegrationBrief {
            name: it.name.to_owned(),
            company_id: it.company.cloned(),
            state: Some(it.state),
            message: it.message.map(str::to_owned),
            captures: it.captures,
            version: it.version.map(str::to_owned),
            calls: it.calls.map(|it| it.calls),
            p50_us: it.calls.filter(|it| it.calls > 0).map(|it| it.p50_us),
            p99_us: it.calls.filter(|it| it.calls > 0).map(|it| it.p99_us),
            ..IntegrationBrief::default()
        };
        all.insert(it.name.to_owned(), brief);
    }
    for count in &timeline.events {
        let it = all.entry(count.integration.clone()).or_insert_with(|| IntegrationBrief {
            name: count.integration.clone(),
            company_id: asked.company.cloned(),
            ..IntegrationBrief::default()
        });
        it.deliveries += count.events;
        it.bucket = it.bucket.max(Some(count.bucket));
        match count.status() {
            EventStatus::Quarantined => it.quarantined += count.events,
            EventStatus::Rejected => it.rejected += count.events,
            _ => {}
        }
    }
    for it in all.values_mut().filter(|it| it.bucket.is_some()).take(LOOKED_UP) {
        it.last_delivery_at = last(asked, it, window, end).await?;
    }
    Ok(all.into_values().collect())
}

/// Returns when the last delivery was received: it is in the last bucket that has any.
async fn last(
    asked: &Asked<'_>,
    it: &IntegrationBrief,
    window: TimelineWindow,
    end: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, Failed> {
    let (Some(company), Some(bucket)) = (asked.company.or(it.company_id.as_ref()), it.bucket) else { return Ok(None) };
    let step = TimeDelta::milliseconds(window.step_ms());
    let since = window.begins(end) + step * i32::try_from(bucket).unwrap_or(0);
    let (integration, until) = (vec![it.name.clone()], Some(since + step));
    let filter = EventFilter { integration, since: Some(since), until, ..EventFilter::default() };
    let page = asked.app.store.list_events(company, filter, None, 1).await?;
    Ok(page.events.first().map(|it| it.received_at))
}
