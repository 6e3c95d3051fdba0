//! The log's format, and the fields of every log line of a request. All text of a line is escaped here (`text.rs`).
//!
//! A `tracing` span would format its fields for every request, logged or not, which costs microseconds (docs/decisions/0029).
//! Here a request stores its fields unformatted, and only a line that is written formats them.

mod fields;
mod sample;

pub(crate) use fields::{Field, JsonLine, Request, TextFields, current, know, known, says_no_more_than_it_may};
pub(crate) use sample::{SampledLine, flush, sample};
