//! Plugins that are stored in the database, so that all nodes run the same ones.

use chrono::{DateTime, Utc};

use super::error::StoreError;
use crate::model::audit::Entry;

/// Published versions of plugins, and which of them is active. All operations block.
pub trait Bundles {
    /// Stores a version of a plugin. A stored version is never changed.
    ///
    /// # Errors
    /// Fails if the database cannot be used.
    fn publish(&self, bundle: NewBundle, entry: Entry) -> Result<PublishOutcome, StoreError>;
    /// Makes a version the active one, on all nodes. If it is active already, nodes try again to load it.
    ///
    /// # Errors
    /// Fails if the database cannot be used.
    fn activate(&self, name: &str, version: &str, by: &str, entry: Entry) -> Result<Option<Switched>, StoreError>;
    /// The same, only if the version `before` is the active one: `None` if another one is, or if there is no such version.
    ///
    /// # Errors
    /// Fails if the database cannot be used.
    fn activate_after(
        &self,
        name: &str,
        version: &str,
        before: &str,
        by: &str,
        entry: Entry,
    ) -> Result<Option<Switched>, StoreError>;
    /// Makes the version that was active before the active one again. A second rollback undoes the first.
    ///
    /// # Errors
    /// Fails if the database cannot be used.
    fn rollback(&self, name: &str, by: &str, entry: Entry) -> Result<Option<Switched>, StoreError>;
    /// Makes no version of a plugin the active one, so that no node runs it. Returns the version that was active, and the number
    /// of this change; `None` if none was.
    ///
    /// # Errors
    /// Fails if the database cannot be used.
    fn deactivate(&self, name: &str, by: &str, entry: Entry) -> Result<Option<(String, i64)>, StoreError>;
    /// Returns the versions of this plugin, or of all plugins, by name, newest first.
    ///
    /// # Errors
    /// Fails if the database cannot be used.
    fn versions(&self, name: Option<&str>) -> Result<Vec<BundleVersion>, StoreError>;
    /// Returns the active version of each plugin, and the number of the last activation.
    ///
    /// # Errors
    /// Fails if the database cannot be used.
    fn active(&self) -> Result<(Vec<ActiveBundle>, i64), StoreError>;
    /// Returns the bytes of a version; `None` if there is none, or if it has more than `most` bytes.
    ///
    /// # Errors
    /// Fails if the database cannot be used.
    fn bundle(&self, name: &str, version: &str, most: u64) -> Result<Option<Vec<u8>>, StoreError>;
}

/// A version of a plugin to be published.
#[derive(Debug, Clone)]
pub struct NewBundle {
    /// `name` in plugin.toml.
    pub name: String,
    /// `version` in plugin.toml.
    pub version: String,
    /// `company_id` in plugin.toml.
    pub company_id: String,
    /// SHA-256 of the bytes, in hexadecimal.
    pub digest: String,
    /// Who publishes it.
    pub publisher: String,
    /// The files of the plugin's folder.
    pub bytes: Vec<u8>,
}

/// Result of publishing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The version was stored.
    Stored,
    /// The same content has been stored before under this version.
    Same,
    /// Other content has been stored before under this version, with this digest. Nothing was changed.
    Other {
        /// Digest of the stored content.
        digest: String,
        /// Who published it.
        publisher: String,
        /// When it was published.
        at: DateTime<Utc>,
    },
}

/// A version that was made the active one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switched {
    /// The version that is active now.
    pub version: String,
    /// Digest of its content.
    pub digest: String,
    /// The version that was active before, if it was another one.
    pub previous: Option<String>,
    /// Number of this activation. Numbers increase.
    pub activation: i64,
}

/// A stored version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BundleVersion {
    /// Name of the plugin.
    pub name: String,
    /// The version.
    pub version: String,
    /// Company of the plugin.
    pub company_id: String,
    /// SHA-256 of the content, in hexadecimal.
    pub digest: String,
    /// Who published it.
    pub publisher: String,
    /// When it was published.
    #[serde(serialize_with = "crate::model::time::utc")]
    pub published_at: DateTime<Utc>,
    /// Whether it is the active one.
    pub is_active: bool,
    /// Whether a rollback makes it the active one.
    pub is_previous: bool,
}

/// The active version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveBundle {
    /// Name of the plugin.
    pub name: String,
    /// The version.
    pub version: String,
    /// SHA-256 of the content, in hexadecimal.
    pub digest: String,
    /// Number of the activation.
    pub activation: i64,
}
