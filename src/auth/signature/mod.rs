//! Signatures and tokens by which senders prove their deliveries.
//!
//! A [`Proof`] says where a signature is, and what is signed (`text.rs`); it comes from a sender's file. `claim.rs` reads the
//! claim of a delivery's headers, `check.rs` and `tokens.rs` check it against the body, and `verify.rs` does both for all
//! proofs of a sender. `hmac.rs`, `public_key.rs` and `jwt.rs` are the schemes, `keys.rs` makes secrets into keys,
//! `source.rs` looks up values of a delivery, `form.rs` sorts forms.

mod check;
mod claim;
mod delivery;
mod der;
mod described;
pub(super) mod digest;
mod ed25519;
mod form;
pub mod hmac;
pub(super) mod jwt;
pub(super) mod keys;
pub(super) mod proof;
pub(super) mod public_key;
mod source;
#[cfg(test)]
mod tests;
pub(super) mod text;
mod tokens;
mod verify;

pub use claim::WantedKey;
pub use delivery::{Delivery, Mismatch, TOLERANCE};
pub use described::Described;
pub use keys::FetchedKeys;
pub use proof::{KeysFrom, Proof};
pub use public_key::{NamedKey, PublicKey};
pub use source::{BodyHints, SentBody, ValueSource};
pub use text::SenderSettings;
pub use verify::{Signature, SignatureClaim};
