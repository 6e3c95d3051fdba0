#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};

use super::{DEPTH, schema_of};
use crate::format::schema::Schema;

fn compiled(example: &Value) -> (Value, Schema) {
    let schema = schema_of(example, "A delivery").schema;
    let text = format!("{schema:#}");
    assert!(text.len() < 1 << 20, "{} bytes", text.len());
    let compiled = Schema::compile(&text).unwrap_or_else(|e| panic!("{e}: {text:.2000}"));
    (schema, compiled)
}

/// Otherwise the first real delivery of a new plugin is quarantined, or a delivery without any field gets through.
#[test]
fn it_accepts_its_example_and_new_members_but_not_an_empty_object() {
    let nested = (0..100).fold(json!(1), |inner, _| json!({ "a": [inner] }));
    let wide: serde_json::Map<String, Value> = (0..10_000).map(|it| (format!("field{it}"), json!(it))).collect();
    let tables: Vec<Value> = (0..300).map(|it| json!({ format!("name{it}"): { "x": it } })).collect();
    for example in [
        json!({ "a": 1 }),
        json!({ "a": null }),
        json!({ "a": [], "b": {}, "c": [[], [1], ["x", null]] }),
        json!({ "items": [{ "id": 1, "x": null }, { "id": "2" }, 7] }),
        json!({ "$ref": "x", "$id": "y", "properties": {}, "type": 5, "__proto__": { "a/b~": [true] } }),
        json!({ "a@example.com": { "n": 1 }, "b@example.com": { "n": null } }),
        json!({ "x".repeat(100_000): 1 }),
        json!([{ "a": 1 }, { "b": 2 }]),
        json!({ "a": nested }),
        json!({ "tables": tables }),
        Value::Object(wide),
    ] {
        let (schema, compiled) = compiled(&example);
        assert_eq!(compiled.check(&example), Ok(()), "{example:.500} with {schema:.2000}");
        assert!(compiled.check(&json!({})).is_err(), "{schema:.2000}");
        if let Value::Object(map) = &example {
            let mut more = map.clone();
            more.insert("something new".into(), json!([1]));
            // A table's members are all alike.
            if schema.get("additionalProperties").is_none() {
                assert_eq!(compiled.check(&Value::Object(more)), Ok(()));
            }
        }
    }
}

/// Strict: a field that is missing or has another type is a violation, unless the example itself shows that it may be.
#[test]
fn what_was_seen_is_required_and_has_its_type() {
    let example = json!({
        "id": "018f3c3e-0b54-7c9e-8f5f-3d2b1f0a9c11", "at": "2026-11-24T09:00:00Z", "day": "2026-11-24", "n": 5, "no": null,
        "big": "123456789012345678901", "items": [{ "sku": "a", "price": 1 }, { "sku": "b", "price": null, "gift": true }],
    });
    let (schema, compiled) = compiled(&example);
    assert_eq!(schema["required"], json!(["id", "at", "day", "n", "big", "items"]));
    let of = |name: &str| schema["properties"][name].clone();
    assert_eq!(of("id"), json!({ "type": "string", "format": "uuid" }));
    assert_eq!(of("at"), json!({ "type": "string", "format": "date-time" }));
    assert_eq!((of("day"), of("n")), (json!({ "type": "string" }), json!({ "type": "number" })));
    assert_eq!(of("big")["type"], json!(["number", "string"]));
    assert!(of("no").get("type").is_none(), "{schema}");
    let item = &of("items")["items"];
    assert_eq!(item["required"], json!(["sku"]));
    assert_eq!(item["properties"]["price"]["type"], json!(["number", "null"]));
    for (name, wrong) in
        [("id", json!("7")), ("n", json!("5")), ("at", json!("soon")), ("items", json!([{ "sku": 1 }]))]
    {
        let mut changed = example.clone();
        changed[name] = wrong;
        assert!(compiled.check(&changed).is_err(), "{name}");
        changed.as_object_mut().unwrap().remove(name);
        assert!(compiled.check(&changed).is_err(), "without {name}");
    }
}

/// A schema is shown in lists, errors and repositories: a patient's data in it would spread.
#[test]
fn no_value_and_no_name_that_is_data_is_copied() {
    let example = json!({
        "name": "Grace Hopper", "token": "tok_4242", "n": 424_242, "list": ["Hopper"], "note": "x".repeat(5000),
        "by_mail": { "grace@example.com": "x", "ada@example.com": "y" }, "by_number": { "+1 555 0100": 1, "+1 555 0101": 2 },
    });
    let text = compiled(&example).0.to_string();
    for value in ["Hopper", "tok_", "424242", "xxxx", "example.com", "555"] {
        assert!(!text.contains(value), "{value}: {text}");
    }
}

/// Somebody who reads the schema must see that it does not cover everything.
#[test]
fn what_is_left_out_is_said() {
    let deep = (0..=DEPTH).fold(json!(1), |inner, _| json!({ "a": inner }));
    let wide: serde_json::Map<String, Value> = (0..10_000).map(|it| (format!("field{it}"), json!(it))).collect();
    for (example, comment) in [(deep, "deeper than 12 levels"), (Value::Object(wide), "9744 more members")] {
        let found = schema_of(&example, "A delivery");
        assert!(found.is_partial && found.schema.to_string().contains(comment));
    }
    assert!(!schema_of(&json!({ "a": { "b": [1] } }), "A delivery").is_partial);
}
