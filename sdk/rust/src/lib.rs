//! Write a hookmill plugin in Rust: one function from your payload to tasks.
//!
//! # I have this JSON and want a task
//! ```json
//! {"customer": {"name": "Ada"}, "text": "Please call back", "due": "2026-12-01"}
//! ```
//! Declare the fields that you need, and return the task:
//! ```
//! use hookmill_plugin::{Context, Mapped, Refusal, Task, plugin};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! struct Message { customer: Customer, text: String, due: Option<String> }
//! #[derive(Deserialize)]
//! struct Customer { name: String }
//! #[derive(Deserialize)]
//! struct Config { default_assignee: String }   // [config] in plugin.toml
//!
//! fn map(message: Message, context: &Context<Config>) -> Result<Mapped, Refusal> {
//!     Mapped::task(&Task {
//!         title: format!("Call {}", message.customer.name),
//!         description: message.text,
//!         assigned_user_ids: vec![context.config.default_assignee.clone()],
//!         created_by_id: "messages".into(),
//!         // A date without a time is enough.
//!         deadline: message.due.ok_or_else(|| Refusal::at("/due", "say by when"))?,
//!         ..Task::default()
//!     })
//! }
//!
//! plugin!(map);
//! # fn main() {}
//! ```
//! That is the whole plugin. `hookmill plugin new NAME --lang rust` creates it with all of its other files.
//!
//! The payload is any `serde::Deserialize`, and a task any `serde::Serialize`; docs/TASK.md describes its fields.
//! Return [`Mapped::tasks`] for several tasks, [`Mapped::skip`] if there is nothing to do, and a [`Refusal`], which the
//! sender reads, if the payload cannot be mapped. There are no files, no network and no clock: the time is
//! [`Context::received_at`], so that the same event always gives the same tasks. The text of a panic, with its file and
//! line, is the plugin's error message.

mod arena;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[doc(hidden)]
pub use arena::Arena;

#[doc(hidden)]
#[allow(missing_docs, reason = "generated; wit/mapper.wit says it")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "mapper",
        pub_export_macro: true,
        default_bindings_module: "hookmill_plugin::bindings",
    });
}

/// Returns a header of the request that brought the event, by its name in lower case. The sender's file and `headers` in
/// plugin.toml name the headers that a plugin gets.
#[must_use]
pub fn header(name: &str) -> Option<String> {
    bindings::hookmill::mapper::request::headers().into_iter().find(|(it, _)| it == name).map(|(_, value)| value)
}

/// Returns the parameters of the URL's query that `query` in plugin.toml names: decoded, in the order in which they were sent.
#[must_use]
pub fn query() -> Vec<(String, String)> {
    bindings::hookmill::mapper::request::query()
}

/// Returns the path after the integration's name, such as `/issues/opened`, if plugin.toml has `path = true`; empty if there is
/// none.
#[must_use]
pub fn path() -> String {
    bindings::hookmill::mapper::request::path()
}

/// The event's data. The same event always has the same context.
#[derive(Debug, Clone)]
pub struct Context<C> {
    /// The event's id.
    pub event_id: String,
    /// The plugin's name, as in its URL.
    pub integration: String,
    /// When the event was received: RFC 3339 in UTC.
    pub received_at: String,
    /// The company that gets the tasks.
    pub company_id: String,
    /// `[config]` in plugin.toml.
    pub config: C,
}

/// The result of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped(Out);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Out {
    Tasks(Vec<String>),
    Skip(String),
}

impl Mapped {
    /// One task: a [`Task`], or anything that has its fields.
    pub fn task(task: &impl Serialize) -> Result<Self, Refusal> {
        Self::tasks([task])
    }

    /// Several tasks. An empty list is an error: use [`Mapped::skip`].
    pub fn tasks<T: Serialize>(tasks: impl IntoIterator<Item = T>) -> Result<Self, Refusal> {
        let text = |task: T| serde_json::to_string(&task).map_err(|e| Refusal::new(format!("a task is no JSON: {e}")));
        tasks.into_iter().map(text).collect::<Result<_, _>>().map(|it| Self(Out::Tasks(it)))
    }

    /// There is nothing to do, with the reason.
    pub fn skip(reason: impl Into<String>) -> Self {
        Self(Out::Skip(reason.into()))
    }
}

/// The payload cannot be mapped. The sender gets the message, and the event is quarantined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    message: String,
    pointer: Option<String>,
}

impl Refusal {
    /// What the sender must change, in a sentence.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), pointer: None }
    }

    /// The same, with the place in the payload: a JSON Pointer (RFC 6901).
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), pointer: Some(pointer.into()) }
    }
}

impl From<&str> for Refusal {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

/// A task, with the fields of `POST /v1/tasks`. Loose values are accepted; unset fields are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// What to do, in one line.
    pub title: String,
    /// Everything that the assignee needs to know.
    pub description: String,
    /// The users who get the task: at least one.
    pub assigned_user_ids: Vec<String>,
    /// The user or system that asks for it.
    pub created_by_id: String,
    /// When it must be done: RFC 3339, or any form that hookmill accepts.
    pub deadline: String,
    /// Your labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// The call that it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// The fax that it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fax_id: Option<String>,
    /// The assistant that it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assistant_id: Option<String>,
    /// The session that it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The patient that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patient_id: Option<String>,
    /// `pending`, `in_progress` or `completed`; default `pending`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `low`, `medium`, `high` or `urgent`; default `medium`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// The kind of task.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// Writes to the plugin's log, which is stored with the event.
pub mod log {
    use crate::bindings::hookmill::mapper::{log as host, types::Level};

