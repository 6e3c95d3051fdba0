//! The API description (`openapi.json`), generated from the table of routes and its types.
//!
//! `describer.rs` is what a type says about a route that uses it, `build.rs` puts all routes together, `document.rs` has
//! the parts of an OpenAPI document, `headers.rs` and `examples.rs` what several routes share.

pub(crate) mod build;
pub(super) mod describer;
pub(super) mod document;
pub(super) mod examples;
pub(super) mod headers;
