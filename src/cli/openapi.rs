//! `hookmill openapi`: the API description, generated from the routes.

use super::print;
use crate::http::openapi::build::document;

/// Prints `openapi.json`.
pub(super) fn run() {
    print::pretty(&document());
}
