//! The example as the server would read it.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::script::Mapped;
use crate::cli::failure::Failure;
use crate::format::payload::{CODING_HEADER, DecodeError, Payload, Rules};
use crate::format::schema::Schema;
use crate::format::schema_of::{SchemaOf, schema_of};
use crate::integration::fixtures;
use crate::model::company::CompanyId;
use crate::model::event::RawEvent;

/// Maximum number of items of a list: those that one event may create tasks for.
const ITEMS: usize = 1000;
/// How often a schema is written again because the server would read the example differently with it.
const ROUNDS: usize = 4;

/// A body, as it was sent.
#[derive(Debug)]
pub(super) struct SentExample {
    pub(super) company: CompanyId,
    pub(super) body: Bytes,
    pub(super) content_type: Option<String>,
    pub(super) coding: Option<String>,
    pub(super) received_at: DateTime<Utc>,
}

/// A payload with its schema.
#[derive(Debug)]
pub(super) struct ReadExample {
    pub(super) payload: Value,
    pub(super) schema: SchemaOf,
    /// Names of the wrappers that were removed, from the outside.
    pub(super) wrappers: Vec<String>,
    /// What was read loosely.
    pub(super) loosened: Vec<String>,
    pub(super) mapped: Mapped,
}

impl SentExample {
    fn raw(&self) -> RawEvent {
        RawEvent {
            id: fixtures::EVENT_ID,
            received_at: self.received_at,
            company_id: self.company.clone(),
            content_type: self.content_type.clone(),
            headers: self.coding.iter().map(|it| (CODING_HEADER.to_owned(), it.clone())).collect(),
            query: Vec::new(),
            path: String::new(),
            body: self.body.clone(),
            redacted: Vec::new(),
            trace: None,
            origin: None,
        }
    }

    /// Reads the body as the server will read it once it has the schema of the result.
    ///
    /// A wrapper is removed only if the schema does not name it, so the schema decides how its own example is read.
    pub(super) fn example(&self, rules: &Rules, title: &str) -> Result<ReadExample, Failure> {
        let raw = self.raw();
        let mut schema = compiled(&open_schema("object"))?;
        for _ in 0..ROUNDS {
            let payload = match raw.decode(&schema, rules) {
                Err(DecodeError::MultipleItems { count }) => several(count).and_then(|list| {
                    schema = list;
                    raw.decode(&schema, rules).map_err(unreadable)
                })?,
                payload => payload.map_err(unreadable)?,
            };
            let mapped = mapped(&payload.value)?;
            let found = schema_of(&payload.value, title);
            schema = compiled(&found.schema)?;
            let again = raw.decode(&schema, rules).map_err(unreadable)?;
            if again.value == payload.value {
                return checked(payload, found, &schema, mapped);
            }
        }
        Err(Failure::new("the example has the names of wrappers on every level, such as `data` in `data`; remove one"))
    }
}

fn open_schema(kind: &str) -> Value {
    json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "type": kind })
}

fn compiled(schema: &Value) -> Result<Schema, Failure> {
    Schema::compile(&schema.to_string()).map_err(|e| Failure::new(format!("the schema of the example: {e}")))
}

fn several(count: usize) -> Result<Schema, Failure> {
    if count > ITEMS {
        return Err(Failure::new(format!(
            "the example is a list of {count} items, and one delivery creates at most {ITEMS} tasks; use one with fewer"
        )));
    }
    compiled(&open_schema("array"))
}

fn unreadable(error: DecodeError) -> Failure {
    let hint = match error {
        DecodeError::NotAnObject { .. } => "; use one delivery as it is sent, such as {\"message\": \"Call me back\"}",
        DecodeError::Json { .. } => "; for a form or XML, add --content-type",
        _ => "",
    };
    Failure::new(format!("the example: {error}{hint}"))
}

