//! Finds misspelled keywords. A validator ignores keywords that it does not know, so a schema with `requierd` accepts
//! everything.

use serde_json::Value;

use super::cost::{DEFINITIONS, IN_PLACE, PARTS};
use crate::system::nearest::nearest;

/// Maximum number of keywords that are reported.
const MOST: usize = 20;

/// Keywords whose values are not schemas.
const OTHERS: [&str; 40] = [
    "$schema",
    "$id",
    "$anchor",
    "$dynamicAnchor",
    "$ref",
    "$dynamicRef",
    "$vocabulary",
    "$comment",
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxContains",
    "minContains",
    "maxProperties",
    "minProperties",
    "required",
    "dependentRequired",
    "format",
    "contentEncoding",
    "contentMediaType",
    "title",
    "description",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "examples",
    // Annotations of OpenAPI.
    "example",
    "externalDocs",
];

/// Keywords of other drafts and dialects that draft 2020-12 ignores, and what to write instead.
const FOREIGN: [(&str, &str); 4] = [
    ("nullable", "add \"null\" to \"type\""),
    ("optional", "leave the field out of \"required\""),
    ("additionalItems", "use \"items\" after \"prefixItems\""),
    ("dependencies", "use \"dependentRequired\" or \"dependentSchemas\""),
];

/// A keyword that is ignored and was probably meant to have an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IgnoredKeyword {
    /// JSON Pointer to its schema.
    pub(crate) place: String,
    /// The keyword.
    pub(crate) keyword: String,
    /// What to write instead.
    pub(crate) instead: String,
}

/// Returns the keywords of a schema that are ignored because they are misspelled or of another draft.
pub(crate) fn ignored_keywords(schema: &Value) -> Vec<IgnoredKeyword> {
    let mut found = Vec::new();
    read(schema, "", &mut found);
    found.truncate(MOST);
    found
}

fn read(schema: &Value, place: &str, found: &mut Vec<IgnoredKeyword>) {
    for (name, value) in schema.as_object().into_iter().flatten() {
        let below = format!("{place}/{}", escape(name));
        match name.as_str() {
            "properties" | "patternProperties" | "dependentSchemas" => members(value, &below, found),
            it if DEFINITIONS.contains(&it) => members(value, &below, found),
            it if IN_PLACE.contains(&it) || PARTS.contains(&it) => match value {
                Value::Array(all) => {
                    all.iter().enumerate().for_each(|(index, it)| read(it, &format!("{below}/{index}"), found));
                }
                one => read(one, &below, found),
            },
            it if OTHERS.contains(&it) => {}
            it if it.starts_with("x-") => {}
            it => found.extend(instead(it).map(|instead| IgnoredKeyword {
                place: place.to_owned(),
                keyword: it.to_owned(),
                instead,
            })),
        }
    }
}

/// Reads the schemas of named members: the names are not keywords.
fn members(named: &Value, place: &str, found: &mut Vec<IgnoredKeyword>) {
    for (name, schema) in named.as_object().into_iter().flatten() {
        read(schema, &format!("{place}/{}", escape(name)), found);
    }
}

fn instead(keyword: &str) -> Option<String> {
    if let Some((_, instead)) = FOREIGN.iter().find(|(name, _)| *name == keyword) {
        return Some((*instead).to_owned());
    }
    let known = IN_PLACE.iter().chain(&PARTS).chain(&DEFINITIONS).chain(&OTHERS).copied();
    nearest(keyword, known).map(|it| format!("did you mean \"{it}\"?"))
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::ignored_keywords;
    use serde_json::json;

    #[test]
    fn only_keywords_of_schemas_are_read() {
        let schema = json!({
            "requierd": ["a"], "propertis": { "tpye": {} }, "x-requird": 1, "$comment": "requird", "ui": {},
            "properties": {
                "requierd": { "typ": "string" }, "a/b": { "additionalProperty": false, "nullable": true },
            },
            "allOf": [{ "if": { "minlength": 1 } }],
            "$defs": { "formt": { "enum": [{ "typ": 1 }], "const": { "typ": 1 }, "default": { "typ": 1 } } },
            "examples": [{ "typ": 1 }], "items": { "not": { "anyof": [] } },
        });
        let found: Vec<_> =
            ignored_keywords(&schema).into_iter().map(|it| (it.place, it.keyword, it.instead)).collect();
        let meant = |it: &str| format!("did you mean \"{it}\"?");
        let expected = [
            ("", "requierd", meant("required")),
            ("", "propertis", meant("properties")),
            ("/properties/requierd", "typ", meant("type")),
            ("/properties/a~1b", "additionalProperty", meant("additionalProperties")),
            ("/properties/a~1b", "nullable", "add \"null\" to \"type\"".to_owned()),
            ("/allOf/0/if", "minlength", meant("minLength")),
            ("/items/not", "anyof", meant("anyOf")),
        ];
        let expected = expected.map(|(place, keyword, it)| (place.to_owned(), keyword.to_owned(), it));
        assert_eq!(found, expected);
    }

    /// A false alarm in a shipped schema would teach people to ignore the warning.
    #[test]
    fn the_shipped_schemas_have_no_findings() {
        for folder in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/plugins")).unwrap() {
            let text = std::fs::read_to_string(folder.unwrap().path().join("input.schema.json")).unwrap();
            assert_eq!(ignored_keywords(&serde_json::from_str(&text).unwrap()), []);
        }
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas")).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            assert_eq!(ignored_keywords(&serde_json::from_str(&text).unwrap()), []);
        }
    }
}
