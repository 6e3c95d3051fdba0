//! Formats: payloads, JSON Schemas, tasks as they are sent, and differences between JSON documents.

pub mod diff;
pub(crate) mod parse;
pub mod payload;
pub mod schema;
pub(crate) mod schema_of;
pub mod task;
pub mod task_change;
