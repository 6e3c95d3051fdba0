//! Traces (W3C Trace Context, OpenTelemetry): which trace a request, an event and queued work belong to.
//!
//! `context.rs` is a place in a trace, as it is sent, stored and shown; `operation.rs` the span of a request or of queued
//! work, with its stages; `settings.rs` and `start.rs` switch traces on; `export.rs` sends spans to a collector, as the JSON
//! of `otlp.rs`. Where traces are off, none of it runs, and nothing is allocated for it.

mod context;
mod export;
mod operation;
mod otlp;
mod settings;
mod start;

pub use context::TraceContext;
pub(crate) use operation::{Kind, Operation, begin, context, current, is_on, link, route, stage};
pub use settings::TraceSettings;
pub(crate) use start::start;