/// Returns whether the payload is one object or a list of objects.
fn mapped(payload: &Value) -> Result<Mapped, Failure> {
    let fails = |what: &str| {
        let advice = "use one delivery with the fields that a task needs, such as {\"message\": \"Call me back\"}";
        Err(Failure::new(format!("the example is {what}, so there is nothing to map; {advice}")))
    };
    match payload {
        Value::Object(map) if map.is_empty() => fails("an empty object"),
        Value::Object(_) => Ok(Mapped::One),
        Value::Array(items) if items.is_empty() => fails("an empty list"),
        Value::Array(items) if items.len() > ITEMS => several(items.len()).map(|_| Mapped::Each),
        Value::Array(items) if items.iter().all(|it| it.as_object().is_some_and(|it| !it.is_empty())) => {
            Ok(Mapped::Each)
        }
        Value::Array(_) => fails("a list of something other than objects with members"),
        _ => fails("a single value"),
    }
}

fn checked(payload: Payload, found: SchemaOf, schema: &Schema, mapped: Mapped) -> Result<ReadExample, Failure> {
    if let Err(violations) = schema.check(&payload.value) {
        return Err(Failure::new(format!("the schema of the example does not accept it: {}", violations.sentences())));
    }
    let wrappers = payload.wrappers.names().map(str::to_owned).collect();
    let loosened = payload.loosened.iter().map(str::to_owned).collect();
    Ok(ReadExample { payload: payload.value, schema: found, wrappers, loosened, mapped })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::json;

    use super::*;

    fn example(body: &str, content_type: &str) -> Result<ReadExample, String> {
        let sent = SentExample {
            company: CompanyId::parse("company-1").unwrap(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            content_type: Some(content_type.to_owned()),
            coding: None,
            received_at: crate::model::time::now(),
        };
        sent.example(&Rules::default(), "A delivery").map_err(|it| it.message)
    }

    /// Otherwise the server reads the very example differently, and quarantines it.
    #[test]
    fn wrappers_are_removed_only_where_the_server_removes_them() {
        let json = "application/json";
        for (body, payload, wrappers) in [
            (r#"{"headers":{},"params":{},"query":{},"body":{"a":1}}"#, json!({ "a": 1 }), &["body"][..]),
            (r#"[{"json":{"a":1}}]"#, json!({ "a": 1 }), &["0", "json"]),
            (r#"{"data":{"data":{"a":1},"b":2}}"#, json!({ "data": { "data": { "a": 1 }, "b": 2 } }), &[]),
            (r#"{"event":"x","data":{"a":1}}"#, json!({ "event": "x", "data": { "a": 1 } }), &[]),
            (r#"[{"a":1},{"b":2}]"#, json!([{ "a": 1 }, { "b": 2 }]), &[]),
        ] {
            let found = example(body, json).unwrap();
            assert_eq!(
                (&found.payload, found.wrappers),
                (&payload, wrappers.iter().map(ToString::to_string).collect())
            );
        }
        let form = example("name=Ada&tags[]=a&tags[]=b", "application/x-www-form-urlencoded").unwrap();
        assert_eq!(form.payload, json!({ "name": "Ada", "tags": ["a", "b"] }));
        let xml = example("<call><id>7</id></call>", "application/xml").unwrap();
        assert_eq!(xml.payload, json!({ "call": { "id": "7" } }));
    }

    /// Somebody who pastes the wrong thing must learn what to paste instead.
    #[test]
    fn what_cannot_be_mapped_is_refused_with_advice() {
        let many = format!("[{}]", vec!["{\"a\":1}"; 1001].join(","));
        for (body, part) in [
            ("", "empty"),
            ("{}", "an empty object"),
            ("[]", "an empty array"),
            ("[{}]", "an empty object"),
            ("7", "a number"),
            ("null", "null"),
            ("\"text\"", "text"),
            ("[1,2]", "something other than objects"),
            ("[{\"a\":1},{}]", "something other than objects"),
            ("{\"a\":", "not JSON"),
            (&many, "1001 items"),
            (&format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200)), "deeper than"),
        ] {
            let error = example(body, "application/json").unwrap_err();
            assert!(error.contains(part), "{body:.50}: {error}");
        }
    }
}
