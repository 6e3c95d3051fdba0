//! Query parameters: each route declares them once, as a struct (`routes.rs`).
//!
//! The declaration (`declare.rs`, `parameter.rs`) gives the parser (`reading.rs`), the names for the error about an unknown
//! parameter, and the schemas and descriptions for the API description (`input.rs`). `values.rs` has the types of parameters.

mod declare;
pub(super) mod input;
pub(super) mod key_place;
pub(super) mod parameter;
pub(super) mod reading;
pub(super) mod routes;
pub(super) mod values;

pub(super) use declare::QueryParameters;
