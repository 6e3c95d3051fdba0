//! No client of a released version breaks: `openapi.json` is compared with that of the release.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::harness::contract::DESCRIPTION;

/// The description of the last release.
const RELEASED: &str = include_str!("../fixtures/openapi-0.1.0.json");

/// Responses that have a second form, which only clients that ask for it get.
const ASKED_FOR: [&str; 1] = ["POST /v1/tasks/batch 422 application/json"];

/// Which way a value goes: what clients send may become wider, what they get may become narrower.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Sent,
    Got,
}

/// Two descriptions, and what of the older one the newer one breaks.
struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    breaks: Vec<String>,
    /// Pairs of references that are being compared: schemas may be recursive.
    open: BTreeSet<(String, String)>,
}

/// Everything that would break a client of `old`.
fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut comparison = Comparison { old, new, breaks: Vec::new(), open: BTreeSet::new() };
    comparison.paths();
    comparison.breaks
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn texts(value: &Value) -> BTreeSet<&str> {
    items(value).filter_map(Value::as_str).collect()
}

/// The target of a reference.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let to = value.get("$ref").and_then(Value::as_str);
    to.and_then(|it| document.pointer(it.strip_prefix('#')?)).unwrap_or(value)
}

/// The schema that a client of the older description gets: the same one, where there is a second form.
fn form<'a>(place: &str, old: &Value, new: &'a Value) -> &'a Value {
    let same = |it: &&Value| **it == old["schema"];
    let first = ASKED_FOR.contains(&place).then(|| items(&new["schema"]["anyOf"]).find(same)).flatten();
    first.unwrap_or(&new["schema"])
}

