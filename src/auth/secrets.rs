//! The secrets of integrations, by name.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::model::secret::Secret;

/// Maximum size of a file with one secret, in bytes: a large private key has a few KiB.
const FILE_BYTES: u64 = 64 * 1024;

/// Secrets of plugins by name. A variable with the name takes precedence over a variable `NAME_FILE` with the path of a file,
/// and that over the secrets file.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    listed: HashMap<String, Secret>,
    /// Files that variables name: read at their first use, so that all integrations of a reload see the same.
    files: Arc<Mutex<HashMap<String, SecretFile>>>,
    /// Files as they were read before, for those that can no longer be read.
    before: HashMap<String, Secret>,
}

/// A file that a variable names.
#[derive(Debug, Clone)]
struct SecretFile {
    secret: Option<Secret>,
    problem: Option<String>,
}

/// A secret that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSecret {
    /// The secret, without whitespace around it.
    pub secret: Secret,
    /// Where it is set.
    pub place: SecretPlace,
    /// What was removed, to be shown after its name.
    pub trimmed: Option<&'static str>,
}

/// Where a secret is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretPlace {
    /// In the environment variable with its name.
    Environment,
    /// In the file that the variable `NAME_FILE` names.
    File,
    /// In the secrets file of hookmill.toml.
    SecretsFile,
}

/// The key of fingerprints; another one in each process, so that a fingerprint says nothing about a secret.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Secrets {
    /// Returns the secret with this name, if it is set (even if it is blank).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Secret> {
        self.find(name).map(|it| it.secret)
    }

    /// Returns the secret with this name and where it is set, if it is set (even if it is blank).
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn find(&self, name: &str) -> Option<FoundSecret> {
        if let Ok(value) = std::env::var(name) {
            return Some(FoundSecret::of(&value, SecretPlace::Environment));
        }
        if let Ok(path) = std::env::var(format!("{name}_FILE"))
            && let Some(secret) = self.file(name, Path::new(&path)).secret
        {
            return Some(FoundSecret::of(secret.expose(), SecretPlace::File));
        }
        self.listed.get(name).map(|it| FoundSecret::of(it.expose(), SecretPlace::SecretsFile))
    }

    /// Returns the names in the secrets file, sorted.
    #[must_use]
    pub fn listed(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.listed.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Returns the same names, whose files are read again.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { listed: self.listed.clone(), ..Self::default() }.after(self)
    }

    /// Uses what was read before for files that can no longer be read.
    #[must_use]
    pub fn after(self, before: &Self) -> Self {
        let files = before.files.lock().unwrap_or_else(PoisonError::into_inner);
        let read = files.iter().filter_map(|(name, it)| Some((name.clone(), it.secret.clone()?)));
        Self { before: read.collect(), ..self }
    }

    /// Returns what is wrong with the file that a variable names for this secret.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn problem(&self, name: &str) -> Option<String> {
        if std::env::var_os(name).is_some() {
            return None;
        }
        let path = std::env::var(format!("{name}_FILE")).ok()?;
        self.file(name, Path::new(&path)).problem
    }

    /// Adds the secret with this name to a fingerprint.
    pub fn add_to(&self, name: &str, fingerprint: &mut Fingerprint) {
        let found = self.find(name);
        fingerprint.add(name);
        fingerprint.add(found.as_ref().map_or("", |it| it.secret.expose()));
        fingerprint.add(if found.is_some() { "set" } else { "" });
    }

    fn file(&self, name: &str, path: &Path) -> SecretFile {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || match read(path) {
            Ok(text) => SecretFile { secret: Some(Secret::new(text)), problem: None },
            Err(cause) => {
                let before = self.before.get(name).cloned();
                let stays = if before.is_some() { "; the secret that was read before stays in use" } else { "" };
                let problem = format!("the file that {name}_FILE names cannot be read: {cause}{stays}");
                SecretFile { secret: before, problem: Some(problem) }
            }
        };
        files.entry(name.to_owned()).or_insert_with(read).clone()
    }
}

/// Reads a file with one secret. Only regular files: others could be endless.
fn read(path: &Path) -> Result<String, String> {
    let is_file = std::fs::metadata(path).map_err(|it| it.to_string())?.is_file();
    if !is_file {
        return Err("it is not a regular file".into());
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|it| it.to_string())?;
    let read = file.take(FILE_BYTES + 1).read_to_string(&mut text);
    match read {
        Ok(size) if size as u64 > FILE_BYTES => Err(format!("it is larger than {FILE_BYTES} bytes")),
        Ok(_) => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        Err(cause) => Err(cause.to_string()),
    }
}

impl FoundSecret {
    fn of(text: &str, place: SecretPlace) -> Self {
        let plain = text.trim();
        let rest = text.strip_prefix(plain);
        let is_break = |it: &str| !it.is_empty() && it.chars().all(|c| c == '\n' || c == '\r');
        let trimmed = match rest {
            _ if plain.len() == text.len() => None,
            // Every file that an editor or `echo` writes ends in one.
            Some(rest) if is_break(rest) && place == SecretPlace::File => None,
            Some(rest) if is_break(rest) => Some("a trailing line break"),
            _ => Some("whitespace around it"),
        };
        Self { secret: Secret::new(plain.to_owned()), place, trimmed }
    }
}

/// Tells whether secrets have changed, without containing them.
#[derive(Clone)]
pub struct Fingerprint(std::hash::DefaultHasher);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(KEY.build_hasher())
    }
}

impl Fingerprint {
    /// Adds a text.
    pub fn add(&mut self, text: &str) {
        text.hash(&mut self.0);
    }

    /// Returns the fingerprint.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.finish()
    }
}

impl FromIterator<(String, Secret)> for Secrets {
    fn from_iter<T: IntoIterator<Item = (String, Secret)>>(iter: T) -> Self {
        Self { listed: iter.into_iter().collect(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a secret that was pasted with a line break refuses every delivery, or is not named to the operator.
    #[test]
    fn whitespace_around_a_secret_is_removed_and_named() {
        for (text, place, plain, trimmed) in [
            ("abc", SecretPlace::Environment, "abc", None),
            ("abc\n", SecretPlace::SecretsFile, "abc", Some("a trailing line break")),
            ("abc\r\n", SecretPlace::Environment, "abc", Some("a trailing line break")),
            ("abc\n", SecretPlace::File, "abc", None),
            ("abc \n", SecretPlace::File, "abc", Some("whitespace around it")),
            (" abc", SecretPlace::Environment, "abc", Some("whitespace around it")),
            ("a b\nc", SecretPlace::Environment, "a b\nc", None),
            (" \n", SecretPlace::SecretsFile, "", Some("whitespace around it")),
        ] {
            let found = FoundSecret::of(text, place);
            assert_eq!((found.secret.expose(), found.trimmed), (plain, trimmed), "{text:?}");
        }
    }
}
