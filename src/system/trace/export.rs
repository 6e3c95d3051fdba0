//! Sends spans to a collector, on a thread of its own. Requests never wait for it: spans that find its queue full are
//! dropped, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};
use serde::Deserialize;

use super::otlp;
use super::settings::TraceSettings;
use crate::system::clock;
use crate::system::log::{self, SampledLine};

/// Spans that wait for the exporter: about 2 MB.
pub(super) const QUEUE: usize = 2048;
/// Most bytes that are read of a collector's response.
const RESPONSE_BYTES: u64 = 64 * 1024;

/// Spans between the requests and the exporter.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

/// Puts spans into the batch processor's queue, as long as there is room.
#[derive(Debug)]
pub(super) struct Bounded {
    pub(super) inner: BatchSpanProcessor,
    pub(super) backlog: Arc<Backlog>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.backlog.waiting.fetch_add(1, Ordering::Relaxed) < QUEUE {
            self.inner.on_end(span);
        } else {
            self.backlog.waiting.fetch_sub(1, Ordering::Relaxed);
            self.backlog.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Posts spans as OTLP's JSON.
#[derive(Debug)]
pub(super) struct Collector {
    agent: ureq::Agent,
    url: String,
    resource: Resource,
    backlog: Arc<Backlog>,
}

impl Collector {
    pub(super) fn new(settings: &TraceSettings, backlog: Arc<Backlog>) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(settings.timeout))
            .http_status_as_error(true)
            .max_redirects(0)
            // The collector is named by its address; a proxy for other traffic is not asked.
            .proxy(None)
            .build()
            .into();
        Self { agent, url: settings.url.clone(), resource: Resource::builder_empty().build(), backlog }
    }

    /// Gives how many of them the collector refused.
    fn post(&self, spans: &[SpanData]) -> Result<u64, ureq::Error> {
        let body = otlp::request(&self.resource, spans).to_string();
        let mut response = self.agent.post(&self.url).content_type("application/json").send(body)?;
        let body = response.body_mut().with_config().limit(RESPONSE_BYTES).read_to_vec()?;
        Ok(serde_json::from_slice::<CollectorReply>(&body).unwrap_or_default().refused())
    }

    fn report(&self, spans: usize, result: &Result<u64, ureq::Error>) {
        let dropped = self.backlog.dropped.swap(0, Ordering::Relaxed);
        let (lost, cause) = match result {
            Ok(0) if dropped == 0 => return,
            Ok(0) => (dropped, "they are made faster than they are exported; lower traces.sample_ratio".into()),
            Ok(refused) => (dropped + refused, "the collector refused them".into()),
            Err(error) => (dropped + spans as u64, error.to_string()),
        };
        if let Some(turn) = log::sample(SampledLine::Traces, "", clock::now()) {
            tracing::warn!(spans = lost, cause, omitted = turn.omitted, "spans were not exported");
        }
    }
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.backlog.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
        let result = self.post(&batch);
        self.report(batch.len(), &result);
        result.map(drop).map_err(|error| OTelSdkError::InternalFailure(error.to_string()))
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.clone();
    }
}

/// An `ExportTraceServiceResponse`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CollectorReply {
    partial_success: Partial,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Partial {
    /// A 64-bit number, which is text in this encoding; some collectors write a number.
    rejected_spans: serde_json::Value,
}

impl CollectorReply {
    fn refused(&self) -> u64 {
        let sent = &self.partial_success.rejected_spans;
        sent.as_u64().or_else(|| sent.as_str()?.parse().ok()).unwrap_or(0)
    }
}
