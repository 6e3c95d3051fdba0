//! The mapping of plugins/calendly as an Extism plugin.

#[path = "../../../../../plugins/calendly/src/event.rs"]
mod event;
#[path = "../../../../../plugins/calendly/src/map.rs"]
mod map;

use extism_pdk::{FnResult, config, plugin_fn};

#[plugin_fn]
pub fn transform(payload: String) -> FnResult<String> {
    let event = serde_json::from_str(&payload)?;
    let config = serde_json::from_str(&config::get("config")?.unwrap_or_default())?;
    Ok(match map::map(&event, &config) {
        map::Mapped::Task(task) => serde_json::to_string(&task)?,
        map::Mapped::Skip(reason) => reason,
    })
}
