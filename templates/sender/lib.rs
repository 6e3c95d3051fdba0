//! Maps the deliveries of a sender to tasks.

use hookmill_plugin::{Context, Mapped, Refusal, plugin};
use serde::Deserialize;

/// A payload that fits input.schema.json: add the fields that the mapping needs.
#[derive(Deserialize)]
struct Delivery {}

/// `[config]` in plugin.toml.
#[derive(Deserialize)]
struct Config {
    default_assignee: String,
}

fn map(_delivery: Delivery, context: &Context<Config>) -> Result<Mapped, Refusal> {
    // In its place, return Mapped::task(&Task { assigned_user_ids: vec![…], ..Task::default() }).
    let _assignee = &context.config.default_assignee;
    Ok(Mapped::skip("the mapping is not written yet"))
}

plugin!(map);
