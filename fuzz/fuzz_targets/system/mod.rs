//! The clock of the server, which the journal reads.

#[path = "../../../src/system/clock.rs"]
pub(crate) mod clock;
