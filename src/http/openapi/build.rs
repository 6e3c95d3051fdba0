//! The whole description, from the table of routes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::describer::{Schemas, failure};
use super::headers;
use crate::http::problem_code::ProblemCode;
use crate::http::routes::routes;

const ABOUT: &str = "Turns webhooks in whatever shape a sender produces into tasks.\n\n\
    **Loose input.** Task fields are read loosely unless the key is strict: other content types, n8n's wrappers, texts for \
    lists, many date formats. `X-Loosened` names the fields that were corrected. Fields that are not documented are ignored.\n\n\
    **Errors.** Every error has the body `Problem`; programs branch on `detail.code`. Every operation may also fail with 400, \
    408, 431, 500 and 503.\n\n\
    **Idempotency.** Send a POST with an `Idempotency-Key`, and you can safely send it again: it takes effect once, and you \
    get the first response again.";

/// (scheme, definition)
fn security_schemes() -> Value {
    json!({
        "apiKey": {
            "type": "apiKey", "in": "header", "name": "X-API-Key",
            "description": "An API key, from `hookmill key create`. It belongs to one company; an operation lists the scopes that it needs.",
        },
        "operatorToken": {
            "type": "apiKey", "in": "header", "name": "X-API-Key",
            "description": "The operator's token, from the server's data directory. It is valid for every company.",
        },
        "metricsToken": {
            "type": "http", "scheme": "bearer",
            "description": "The token for metrics, `HOOKMILL_METRICS_TOKEN`.",
        },
        "senderPassword": {
            "type": "http", "scheme": "basic",
            "description": "A user name and password, for an integration whose plugin.toml says so.",
        },
    })
}

/// `openapi.json`.
pub(crate) fn document() -> Value {
    let mut schemas = Schemas::default();
    let mut paths: Map<String, Value> = Map::new();
    let mut tags = BTreeSet::new();
    for route in routes() {
        let operation = route.operation(&mut schemas);
        tags.insert(route.tag());
        let path = paths.entry(route.path).or_insert_with(|| Map::new().into());
        if let Some(path) = path.as_object_mut() {
            let method = route.method.as_str().to_ascii_lowercase();
            path.insert(method, serde_json::to_value(operation).unwrap_or_default());
        }
    }
    let statuses: BTreeSet<u16> = ProblemCode::ALL.iter().map(|it| it.status().as_u16()).collect();
    let responses: BTreeMap<_, _> = statuses.into_iter().map(|it| failure(it, &mut schemas)).collect();
    let tags: Vec<_> = tags.into_iter().map(|it| json!({ "name": it })).collect();
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "hookmill",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Webhook adapter and WebAssembly plugin host",
            "description": ABOUT,
            "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "http://127.0.0.1:8080", "description": "A server on this machine" }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas.components(),
            "responses": responses,
            "headers": headers::components(),
            "securitySchemes": security_schemes(),
        },
    })
}
