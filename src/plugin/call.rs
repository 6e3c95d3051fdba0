//! A call of a plugin: what it takes and returns.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::error::PluginError;
use crate::format::payload::Loosened;

/// Maximum number of bytes that a call may pass to the host at once apart from its output (a log message). A
/// component that passes more is stopped before anything is copied.
pub(super) const LARGEST_LOG: usize = 1 << 20;

/// What a plugin knows about the event apart from its payload. The same event always gives the same context.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// Id of the event.
    pub event_id: String,
    /// Name of the integration.
    pub integration: String,
    /// Time that the plugin's clock shows during the whole call.
    pub received_at: DateTime<Utc>,
    /// Company that the tasks belong to.
    pub company_id: String,
    /// `[config]` as a JSON object.
    pub config: Arc<str>,
    /// The headers that the sender's file and plugin.toml name: names in lower case, and values.
    pub headers: Arc<[(String, String)]>,
    /// The parameters of the query that plugin.toml names, decoded, in the order in which they were sent.
    pub query: Arc<[(String, String)]>,
    /// The path after the integration's name, such as `/issues/opened`, if plugin.toml asks for it; else empty.
    pub path: Arc<str>,
}

impl CallContext {
    /// Returns the parameters of the query as a JSON object, in which repeated ones are lists.
    pub(super) fn query_object(&self) -> Value {
        let mut object = Map::new();
        for (name, value) in &*self.query {
            let value = Value::from(value.as_str());
            match object.get_mut(name) {
                None => drop(object.insert(name.clone(), value)),
                Some(Value::Array(all)) => all.push(value),
                Some(one) => *one = Value::Array(vec![one.take(), value]),
            }
        }
        Value::Object(object)
    }
}

/// The successful result of a plugin call.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Tasks, not parsed yet, and what was read loosely in their JSON.
    Tasks(Vec<Value>, Loosened),
    /// A skip, with its reason.
    Skip(String),
}

/// The result of a call, whether it succeeded or not.
#[derive(Debug)]
pub struct Called {
    /// The outcome, or why the call failed.
    pub result: Result<Outcome, PluginError>,
    /// The plugin's log, truncated at the limit.
    pub log: String,
    /// Resources that the call used.
    pub usage: Usage,
    /// The first bytes of output that is invalid, for the plugin's author only: it may contain the payload.
    pub excerpt: Option<String>,
}

/// Resources that a call used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Highest linear memory, all memories together, in bytes.
    pub memory_bytes: usize,
    /// Number of table elements, all tables together.
    pub table_elements: usize,
    /// Size of the output, in bytes.
    pub output_bytes: usize,
    /// Size of the log, in bytes, including dropped parts.
    pub log_bytes: usize,
    /// Approximate number of instructions (wasmtime's fuel), if the host counts them.
    pub fuel: Option<u64>,
}

impl Usage {
    /// Returns the maximum of each value.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            table_elements: self.table_elements.max(other.table_elements),
            output_bytes: self.output_bytes.max(other.output_bytes),
            log_bytes: self.log_bytes.max(other.log_bytes),
            fuel: self.fuel.max(other.fuel),
        }
    }
}

/// How a module receives its payload. It is detected from the module's first bytes, not its file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Abi {
    /// A component of the world in `wit/mapper.wit`.
    Component,
    /// A WASI preview 1 program: payload on stdin, tasks on stdout.
    Command,
    /// A script, or expressions, in hookmill's interpreter.
    Script,
}

impl Called {
    /// Returns the result of a call that was not run.
    pub(crate) fn not_made(error: PluginError) -> Self {
        Self { result: Err(error), log: String::new(), usage: Usage::default(), excerpt: None }
    }
}
