//! The queue of deliveries that were acknowledged before processing: where they are processed, and in which order.
//!
//! Queued events are in the store; the queue has only their ids, as many as [`Queue::new`] allows. Each integration
//! has a dispatcher, which passes its events to lanes (`queue/lanes.rs`): a lane processes one event after another,
//! and events with the same ordering key go to the same lane. The dispatcher waits while the integration is being
//! loaded, replaces the lanes when a new version allows more or fewer concurrent calls, and ends when the
//! integration is removed. Queued events of an integration that was removed, or has moved to another company, are
//! quarantined without a call, and their places are released.
//!
//! Where servers share the store, an event is not passed on by the server that stored it: each server claims events from the
//! store (`queue/claims.rs`), at most so many of each integration (`queue/held.rs`), and its lanes are the same. Events of an
//! integration that no server has are quarantined after a while (`queue/absent.rs`).

mod absent;
mod claims;
mod dispatch;
mod held;
mod lanes;
mod waiting;
mod work;

pub use dispatch::Queue;
pub use waiting::Place;
