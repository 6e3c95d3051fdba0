//! Compares what the server answers with `openapi.json`: every response of every test passes here.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use ureq::http::HeaderMap;

/// The API description.
pub static DESCRIPTION: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../openapi.json")).unwrap());

/// The schemas, with nothing allowed that is not described: a client never sees a field that is not documented.
static CLOSED: LazyLock<Value> = LazyLock::new(|| {
    let mut schemas = DESCRIPTION["components"]["schemas"].clone();
    close(&mut schemas);
    json!({ "schemas": schemas })
});

static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// Headers that a response may have without being described: they are the transport's, or the same everywhere.
/// A sender's file may name headers of an answer.
const UNDESCRIBED: [&str; 12] = [
    "validation-token",
    "x-hook-secret",
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "date",
    "traceresponse",
    "transfer-encoding",
    "x-content-type-options",
    "x-request-id",
];

/// A URL of the description.
pub struct Operation {
    /// `/v1/tasks/{id}`
    pub path: String,
    /// `get`
    pub method: String,
}

/// The operation of a request; none where the description has no such URL or method.
pub fn operation(method: &str, target: &str) -> Option<Operation> {
    let method = if method == "HEAD" { "get".to_owned() } else { method.to_ascii_lowercase() };
    let path = target.split(['?', '#']).next().unwrap();
    let parts: Vec<_> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
    let fits = |template: &&String| {
        let template: Vec<_> = template.split('/').collect();
        // The last parameter of this name is the rest of the path.
        let rest = template.last() == Some(&"{path}") && parts.len() > template.len();
        let parts = &parts[..if rest { template.len() } else { parts.len() }];
        let part = |(it, sent): (&&str, &&str)| it == sent || (it.starts_with('{') && !sent.is_empty());
        template.len() == parts.len() && template.iter().zip(parts).all(part)
    };
    // A literal is meant rather than a parameter.
    let paths = DESCRIPTION["paths"].as_object().unwrap();
    let path = paths.keys().filter(fits).min_by_key(|it| it.matches('{').count())?.clone();
    paths[&path].get(&method)?;
    Some(Operation { path, method })
}

/// Fails where a response is not as the description says.
#[track_caller]
pub fn check(method: &str, target: &str, status: u16, headers: &HeaderMap, body: &str) {
    let header = |name: &str| headers.get(name).map_or("", |it| it.to_str().unwrap());
    let name = format!("{method} {target} {status}");
    // A sender's file may describe an answer without a body.
    let is_hook = target.starts_with("/v1/hooks/") && status < 300;
    let has_body = method != "HEAD" && !(is_hook && body.is_empty() && header("content-type").is_empty());
    let problem = json!({ "$ref": "#/components/schemas/Problem" });
    let Some(operation) = operation(method, target) else {
        assert!([400, 404, 405, 431, 503].contains(&status), "{name}: not in openapi.json");
        if has_body {
            assert_fits(&name, "problem", &problem, body);
        }
        return;
    };
    let described = &DESCRIPTION["paths"][&operation.path][&operation.method]["responses"][status.to_string()];
    let response = resolved(described);
    assert!(response.is_object(), "{name}: openapi.json does not describe this status: {body}");
    for header in headers.keys().filter(|it| !UNDESCRIBED.contains(&it.as_str())) {
        let known = response["headers"].as_object().into_iter().flat_map(Map::keys);
        assert!(
            known.into_iter().any(|it| it.eq_ignore_ascii_case(header.as_str())),
            "{name}: the header {header} is not described"
        );
    }
    if !has_body {
        return;
    }
    match response["content"].as_object() {
        None => assert_eq!(body, "", "{name}: no content is described"),
        Some(content) => {
            let media_type = header("content-type");
            let described = content
                .get(media_type)
                .unwrap_or_else(|| panic!("{name}: the media type {media_type} is not described"));
            if media_type == "application/json" {
                let key = format!("{} {} {status}", operation.method, operation.path);
                assert_fits(&name, &key, &described["schema"], body);
            }
        }
    }
}

/// A reference's target.
pub fn resolved(value: &Value) -> &Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(to) => DESCRIPTION.pointer(to.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

#[track_caller]
fn assert_fits(name: &str, key: &str, schema: &Value, body: &str) {
    let value: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{name}: {e}: {body}"));
    let validator = validator(key, schema);
    let errors: Vec<_> = validator.iter_errors(&value).map(|it| format!("{}: {it}", it.instance_path())).collect();
    assert!(errors.is_empty(), "{name} is not as openapi.json says: {}\n{body}", errors.join("; "));
}

fn validator(key: &str, schema: &Value) -> Arc<Validator> {
    let mut all = VALIDATORS.lock().unwrap();
    let new = || {
        let mut schema = schema.clone();
        close(&mut schema);
        schema["components"] = CLOSED.clone();
        Arc::new(jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap())
    };
    Arc::clone(all.entry(key.to_owned()).or_insert_with(new))
}

/// Lets no object have fields that are not described.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.get("properties").is_some_and(Value::is_object) && fields.contains_key("type") {
                let closed = if fields.contains_key("anyOf") || fields.contains_key("allOf") {
                    "unevaluatedProperties"
                } else {
                    "additionalProperties"
                };
                fields.entry(closed).or_insert(Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
