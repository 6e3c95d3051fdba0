//! Secrets, from the environment or the secrets file; never shown.

use std::collections::HashMap;
use std::path::Path;

use super::error::{ConfigError, PRESET_KEY_MIN};
use crate::auth::Secrets;
use crate::auth::key::LONGEST;
use crate::model::secret::Secret;

pub(super) fn read_secrets(path: &Path) -> Result<Secrets, ConfigError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => ConfigError::NoSecretsFile { file: file.clone() },
        _ => ConfigError::Read { file: file.clone(), cause },
    })?;
    // Editors on Windows put it there.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    // The parser's own message quotes the line, which contains a secret.
    let table: HashMap<String, String> =
        toml::from_str(text).map_err(|error| ConfigError::Parse { file, cause: wrong_line(text, error.span()) })?;
    Ok(table.into_iter().map(|(name, secret)| (name, Secret::new(secret))).collect())
}

/// What is wrong with a secrets file, without its text: only the line's number.
pub(super) fn wrong_line(text: &str, at: Option<std::ops::Range<usize>>) -> String {
    let line = at.and_then(|it| text.get(..it.start)).map(|it| it.matches('\n').count() + 1);
    let line = line.map(|it| format!("line {it}: ")).unwrap_or_default();
    format!("{line}every line must be NAME = \"secret\"")
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
