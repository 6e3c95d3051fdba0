//! Signatures over the raw body, in the providers' schemes.
//!
//! Most are an HMAC (RFC 2104) over a text that contains the body: [`rule::SignatureRule`] is the general scheme, `hmac.rs`
//! the function, and `presets.rs` has each provider's rule. `twilio.rs` signs its URL and form, `ed25519.rs` is
//! Standard Webhooks' `v1a`.

mod delivery;
mod ed25519;
pub mod hmac;
mod presets;
pub mod rule;
#[cfg(test)]
mod tests;
mod twilio;
mod verify;

pub use delivery::{Delivery, Mismatch, TOLERANCE};
pub use presets::Preset;
pub use verify::{Signature, SignatureClaim};
