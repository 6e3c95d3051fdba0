//! Authentication: API keys with scopes, senders as data, and their signatures.

mod error;
pub mod key;
pub mod password;
mod scope;
pub(super) mod secrets;
pub mod sender;
mod senders;
pub mod signature;
pub mod strength;

pub use error::AuthError;
pub use key::{ApiKey, KeyId, KeyRing};
pub use scope::{Scope, Scopes};
pub use secrets::{Fingerprint, FoundSecret, SecretPlace, Secrets};
pub use senders::Senders;
