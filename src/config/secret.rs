//! Secrets: from the environment or the secrets file, and shown nowhere.

use std::collections::HashMap;
use std::path::Path;

use super::ConfigError;
use crate::auth::key::LONGEST;

/// Fewest characters of `HOOKMILL_BOOTSTRAP_KEY`: what people type is weaker than what we draw.
pub const BOOTSTRAP_KEY_MIN: usize = 24;

/// A text that no log, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// Plugins' secrets by name: from the environment, or else from the secrets file.
#[derive(Debug, Clone, Default)]
pub struct Secrets(HashMap<String, Secret>);

impl Secrets {
    /// The secret of this name, if it is set, blank or not.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn get(&self, name: &str) -> Option<Secret> {
        let from_env = std::env::var(name).ok().map(Secret::new);
        from_env.or_else(|| self.0.get(name).cloned())
    }
}

pub(super) fn read_secrets(path: &Path) -> Result<Secrets, ConfigError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Read { file: file.clone(), cause })?;
    // The parser's own message quotes the line, which holds a secret.
    let table: HashMap<String, String> = toml::from_str(&text)
        .map_err(|_| ConfigError::Parse { file, cause: "every line has to be NAME = \"secret\"".into() })?;
    Ok(Secrets(table.into_iter().map(|(name, secret)| (name, Secret(secret))).collect()))
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(super) fn bootstrap_key() -> Result<Option<Secret>, ConfigError> {
    let Ok(key) = std::env::var("HOOKMILL_BOOTSTRAP_KEY") else { return Ok(None) };
    let plain = key.chars().all(|c| c.is_ascii_graphic());
    if !(BOOTSTRAP_KEY_MIN..=LONGEST).contains(&key.len()) || !plain {
        Err(ConfigError::BootstrapKey)
    } else {
        Ok(Some(Secret(key)))
    }
}
