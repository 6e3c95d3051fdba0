//! Secrets, from the environment or the secrets file; never shown.

use std::collections::HashMap;
use std::path::Path;

use super::error::{ConfigError, PRESET_KEY_MIN};
use crate::auth::Secrets;
use crate::auth::key::LONGEST;
use crate::model::secret::Secret;

pub(super) fn read_secrets(path: &Path) -> Result<Secrets, ConfigError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Read { file: file.clone(), cause })?;
    // Editors on Windows put it there.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    // The parser's own message quotes the line, which contains a secret.
    let table: HashMap<String, String> = toml::from_str(text)
        .map_err(|_| ConfigError::Parse { file, cause: "every line must be NAME = \"secret\"".into() })?;
    Ok(table.into_iter().map(|(name, secret)| (name, Secret::new(secret))).collect())
}

/// A key that the environment presets, where this variable is set.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(super) fn preset(variable: &'static str) -> Result<Option<Secret>, ConfigError> {
    let Ok(key) = std::env::var(variable) else { return Ok(None) };
    let plain = key.chars().all(|c| c.is_ascii_graphic());
    if !(PRESET_KEY_MIN..=LONGEST).contains(&key.len()) || !plain {
        Err(ConfigError::PresetKey(variable))
    } else {
        Ok(Some(Secret::new(key)))
    }
}
