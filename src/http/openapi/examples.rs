//! Example requests. They are the files that the documentation sends.

use serde_json::{Map, Value, json};

/// An example of a request's body.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Example {
    /// Its name in the description.
    pub(in super::super) name: &'static str,
    /// What it shows.
    pub(in super::super) about: &'static str,
    /// JSON.
    pub(in super::super) body: &'static str,
}

/// An example file of `examples/payloads`.
macro_rules! example {
    ($name:literal, $about:literal, $file:literal) => {
        $crate::http::openapi::examples::Example {
            name: $name,
            about: $about,
            body: include_str!(concat!("../../examples/", $file)),
        }
    };
}
pub(in super::super) use example;

/// The `examples` of a media type.
pub(super) fn examples(all: &[Example]) -> Map<String, Value> {
    let value = |it: &Example| serde_json::from_str::<Value>(it.body).unwrap_or_default();
    all.iter().map(|it| (it.name.to_owned(), json!({ "summary": it.about, "value": value(it) }))).collect()
}