impl Comparison<'_> {
    fn say(&mut self, place: &str, what: impl std::fmt::Display) {
        self.breaks.push(format!("{place}: {what}"));
    }

    fn paths(&mut self) {
        let (old, new) = (self.old, self.new);
        for (path, methods) in members(&old["paths"]) {
            for (method, operation) in members(methods) {
                let place = format!("{} {path}", method.to_uppercase());
                match new["paths"][path].get(method) {
                    None => self.say(&place, "was removed"),
                    Some(newer) => self.operation(&place, operation, newer),
                }
            }
        }
    }

    fn operation(&mut self, place: &str, old: &Value, new: &Value) {
        if old["operationId"] != new["operationId"] {
            self.say(place, format!("operationId became {}", new["operationId"]));
        }
        for way in items(&old["security"]) {
            let fits = |newer: &Value| {
                members(newer)
                    .all(|(scheme, scopes)| way.get(scheme).is_some_and(|it| texts(scopes).is_subset(&texts(it))))
            };
            if !items(&new["security"]).any(fits) {
                self.say(place, format!("security {way} no longer suffices"));
            }
        }
        if old["security"].as_array().is_none_or(Vec::is_empty) && items(&new["security"]).next().is_some() {
            self.say(place, "needs a key now");
        }
        self.parameters(place, &old["parameters"], &new["parameters"]);
        self.body(place, old, new);
        for (status, response) in members(&old["responses"]) {
            match new["responses"].get(status) {
                None => self.say(place, format!("status {status} was removed")),
                Some(newer) => {
                    let (response, newer) = (resolved(self.old, response).clone(), resolved(self.new, newer).clone());
                    self.response(&format!("{place} {status}"), &response, &newer);
                }
            }
        }
    }

    fn parameters(&mut self, place: &str, old: &Value, new: &Value) {
        let same = |a: &Value, b: &Value| a["name"] == b["name"] && a["in"] == b["in"];
        for parameter in items(old) {
            let place = format!("{place} parameter {}", parameter["name"]);
            let Some(newer) = items(new).find(|it| same(it, parameter)) else {
                self.say(&place, "was removed");
                continue;
            };
            if parameter["required"] != true && newer["required"] == true {
                self.say(&place, "is required now");
            }
            self.schema(&place, &parameter["schema"], &newer["schema"], Way::Sent);
        }
        for parameter in items(new).filter(|it| it["required"] == true) {
            if !items(old).any(|it| same(it, parameter)) {
                self.say(place, format!("the new parameter {} is required", parameter["name"]));
            }
        }
    }

    fn body(&mut self, place: &str, old: &Value, new: &Value) {
        let place = format!("{place} body");
        let (Some(body), newer) = (old.get("requestBody"), new.get("requestBody")) else {
            if new["requestBody"]["required"] == true {
                self.say(&place, "is required now");
            }
            return;
        };
        let Some(newer) = newer else { return self.say(&place, "was removed") };
        if body["required"] != true && newer["required"] == true {
            self.say(&place, "is required now");
        }
        self.content(&place, &body["content"], &newer["content"], Way::Sent);
    }

    fn response(&mut self, place: &str, old: &Value, new: &Value) {
        for (header, _) in members(&old["headers"]) {
            if new["headers"].get(header).is_none() {
                self.say(place, format!("the header {header} was removed"));
            }
        }
        self.content(place, &old["content"], &new["content"], Way::Got);
    }

    fn content(&mut self, place: &str, old: &Value, new: &Value, way: Way) {
        for (media_type, content) in members(old) {
            let place = format!("{place} {media_type}");
            match new.get(media_type) {
                None => self.say(&place, "was removed"),
                Some(newer) => self.schema(&place, &content["schema"], form(&place, content, newer), way),
            }
        }
    }

    fn schema(&mut self, place: &str, old: &Value, new: &Value, way: Way) {
        if let (Some(from), Some(to)) = (old.get("$ref"), new.get("$ref"))
            && !self.open.insert((from.to_string(), format!("{to}{}", way == Way::Sent)))
        {
            return;
        }
        let (old, new) = (resolved(self.old, old).clone(), resolved(self.new, new).clone());
        self.types(place, &old, &new, way);
        self.values(place, &old, &new, way);
        self.fields(place, &old, &new, way);
        if old.get("items").is_some() || new.get("items").is_some() {
            self.schema(&format!("{place}[]"), &old["items"], &new["items"], way);
        }
        for word in ["anyOf", "oneOf", "allOf"] {
            self.alternatives(place, word, &old, &new, way);
        }
        if way == Way::Sent {
            self.bounds(place, &old, &new);
        }
    }

    fn types(&mut self, place: &str, old: &Value, new: &Value, way: Way) {
        fn all(schema: &Value) -> BTreeSet<&str> {
            schema["type"].as_str().map_or_else(|| texts(&schema["type"]), |it| BTreeSet::from([it]))
        }
        // An integer is a number.
        let within = |a: &BTreeSet<&str>, b: &BTreeSet<&str>| {
            b.is_empty()
                || (!a.is_empty() && a.iter().all(|it| b.contains(it) || (*it == "integer" && b.contains("number"))))
        };
        let (was, is) = (all(old), all(new));
        let fits = if way == Way::Sent { within(&was, &is) } else { within(&is, &was) };
        let formats = (&old["format"], &new["format"]);
        if !fits {
            self.say(place, format!("the type {was:?} became {is:?}"));
        } else if formats.0 != formats.1
            && !(formats.1.is_null() && way == Way::Sent)
            && !(formats.0.is_null() && way == Way::Got)
        {
            self.say(place, format!("the format {} became {}", formats.0, formats.1));
        }
    }

    /// What clients may send stays; what they may get may grow, which clients must expect (docs/API.md).
    fn values(&mut self, place: &str, old: &Value, new: &Value, way: Way) {
        fn all(schema: &Value) -> BTreeSet<String> {
            let one_of = items(&schema["oneOf"]).filter_map(|it| it.get("const"));
            items(&schema["enum"]).chain(one_of).chain(schema.get("const")).map(ToString::to_string).collect()
        }
        let (was, is) = (all(old), all(new));
        if way == Way::Sent && !is.is_empty() {
            for value in was.difference(&is) {
                self.say(place, format!("the value {value} was removed"));
            }
            if was.is_empty() {
                self.say(place, "is one of few values now");
            }
        }
    }

    fn fields(&mut self, place: &str, old: &Value, new: &Value, way: Way) {
        let (was, is) = (texts(&old["required"]), texts(&new["required"]));
        match way {
            Way::Sent => is.difference(&was).for_each(|it| self.say(&format!("{place}/{it}"), "is required now")),
            Way::Got => was.difference(&is).for_each(|it| self.say(&format!("{place}/{it}"), "may be missing now")),
        }
        for (name, field) in members(&old["properties"]) {
            let place = format!("{place}/{name}");
            match new["properties"].get(name) {
                // What is not known is ignored, unless it is refused.
                None if way == Way::Sent && new["additionalProperties"] != false => {}
                None => self.say(&place, "was removed"),
                Some(newer) => self.schema(&place, field, newer, way),
            }
        }
        if way == Way::Sent && old["additionalProperties"] != false && new["additionalProperties"] == false {
            self.say(place, "refuses other fields now");
        }
    }

    fn alternatives(&mut self, place: &str, word: &str, old: &Value, new: &Value, way: Way) {
        // Constants are values.
        let schemas = |it: &Value| items(&it[word]).filter(|it| it.get("const").is_none()).cloned().collect::<Vec<_>>();
        let (was, is) = (schemas(old), schemas(new));
        let (each, among) = if way == Way::Sent { (&was, &is) } else { (&is, &was) };
        if among.is_empty() {
            return;
        }
        for one in each {
            let fits = among.iter().any(|other| {
                let (from, to) = if way == Way::Sent { (one, other) } else { (other, one) };
                let mut inner =
                    Comparison { old: self.old, new: self.new, breaks: Vec::new(), open: self.open.clone() };
                inner.schema("", from, to, way);
                inner.breaks.is_empty()
            });
            if !fits {
                self.say(place, format!("an alternative changed: {one}"));
            }
        }
    }

    /// Bounds of what is sent only become wider.
    fn bounds(&mut self, place: &str, old: &Value, new: &Value) {
        for (word, is_upper) in [
            ("maxLength", true),
            ("maxItems", true),
            ("maximum", true),
            ("minLength", false),
            ("minItems", false),
            ("minimum", false),
        ] {
            let Some(bound) = new[word].as_f64() else { continue };
            let before = old[word].as_f64();
            let tighter = before.is_none_or(|it| if is_upper { bound < it } else { bound > it });
            // Nothing is less than nothing.
            if tighter && !(before.is_none() && !is_upper && bound <= 0.0) {
                self.say(place, format!("{word} became {bound}"));
            }
        }
        if !new["pattern"].is_null() && new["pattern"] != old["pattern"] {
            self.say(place, format!("the pattern became {}", new["pattern"]));
        }
    }
}

