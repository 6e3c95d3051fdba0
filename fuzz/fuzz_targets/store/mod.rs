//! What the journal's own files expect around them.

#[path = "../../../src/store/error.rs"]
mod error;
pub use error::{Damage, StoreError};
#[path = "../../../src/store/id_time.rs"]
mod id_time;

pub mod embedded;
