//! Erases what was sent: of one patient, or of an integration's events that are older than `keep_days`. The events
//! remain and are marked as erased.
//!
//! `run.rs` erases in a running store, `at_rest.rs` in a directory without a server. `find.rs` finds what to erase, with
//! `ops.rs` for single operations of the journal; `overwrite.rs` rewrites a segment. `answers.rs` handles stored responses;
//! `late.rs` handles events that are stored after the erasure began; `forget.rs` implements `keep_days`, and `forgotten.rs`
//! has its progress.

mod answers;
mod at_rest;
mod find;
mod forget;
pub(super) mod forgotten;
pub(super) mod late;
mod ops;
mod overwrite;
mod run;

pub use at_rest::erase;
