//! What the server knows about senders: their files, and the secrets that are shared with them.

use super::secrets::Secrets;
use super::sender::Catalog;

/// Sender files and secrets, as integrations name them.
#[derive(Debug, Clone, Default)]
pub struct Senders {
    /// Secrets by name.
    pub secrets: Secrets,
    /// Sender files by name.
    pub files: Catalog,
}
