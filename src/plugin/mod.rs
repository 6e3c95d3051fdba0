//! stub
#![allow(missing_docs)]
pub mod fixtures;
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::{path::*, sync::Arc, time::Duration};
#[derive(Debug, Clone, Default)]
pub struct Limits {
    pub time: Duration,
    pub memory_bytes: usize,
    pub output_bytes: usize,
    pub log_bytes: usize,
    pub table_elements: usize,
    pub concurrency: usize,
    pub queue: usize,
}
#[derive(Debug, Clone)]
pub struct CallContext {
    pub event_id: String,
    pub integration: String,
    pub received_at: DateTime<Utc>,
    pub company_id: String,
    pub config: Arc<str>,
}
#[derive(Debug)]
pub enum Outcome {
    Tasks(Vec<Value>),
    Skip(String),
}
#[derive(Debug)]
pub struct Mapped {
    pub outcome: Outcome,
    pub log: String,
}
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    #[error("r")]
    Refused { message: String, pointer: Option<String> },
    #[error("b")]
    BadOutput(String),
    #[error("busy")]
    Busy,
}
impl PluginError {
    pub fn code(&self) -> &'static str {
        "x"
    }
}
#[derive(Debug, thiserror::Error)]
#[error("load")]
pub struct LoadError;
#[derive(Debug, thiserror::Error)]
#[error("host")]
pub struct HostError;
#[derive(Debug, Clone)]
pub struct Host;
#[derive(Debug)]
pub struct Plugin;
#[derive(Debug, Clone, Copy)]
pub enum Abi {
    Component,
    Command,
}
impl Host {
    pub fn new(_: Option<PathBuf>) -> Result<Host, HostError> {
        Ok(Host)
    }
    pub fn load(&self, _: &str, _: &Path, _: Limits) -> Result<Plugin, LoadError> {
        Err(LoadError)
    }
    pub fn describe(&self) -> &str {
        ""
    }
}
impl Plugin {
    pub async fn map(&self, _: Arc<str>, _: CallContext) -> Result<Mapped, PluginError> {
        Err(PluginError::Busy)
    }
    pub fn map_blocking(&self, _: &str, _: &CallContext) -> Result<Mapped, PluginError> {
        Err(PluginError::Busy)
    }
    pub fn sha256(&self) -> &[u8; 32] {
        &[0; 32]
    }
    pub fn abi(&self) -> Abi {
        Abi::Command
    }
}
