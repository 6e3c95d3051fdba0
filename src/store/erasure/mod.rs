//! Erasing what was sent of a patient: how the patient is found (`patient.rs`, with `words.rs` and `escapes.rs` for the
//! spellings of an id, and `readings.rs` for what a body may be read as), what remains
//! of an event (`content.rs`), and what an erasure returns (`report.rs`).

pub(super) mod content;
mod escapes;
pub(super) mod patient;
mod readings;
pub(super) mod report;
mod words;

pub use patient::{FoundBy, Match, Patient};
pub use report::{Erased, ErasedEvent, Keep, NamingTask};
pub use words::Form;
