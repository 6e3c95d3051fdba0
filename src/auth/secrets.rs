//! The secrets of integrations, by name.

use std::collections::HashMap;

use crate::model::secret::Secret;

/// Secrets of plugins by name, from the environment or else the secrets file.
#[derive(Debug, Clone, Default)]
pub struct Secrets(HashMap<String, Secret>);

impl Secrets {
    /// Returns the secret with this name, if it is set (even if it is blank).
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn get(&self, name: &str) -> Option<Secret> {
        let from_env = std::env::var(name).ok().map(Secret::new);
        from_env.or_else(|| self.0.get(name).cloned())
    }
}

impl FromIterator<(String, Secret)> for Secrets {
    fn from_iter<T: IntoIterator<Item = (String, Secret)>>(iter: T) -> Self {
        Self(iter.into_iter().collect())
    }
}
