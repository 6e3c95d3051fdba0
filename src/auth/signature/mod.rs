//! Signatures and tokens by which senders prove their deliveries.
//!
//! A [`Proof`] says where a signature is, and what is signed ([`text`]); it comes from a sender's file. `verify.rs` reads the
//! claims of a delivery's headers, and checks them against its body. `hmac.rs`, `public_key.rs` and `jwt.rs` are the
//! schemes, `keys.rs` makes secrets into keys, `source.rs` reads values of a delivery, `form.rs` sorts forms.

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
mod verify;

pub use delivery::{Delivery, Mismatch, TOLERANCE};
pub use described::Described;
pub use keys::FetchedKeys;
pub use proof::{KeysFrom, Proof};
pub use public_key::{NamedKey, PublicKey};
pub use source::{BodyHints, SentBody, ValueSource};
pub use text::SenderSettings;
pub use verify::{Signature, SignatureClaim, WantedKey};
