//! What the decoder's own files expect around them.

pub mod payload;
pub mod schema;
