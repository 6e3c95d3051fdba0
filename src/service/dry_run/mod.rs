//! Dry runs: runs a plugin that is not live over stored events and reports what would be different. Nothing is
//! stored.
//!
//! `dry_run/jobs.rs` has those in the background. `dry_run/verdict.rs` is the comparable result of a pipeline run, `dry_run/tally.rs` counts differences, and
//! `dry_run/compared.rs` adds resource usage. `dry_run/shadow.rs` compares a candidate with the live plugin on new
//! events.

mod compared;
mod jobs;
mod run;
mod shadow;
mod shadows;
mod tally;

pub use compared::{Compared, Runs};
pub use jobs::{ComparisonJob, ComparisonJobs, ComparisonReport, ComparisonState, ComparisonSubject};
pub use run::{DryRunOptions, Report, run};
pub use shadow::{Shadow, ShadowReport};
pub use shadows::{AttachedShadow, Shadows};
pub use tally::{Sample, Tally};
