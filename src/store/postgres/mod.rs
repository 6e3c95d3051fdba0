//! The PostgreSQL store: any number of servers ("nodes") on one database.
//!
//! `backend.rs` is the handle, and `verbs.rs` its operations. `schema/` has the tables, and `schema.rs` their versions.
//! `url.rs`, `tls.rs` and `connections.rs` are how a node connects, `failure.rs` what the database's errors mean.
//!
//! In the order of a write: `change.rs` encodes it on the caller's thread, and `writer/` puts the changes that wait into one
//! transaction; `partitions.rs` has the days of events. Reads: `tasks.rs` with `task_query.rs`, `events.rs`, `feed.rs`,
//! `answers.rs` and `keys.rs`.
//!
//! Of several nodes: `node.rs` is a node's lease, `claims.rs` with `claim.sql` and `lane_range.rs` its claims on
//! queued events, `cluster.rs` what it offers to the rest of the program, `watch.rs` what others change, `shared.rs` what a node knows. `lineage.rs` recognises a restored
//! database; `bundles.rs` has the plugins in it, `sessions.rs` who is logged in, and `replay_jobs.rs` the replays that run.
//!
//! Upkeep: `expire.rs` with `expire_events.rs`, `erase.rs` with `erase_answers.rs`, `forget.rs`, `history.rs`, `transfer.rs`
//! and `stats.rs`. `leases.rs` is for what one node at a time does, `pages.rs` reads all events, and `vacuum.rs` removes old
//! versions of rows.

mod answers;
mod apart;
mod backend;
mod bundles;
mod change;
mod claims;
mod cluster;
mod connections;
mod erase;
mod erase_answers;
mod event_ids;
mod events;
mod expire;
mod expire_events;
mod failure;
mod feed;
mod forget;
mod history;
mod keys;
mod lane_range;
mod leases;
mod lineage;
mod node;
mod options;
mod pages;
mod partitions;
mod replay_jobs;
mod schema;
mod sessions;
mod shared;
mod stats;
mod task_query;
mod tasks;
mod text;
mod timeline;
mod tls;
mod transfer;
mod url;
mod vacuum;
mod verbs;
mod watch;
mod writer;

pub use backend::Postgres;
pub use options::PostgresOptions;
pub use schema::Migrated;
pub use url::DatabaseUrl;
