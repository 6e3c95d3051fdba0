//! HTTP: every route on one screen (`routes.rs`), its types, and what turns failures into the documented error body.
//!
//! A request passes `edge.rs` (limits, request id, log line; with `detached_handler.rs`, `content.rs` and `trace.rs`), then
//! `dispatch.rs` finds its route. `route.rs` puts a route together: `access.rs` admits the caller, the handler's input types
//! read the request (`path.rs`, `query/`, `body.rs`, `task_body.rs`, `request_headers.rs`), and its reply type writes the
//! response (`reply.rs`, `answer.rs`, `respond.rs`). The same types describe the route: `openapi/` makes openapi.json from them.
//! `problem_code.rs` has all status codes of failures; `repeat.rs` is what repeated requests get.

mod access;
mod admin;
mod answer;
mod attempts;
mod audit;
mod batch;
mod body;
mod call;
mod call_body;
mod comparisons;
mod conflict;
mod console;
mod console_link;
mod content;
mod deliveries;
mod detached_handler;
pub(crate) mod dispatch;
mod dry_run;
pub(crate) mod edge;
mod erase;
mod event_copy;
mod event_files;
mod events;
mod exchange;
mod feed;
mod health;
mod hooks;
mod input;
mod key_conflict;
mod key_holder;
mod key_list;
mod learned_secrets;
mod me;
mod metrics;
mod nodes;
pub(crate) mod openapi;
mod openapi_file;
mod outcome_answer;
mod overview;
mod path;
mod plugin_answer;
mod plugin_fixtures;
mod plugin_node;
mod plugins;
mod problem;
mod problem_code;
mod problem_reply;
mod proof;
mod provenance;
mod query;
mod questions;
mod reader;
mod repeat;
mod replay;
mod replays;
mod reply;
mod request_headers;
mod respond;
mod route;
mod router;
mod routes;
mod scripts;
mod senders;
pub mod server;
mod settings;
mod shown_url;
mod task_body;
mod tasks;
mod test_delivery;
mod trace;
mod trial;
mod upkeep;
