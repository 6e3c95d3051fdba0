//! What hookmill stores and passes on: ids, tasks, events, audit entries. Everything else builds on it.

pub mod audit;
pub mod company;
pub mod event;
pub mod headers;
pub mod ids;
pub mod origin;
pub mod peer;
pub mod provenance;
pub mod secret;
pub mod sent_url;
pub mod task;
pub mod time;