/// Leaves out what senders get only if an admin describes it, in a sender file or in plugin.toml.
fn without_described_answers(value: &mut Value) {
    const DESCRIBED: &str = "#/components/schemas/DescribedAnswer";
    match value {
        Value::Object(map) => {
            if let Some(Value::Array(all)) = map.get_mut("anyOf") {
                all.retain(|it| it["$ref"] != DESCRIBED);
                if let [only] = all.as_slice() {
                    let only = only.clone();
                    map.remove("anyOf");
                    map.extend(only.as_object().unwrap().clone());
                }
            }
            map.values_mut().for_each(without_described_answers);
        }
        Value::Array(all) => all.iter_mut().for_each(without_described_answers),
        _ => {}
    }
}

/// Else a client that works today fails after an upgrade.
#[test]
fn no_client_of_the_last_release_breaks() {
    let released = serde_json::from_str(RELEASED).unwrap();
    let mut now = DESCRIPTION.clone();
    without_described_answers(&mut now);
    let breaks = breaks(&released, &now);
    assert!(breaks.is_empty(), "clients of the last release would break:\n{}", breaks.join("\n"));
}

/// A description to change.
fn example() -> Value {
    json!({
        "paths": { "/things/{id}": { "post": {
            "operationId": "change",
            "security": [{ "apiKey": ["things:write"] }],
            "parameters": [
                { "name": "id", "in": "path", "required": true, "schema": { "type": "string" } },
                { "name": "kind", "in": "query", "required": false, "schema": { "enum": ["large", "small"] } },
            ],
            "requestBody": { "required": false, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Change" } } } },
            "responses": {
                "200": {
                    "headers": { "ETag": {} },
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Thing" } } },
                },
                "404": { "$ref": "#/components/responses/NotFound" },
            },
        } } },
        "components": {
            "responses": { "NotFound": { "content": { "application/json": { "schema": { "type": "object" } } } } },
            "schemas": {
                "Change": {
                    "type": "object",
                    "properties": {
                        "name": { "type": ["string", "null"], "maxLength": 200 },
                        "state": { "oneOf": [{ "const": "open" }, { "const": "done" }] },
                    },
                },
                "Thing": {
                    "type": "object",
                    "required": ["id", "parts"],
                    "properties": {
                        "id": { "type": "string", "format": "uuid" },
                        "parts": { "type": "array", "items": { "$ref": "#/components/schemas/Thing" } },
                        "owner": { "anyOf": [{ "type": "string" }, { "type": "integer" }] },
                    },
                },
            },
        },
    })
}

const OPERATION: &str = "/paths/~1things~1{id}/post";

/// What breaks where the value at this pointer becomes another one.
fn after(pointer: &str, value: Value) -> Vec<String> {
    let mut new = example();
    *new.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
    breaks(&example(), &new)
}

#[test]
fn every_rule_is_found_when_it_is_violated() {
    let operation = |rest: &str| format!("{OPERATION}{rest}");
    let change = |rest: &str| format!("/components/schemas/Change{rest}");
    let thing = |rest: &str| format!("/components/schemas/Thing{rest}");
    for (pointer, value, said) in [
        ("/paths".to_owned(), json!({}), "POST /things/{id}: was removed"),
        ("/paths/~1things~1{id}".to_owned(), json!({ "get": {} }), "POST /things/{id}: was removed"),
        (operation("/operationId"), json!("alter"), "operationId became"),
        (operation("/security"), json!([{ "apiKey": ["admin"] }]), "no longer suffices"),
        (
            operation("/parameters"),
            json!([example().pointer(&operation("/parameters/0"))]),
            "parameter \"kind\": was removed",
        ),
        (operation("/parameters/1/required"), json!(true), "parameter \"kind\": is required now"),
        (operation("/parameters/1/schema/enum"), json!(["large"]), "the value \"small\" was removed"),
        (operation("/parameters/0/name"), json!("key"), "the new parameter \"key\" is required"),
        (operation("/parameters/0/schema/type"), json!("integer"), "the type {\"string\"} became {\"integer\"}"),
        (operation("/requestBody/required"), json!(true), "body: is required now"),
        (operation("/requestBody/content"), json!({}), "body application/json: was removed"),
        (operation("/responses"), json!({ "404": {} }), "status 200 was removed"),
        (operation("/responses/200/headers"), json!({}), "the header ETag was removed"),
        (operation("/responses/200/content"), json!({}), "200 application/json: was removed"),
        (
            "/components/responses/NotFound/content/application~1json/schema/type".into(),
            json!("array"),
            "404 application/json: the type",
        ),
        (
            change("/properties/name/type"),
            json!("string"),
            "/name: the type {\"null\", \"string\"} became {\"string\"}",
        ),
        (change("/properties/name/maxLength"), json!(100), "/name: maxLength became 100"),
        (
            change("/properties/name"),
            json!({ "type": ["string", "null"], "pattern": "^a" }),
            "/name: the pattern became",
        ),
        (change("/properties/state/oneOf"), json!([{ "const": "open" }]), "/state: the value \"done\" was removed"),
        (
            change(""),
            json!({ "type": "object", "properties": {}, "additionalProperties": false }),
            "/name: was removed",
        ),
        (change("/properties"), json!({ "name": { "type": "integer" } }), "/name: the type"),
        (thing("/properties"), json!({ "id": { "type": "string", "format": "uuid" } }), "/parts: was removed"),
        (thing("/required"), json!(["id"]), "/parts: may be missing now"),
        (thing("/properties/id/type"), json!(["string", "null"]), "/id: the type {\"string\"} became"),
        (thing("/properties/id/format"), json!("date-time"), "/id: the format"),
        (thing("/properties/parts/items"), json!({ "type": "string" }), "/parts[]: the type"),
        (
            thing("/properties/owner/anyOf"),
            json!([{ "type": "string" }, { "type": "boolean" }]),
            "/owner: an alternative changed",
        ),
    ] {
        let found = after(&pointer, value);
        assert!(found.iter().any(|it| it.contains(said)), "{pointer}: {found:?}");
    }
    let mut new = example();
    new["components"]["schemas"]["Change"]["required"] = json!(["name"]);
    assert_eq!(breaks(&example(), &new), ["POST /things/{id} body application/json/name: is required now"]);
}

#[test]
fn what_is_added_breaks_nobody() {
    assert!(breaks(&example(), &example()).is_empty());
    let operation = |rest: &str| format!("{OPERATION}{rest}");
    for (pointer, value) in [
        (operation("/parameters/1/schema/enum"), json!(["large", "medium", "small"])),
        (operation("/parameters/0/schema/type"), json!(["string", "integer"])),
        (operation("/security"), json!([{ "apiKey": ["things:write"] }, { "apiKey": ["admin"] }])),
        (operation("/security"), json!([{}])),
        ("/components/schemas/Change/properties/name/maxLength".to_owned(), json!(300)),
        (
            "/components/schemas/Change/properties/state/oneOf".to_owned(),
            json!([{ "const": "open" }, { "const": "done" }, { "const": "new" }]),
        ),
        ("/components/schemas/Thing/required".to_owned(), json!(["id", "parts", "owner"])),
        ("/components/schemas/Thing/properties/owner/anyOf".to_owned(), json!([{ "type": "string" }])),
    ] {
        let found = after(&pointer, value);
        assert!(found.is_empty(), "{pointer}: {found:?}");
    }
    let mut new = example();
    new["paths"]["/more"] = json!({ "get": {} });
    new["components"]["schemas"]["Thing"]["properties"]["more"] = json!({ "type": "string" });
    new["components"]["schemas"]["Change"]["properties"]["more"] = json!({ "type": "string" });
    assert!(breaks(&example(), &new).is_empty());
}
