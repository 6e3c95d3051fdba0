//! hookmill takes webhooks in whatever shape a sender makes them and gives back tasks.
//!
//! # The life of one webhook
//! ```text
//! bytes ─▶ authenticate ─▶ RawEvent ─▶ decode ─▶ schema ─▶ plugin ─▶ task ─▶ commit ─▶ reply
//! ```
//! The modules stand in that order:
//!
//! - [`config`] is read once, [`server`] binds and drains, [`app`] is what a request may reach.
//! - [`peer`] is the address that limits are counted by; `memory` bounds what requests hold at once.
//! - `http` has every route on one screen, and turns failures into the documented error body.
//! - [`auth`] knows keys, scopes and signatures; [`audit`] is who did what with them.
//! - [`event`] is a delivery and what became of it; [`ingest`] is the line above, and reads like it.
//! - [`payload`] turns any encoding and looseness into JSON of the documented shape.
//! - [`schema`] checks it and says in words what is wrong.
//! - [`integration`] is a plugin folder that is live; [`folder`] reads its files and nothing outside of it; [`plugin`] runs
//!   its WebAssembly in a sandbox.
//! - [`shares`] divides what is limited, so that one company's load is not another's 503.
//! - [`operations`] has the slots of what takes long, such as erasures and backups.
//! - [`queue`] has the deliveries that were answered first; [`watch`] reloads plugin folders; [`diff`] compares JSON.
//! - [`dry_run`] runs a plugin that is not live, over stored events or beside the one that is.
//! - [`task`] is what comes out, and [`store`] keeps it.
//! - [`cli`] is the command line.

pub mod app;
pub mod audit;
pub mod auth;
pub mod cli;
mod clock;
pub mod config;
pub mod diff;
pub mod dry_run;
pub mod event;
pub mod folder;
mod http;
pub mod ingest;
pub mod integration;
mod log;
mod memory;
pub mod operations;
mod parse;
pub mod payload;
pub mod peer;
pub mod plugin;
pub mod queue;
pub mod schema;
pub mod server;
pub mod shares;
pub mod store;
pub mod task;
pub mod text;
pub mod watch;