    /// For the author of the plugin.
    pub fn debug(message: &str) {
        host::write(Level::Debug, message);
    }

    /// What happened.
    pub fn info(message: &str) {
        host::write(Level::Info, message);
    }

    /// Something that needs attention.
    pub fn warn(message: &str) {
        host::write(Level::Warn, message);
    }

    /// An error.
    pub fn error(message: &str) {
        host::write(Level::Error, message);
    }
}

/// Reads the payload and `[config]`, calls the mapping, and encodes the result for the host. [`plugin!`] calls it; in
/// tests, call it with texts.
pub fn transform<P, C>(
    payload: &str,
    context: bindings::Context,
    map: impl FnOnce(P, &Context<C>) -> Result<Mapped, Refusal>,
) -> Result<bindings::Outcome, bindings::MapError>
where
    P: DeserializeOwned,
    C: DeserializeOwned,
{
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(report));
    let config = serde_json::from_str(&context.config);
    let payload = serde_json::from_str(payload);
    let mapped = match (config, payload) {
        (Err(e), _) => Err(Refusal::new(format!("[config] in plugin.toml: {e}"))),
        (_, Err(e)) => Err(Refusal::new(format!("the payload is not what the plugin expects: {e}"))),
        (Ok(config), Ok(payload)) => {
            let bindings::Context { event_id, integration, received_at, company_id, .. } = context;
            map(payload, &Context { event_id, integration, received_at, company_id, config })
        }
    };
    match mapped {
        Ok(Mapped(Out::Tasks(texts))) => Ok(bindings::Outcome::Tasks(texts)),
        Ok(Mapped(Out::Skip(reason))) => Ok(bindings::Outcome::Skip(reason)),
        Err(Refusal { message, pointer }) => Err(bindings::MapError { message, pointer }),
    }
}

/// Reports a panic to the host, which takes the message as the reason of the trap that follows.
#[cfg(target_family = "wasm")]
fn report(panic: &std::panic::PanicHookInfo<'_>) {
    let text = panic.payload().downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.payload().downcast_ref::<String>().map(String::as_str)).unwrap_or("panicked");
    match panic.location() {
        Some(at) => log::error(&format!("crash: {}:{}:{}: {text}", at.file(), at.line(), at.column())),
        None => log::error(&format!("crash: {text}")),
    }
}

/// Exports this function as the plugin: `fn(payload: P, context: &Context<C>) -> Result<Mapped, Refusal>`.
#[macro_export]
macro_rules! plugin {
    ($map:path) => {
        struct HookmillPlugin;

        #[cfg(all(target_family = "wasm", not(target_feature = "atomics")))]
        #[global_allocator]
        static HOOKMILL_ARENA: $crate::Arena = $crate::Arena::new();

        impl $crate::bindings::Guest for HookmillPlugin {
            fn transform(
                payload: String,
                context: $crate::bindings::Context,
            ) -> Result<$crate::bindings::Outcome, $crate::bindings::MapError> {
                $crate::transform(&payload, context, $map)
            }
        }

        $crate::bindings::export!(HookmillPlugin with_types_in $crate::bindings);
    };
}

#[cfg(test)]
mod tests {
    use super::{Context, Mapped, Refusal, Task, bindings, transform};
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Payload {
        n: u32,
    }
    #[derive(Deserialize)]
    struct Config {
        who: String,
    }

    fn map(payload: Payload, context: &Context<Config>) -> Result<Mapped, Refusal> {
        match payload.n {
            0 => Ok(Mapped::skip("nothing")),
            1 => Mapped::task(&Task { title: context.config.who.clone(), ..Task::default() }),
            _ => Err(Refusal::at("/n", "is too large")),
        }
    }

    fn call(payload: &str, config: &str) -> Result<bindings::Outcome, bindings::MapError> {
        let context = bindings::Context {
            event_id: "e".into(),
            integration: "i".into(),
            received_at: "2026-11-24T08:00:00Z".into(),
            company_id: "c".into(),
            config: config.into(),
        };
        transform(payload, context, map)
    }

    #[test]
    fn payload_and_config_go_in_and_tasks_skips_and_refusals_come_out() {
        let config = r#"{"who":"Ada"}"#;
        match call(r#"{"n":1}"#, config) {
            Ok(bindings::Outcome::Tasks(it)) => {
                assert_eq!(
                    it,
                    [r#"{"title":"Ada","description":"","assigned_user_ids":[],"created_by_id":"","deadline":""}"#]
                );
            }
            _ => panic!("no task"),
        }
        assert!(matches!(call(r#"{"n":0}"#, config), Ok(bindings::Outcome::Skip(it)) if it == "nothing"));
        let refused = call(r#"{"n":2}"#, config).err().map(|it| (it.message, it.pointer));
        assert_eq!(refused, Some(("is too large".into(), Some("/n".into()))));
        let message = |it: Result<_, bindings::MapError>| it.err().map(|it| it.message).unwrap_or_default();
        assert!(message(call("{}", config)).starts_with("the payload is not what the plugin expects"));
        assert!(message(call(r#"{"n":1}"#, "{}")).starts_with("[config] in plugin.toml"));
    }
}
