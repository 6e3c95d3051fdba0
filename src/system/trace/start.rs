//! Switches traces on, and off again at the end.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};

use super::export::{Backlog, Bounded, Collector, QUEUE};
use super::operation::TRACER;
use super::settings::TraceSettings;

/// How long the last spans may take at the end.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// Traces that are on.
#[derive(Debug)]
pub(crate) struct Tracing(SdkTracerProvider);

/// Switches traces on for the whole process, once.
pub(crate) fn start(settings: &TraceSettings) -> Tracing {
    let backlog = Arc::new(Backlog::default());
    // OTEL_BSP_SCHEDULE_DELAY and the like are read by the library.
    let batches = BatchConfigBuilder::default().with_max_queue_size(QUEUE).build();
    let collector = Collector::new(settings, Arc::clone(&backlog));
    let inner = BatchSpanProcessor::builder(collector).with_batch_config(batches).build();
    let resource = Resource::builder()
        .with_service_name(settings.service_name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let new_traces = Sampler::TraceIdRatioBased(settings.sample_ratio);
    let provider = SdkTracerProvider::builder()
        .with_span_processor(Bounded { inner, backlog })
        .with_sampler(Sampler::ParentBased(Box::new(new_traces)))
        .with_resource(resource)
        .build();
    let _already_on = TRACER.set(provider.tracer(env!("CARGO_PKG_NAME")));
    Tracing(provider)
}

impl Tracing {
    /// Exports what is left, for 3 seconds at most. Blocking.
    pub(crate) fn stop(&self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_SPANS) {
            tracing::warn!(cause = %error, "the last spans were not exported");
        }
    }
}
