//! Work in the background, and what a request may reach: the queue, plugin folders, dry runs, search in payloads, long operations.

pub mod app;
pub mod cluster;
pub(crate) mod counting;
pub mod current_senders;
pub mod dry_run;
pub mod learned;
pub mod nodes;
mod observed_store;
pub mod operations;
pub mod queue;
pub(crate) mod recorder;
pub mod replays;
pub(crate) mod scrape;
mod script_place;
pub(crate) mod scripts;
pub mod search;
pub mod sender_keys;
pub mod sessions;
pub mod tail;
pub(crate) mod timelines;
pub(crate) mod trial;
pub mod watch;
