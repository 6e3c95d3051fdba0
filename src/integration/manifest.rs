//! plugin.toml, checked against `schemas/plugin-manifest.schema.json`.

use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::auth_table::AuthTable;
use super::defaults::Defaults;
use super::files::{LoadFailure, read};
use super::mapping::Mapping;
use super::task_table::task_text;
use crate::auth::sender::AnswerTable;
use crate::format::parse;
use crate::format::schema::{FileError, FileSchema, SchemaError};
use crate::plugin;
use crate::system::folder::{Folder, MANIFEST_BYTES};
use crate::system::rate::Rate;

/// A plugin.toml that the schema has accepted.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) name: String,
    pub(super) version: String,
    #[serde(default)]
    pub(super) description: String,
    module: Option<String>,
    script: Option<String>,
    task: Option<Value>,
    /// The text of `[task]`, if it is a table of its own.
    #[serde(skip)]
    task_text: Option<String>,
    #[serde(default)]
    pub(super) defaults: Defaults,
    /// A folder that only captures may have none.
    pub(super) schema: Option<String>,
    pub(super) company_id: String,
    #[serde(default)]
    pub(super) strict: bool,
    #[serde(default)]
    pub(super) timezone: Option<String>,
    pub(super) auth: AuthTable,
    #[serde(default)]
    pub(super) answer: AnswerTable,
    #[serde(default)]
    pub(super) dedupe: DedupeTable,
    #[serde(default)]
    pub(super) mode: Mode,
    pub(super) order_by: Option<String>,
    pub(super) shadow: Option<String>,
    #[serde(default)]
    pub(super) redact: Vec<String>,
    pub(super) keep_days: Option<u32>,
    #[serde(default)]
    pub(super) keep_headers: Vec<String>,
    #[serde(default)]
    pub(super) headers: Vec<String>,
    #[serde(default)]
    pub(super) query: Vec<String>,
    #[serde(default)]
    pub(super) path: bool,
    #[serde(default)]
    limits: LimitsTable,
    #[serde(default)]
    pub(super) config: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    #[default]
    Sync,
    Async,
    /// Deliveries are stored and not mapped.
    Capture,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct DedupeTable {
    pointer: Option<Pointers>,
    pub(super) hours: Option<u32>,
}

/// One pointer, or several whose values are joined.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Pointers {
    One(String),
    Several(Vec<String>),
}

impl DedupeTable {
    /// Returns where the configured id of a delivery is, if there is one.
    pub(super) fn pointers(&self) -> Option<Vec<String>> {
        self.pointer.as_ref().map(|it| match it {
            Pointers::One(pointer) => vec![pointer.clone()],
            Pointers::Several(pointers) => pointers.clone(),
        })
    }
}

#[derive(Debug, Default, Deserialize)]
struct LimitsTable {
    time_ms: Option<u64>,
    memory_mib: Option<usize>,
    output_kib: Option<usize>,
    log_kib: Option<usize>,
    concurrency: Option<usize>,
    queue: Option<usize>,
    per_minute: Option<u32>,
    burst: Option<u32>,
    body_mib: Option<usize>,
}

/// Said if nothing maps payloads.
const NO_MAPPING: &str = "it names no mapping; write `script = \"mapper.js\"`, `module = \"mapper.wasm\"` or a table [task], or `mode = \"capture\"` to store deliveries first";

static SCHEMA: LazyLock<Result<FileSchema, SchemaError>> =
    LazyLock::new(|| FileSchema::compile(include_str!("../../schemas/plugin-manifest.schema.json")));

impl Manifest {
    /// Reads a folder's plugin.toml.
    pub(super) fn of(folder: &Folder) -> Result<Self, LoadFailure> {
        let wrong = |cause| LoadFailure::Manifest { file: folder.join("plugin.toml"), cause };
        Self::parse(&Self::text(folder)?).map_err(wrong)
    }

    /// Reads the text of a folder's plugin.toml.
    pub(super) fn text(folder: &Folder) -> Result<String, LoadFailure> {
        read(folder, "plugin.toml", MANIFEST_BYTES)
    }

    /// Parses the file; the error has one or several sentences.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Self::check(text).map_err(|all| all.into_iter().map(|(sentence, _)| sentence).collect::<Vec<_>>().join(". "))
    }

    /// Parses the file. The error has all sentences, with hints if there is more to say.
    pub(super) fn check(text: &str) -> Result<Self, Vec<FileError>> {
        let one = |sentence: String| vec![(sentence, None)];
        let value: Value = parse::toml(text).map_err(one)?;
        let schema = SCHEMA.as_ref().map_err(|e| one(e.to_string()))?;
        schema.check(&value)?;
        let mut manifest: Self = serde_json::from_value(value).map_err(|e| one(parse::json_error(&e)))?;
        if manifest.task.is_some() {
            manifest.task_text = task_text(text);
        }
        let named = [manifest.module.is_some(), manifest.script.is_some(), manifest.task.is_some()];
        match named.iter().filter(|it| **it).count() {
            0 if manifest.mode != Mode::Capture => Err(one(NO_MAPPING.into())),
            0 | 1 => Ok(manifest),
            _ => Err(one("it names more than one mapping; keep one of `script`, `module` and [task]".into())),
        }
    }

    /// Returns what maps payloads; `None` in a folder that only captures.
    pub(super) fn mapping(&self) -> Option<Mapping> {
        let module = self.module.clone().map(Mapping::Module);
        module
            .or_else(|| self.script.clone().map(Mapping::Script))
            .or_else(|| self.task.clone().map(|task| Mapping::Expressions { task, text: self.task_text.clone() }))
    }

    /// Returns the rate limit of its senders, if there is one.
    pub(super) fn rate(&self) -> Option<Rate> {
        let (per_minute, burst) = (self.limits.per_minute?, self.limits.burst);
        Some(Rate { per_minute, burst: burst.unwrap_or(per_minute) })
    }

    /// Returns the maximum size of a delivery's body, if it is set, in bytes.
    pub(super) fn body_bytes(&self) -> Option<usize> {
        self.limits.body_mib.map(|mib| mib << 20)
    }

    /// Returns the given limits, with defaults for the others.
    pub(super) fn limits(&self) -> plugin::PluginLimits {
        let (given, default) = (&self.limits, plugin::PluginLimits::default());
        plugin::PluginLimits {
            time: given.time_ms.map_or(default.time, Duration::from_millis),
            memory_bytes: given.memory_mib.map_or(default.memory_bytes, |mib| mib << 20),
            output_bytes: given.output_kib.map_or(default.output_bytes, |kib| kib << 10),
            log_bytes: given.log_kib.map_or(default.log_bytes, |kib| kib << 10),
            concurrency: given.concurrency.unwrap_or(default.concurrency),
            queue: given.queue.unwrap_or(default.queue),
            ..default
        }
    }
}
