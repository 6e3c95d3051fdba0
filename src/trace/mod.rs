//! Traces (W3C Trace Context, OpenTelemetry): which trace a request, an event and queued work belong to.
//!
//! `context.rs` is a place in a trace, as it is sent, stored and shown.

mod context;

pub use context::TraceContext;
