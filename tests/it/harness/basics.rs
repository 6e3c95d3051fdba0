//! What all tests of the server use: its program, a key, a task.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

pub const KEY: &str = "test-key-of-24-characters-or-more";
/// How long anything may take before a test gives up: generous, for slow machines.
pub const DEADLINE: Duration = Duration::from_secs(120);

pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookmill"));
    command.env_clear().current_dir(std::env::temp_dir());
    command
}

/// The shipped plugins.
pub fn shipped_plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins")
}

/// A task of the documented shape.
pub fn task() -> Value {
    serde_json::json!({
        "title": "Refill request", "description": "Call back", "assigned_user_ids": ["u1"],
        "created_by_id": "u9", "deadline": "2026-12-01T09:00:00Z",
    })
}
