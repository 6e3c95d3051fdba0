//! Bind, serve, drain.
//!
//! `server/crowd.rs` has all connections, `server/socket.rs` the limits of one, `server/wire.rs` what the socket and its requests tell each other.

mod accept;
mod crowd;
mod files;
mod socket;
pub(super) mod wire;

pub use accept::{run, run_metrics};
