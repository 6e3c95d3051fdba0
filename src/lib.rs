//! hookmill takes webhooks in whatever shape a sender makes them and gives back tasks.
//!
//! # The life of one webhook
//! ```text
//! bytes ─▶ authenticate ─▶ RawEvent ─▶ decode ─▶ schema ─▶ plugin ─▶ task ─▶ commit ─▶ reply
//! ```
//! The folders are layers: each uses only what is above it in this list.
//!
//! - `system`: the clock, the log, rates, text for people, files of a folder.
//! - [`model`]: ids, tasks, events, audit entries.
//! - [`mod@format`]: payloads in any encoding, JSON Schemas, tasks as they are sent, differences between documents.
//! - [`limits`]: places and memory that companies, integrations and peers share.
//! - [`auth`]: API keys, scopes, and how senders are authenticated.
//! - [`store`]: what is durable, behind traits; `embedded` is the journal with its read view.
//! - [`plugin`]: the sandbox for WebAssembly.
//! - [`integration`]: a plugin folder that is live, with its sender, schema and fixtures.
//! - [`pipeline`]: the life of one webhook, as drawn above.
//! - [`config`]: settings, read once at the start.
//! - [`service`]: work in the background: the queue, plugin folders, dry runs, long operations.
//! - [`http`]: all routes on one screen, and the server.
//! - [`cli`]: the command line.

pub mod auth;
pub mod cli;
pub mod config;
pub mod format;
pub mod http;
pub mod integration;
pub mod limits;
mod metrics;
pub mod model;
pub mod pipeline;
pub mod plugin;
pub mod service;
pub mod store;
pub mod system;
