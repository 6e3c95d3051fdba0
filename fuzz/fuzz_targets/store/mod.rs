//! What the journal's own files expect around them.

#[path = "../../../src/store/error.rs"]
mod error;
pub use error::{Damage, StoreError};

pub mod embedded;
