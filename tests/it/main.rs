//! The integration tests: one file per behaviour, most of them through the real server (`harness`).
//!
//! They are one binary, so that the engine is linked once. `cargo test --test it NAME` runs the tests whose path
//! contains NAME, for example `crash::`. They share a process there, so no test changes the environment, the working
//! directory or another setting of the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(missing_docs, unreachable_pub, reason = "nothing is exported from a test binary")]

mod answers;
mod batch;
mod cases;
mod cases_coded;
mod cases_files;
mod change;
mod checks;
mod cold_start;
mod corpus;
mod crash;
mod data_directory;
mod dry_run;
mod edge;
mod erase;
mod erase_late;
mod events;
mod faults;
mod feed;
mod guests;
mod handshakes;
mod hang_up_load;
mod hang_ups;
mod harness;
mod help;
mod hooks;
mod hostile;
mod idempotency;
mod keys;
mod later;
mod lax;
mod limits;
mod list;
mod mapper_headers;
mod me;
mod metrics;
mod n8n;
mod openapi;
mod openapi_changes;
mod own_process;
mod plugin_cli;
mod plugin_errors;
mod plugin_folders;
mod plugins;
mod provenance;
mod query;
mod redact;
mod reload;
mod repeats;
mod request_log;
mod room;
mod secrets;
mod sender_attacks;
mod sender_cli;
mod sender_keys;
mod sender_setup;
mod senders;
mod shadow;
mod shares;
mod shim;
mod shim_works;
mod store_again;
mod store_audit;
mod store_cli;
mod store_close;
mod store_contract;
mod store_damage;
mod store_feed;
mod store_heals;
mod store_lists;
mod store_model;
mod store_rebuild;
mod store_retention;
mod stored;
mod strangers;
mod tasks;
mod traces;
