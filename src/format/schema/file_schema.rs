//! The schema of a TOML file, whose errors are in the terms of TOML: keys, tables and their types.
//!
//! An error never quotes a value, which may be a secret in the wrong place. It quotes names of keys.

use serde_json::{Map, Value};

use super::excerpt::cut;
use super::{Schema, SchemaError, Violation};
use crate::system::nearest::nearest;

/// Maximum number of keys that a hint lists.
const LISTED: usize = 20;

/// A schema, compiled and as JSON.
#[derive(Debug)]
pub(crate) struct FileSchema {
    schema: Schema,
    json: Value,
}

/// What is wrong with a file, as a sentence, and what to do about it, if there is more to say.
pub(crate) type FileError = (String, Option<String>);

impl FileSchema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// Where and why it cannot be used.
    pub(crate) fn compile(text: &str) -> Result<Self, SchemaError> {
        Ok(Self { schema: Schema::compile(text)?, json: serde_json::from_str(text)? })
    }

    /// Checks a file that was read as JSON.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn check(&self, file: &Value) -> Result<(), Vec<FileError>> {
        let Err(found) = self.schema.check(file) else { return Ok(()) };
        let keys: Vec<_> =
            found.iter().filter(|it| it.code == "unknown_field").flat_map(|it| self.unknown(it, file)).collect();
        let meant = |it: &Violation| keys.iter().any(|key| key.explains(it));
        let rest = found.iter().filter(|it| it.code != "unknown_field" && !meant(it) && !is_doubled(it, &found));
        let all = keys.iter().map(|it| self.misplaced(it)).chain(rest.map(|it| self.sentence(it, file)));
        let mut all: Vec<FileError> = all.collect();
        all.dedup();
        Err(all)
    }

    /// Returns the keys of a table that are unknown, with those that were probably meant.
    fn unknown(&self, violation: &Violation, file: &Value) -> Vec<UnknownKey> {
        let table = file.pointer(&violation.pointer).and_then(Value::as_object);
        let schemas = self.schemas_at(&violation.pointer);
        let known: Vec<&str> = schemas.iter().flat_map(|it| properties(it)).map(|(name, _)| name.as_str()).collect();
        let unknown = table.into_iter().flatten().filter(|(name, _)| !known.contains(&name.as_str()));
        let key = |(name, value): (&String, &Value)| UnknownKey {
            table: violation.pointer.clone(),
            name: name.clone(),
            is_table: value.is_object(),
            meant: nearest(name, known.iter().copied()).map(str::to_owned),
            known: known.iter().map(|it| (*it).to_owned()).collect(),
        };
        unknown.map(key).collect()
    }

    fn misplaced(&self, key: &UnknownKey) -> FileError {
        let is_top = key.table.is_empty();
        let table = if is_top { String::new() } else { format!("{}: ", place(&key.table, true)) };
        let name = cut(&key.name);
        let unknown =
            if key.is_table && is_top { format!("unknown table [{name}]") } else { format!("unknown key \"{name}\"") };
        if let Some(meant) = &key.meant {
            let meant = if key.is_table && is_top { format!("[{meant}]") } else { format!("\"{meant}\"") };
            return (format!("{table}{unknown} (did you mean {meant}?)"), Some(format!("Write {meant}")));
        }
        if let Some(elsewhere) = self.table_of(&key.name).filter(|it| *it != key.table) {
            // Keys below a table's header belong to that table, which people forget.
            let at = if elsewhere.is_empty() {
                "at the top, before the first [table]".into()
            } else {
                format!("in {}", place(&elsewhere, true))
            };
            return (format!("{table}{unknown} (it belongs {at})"), Some("Move it there".to_owned()));
        }
        let hint = (1..=LISTED).contains(&key.known.len()).then(|| format!("Known keys are {}", key.known.join(", ")));
        (format!("{table}{unknown}"), hint)
    }

    /// Returns the pointer of the table that a key belongs to: the top, or a table of the top.
    fn table_of(&self, name: &str) -> Option<String> {
        let top = properties(&self.json);
        if top.clone().any(|(known, _)| known == name) {
            return Some(String::new());
        }
        let mut tables = top.filter(|(_, it)| properties(it).any(|(known, _)| known == name));
        tables.next().map(|(table, _)| format!("/{table}"))
    }

    fn sentence(&self, violation: &Violation, file: &Value) -> FileError {
        let at = place(&violation.pointer, false);
        let schemas = self.schemas_at(&violation.pointer);
        let described = schemas.iter().find_map(|it| it.get("description")?.as_str()).map(str::to_owned);
        let Some(value) = file.pointer(&violation.pointer) else {
            // Only a missing key has a place that the file does not have.
            return (format!("{at}: required"), described);
        };
        if violation.expected.contains("\"falseSchema\"") {
            return (format!("{at}: is not used with this kind, scheme or sender; remove it"), None);
        }
        if let Some(sentence) = schemas.iter().find_map(|it| choice(it, value, &at)) {
            return (sentence, described);
        }
        let types: Vec<&str> = schemas.iter().flat_map(|it| types(it, &self.json)).collect();
        if !types.is_empty() && !types.iter().any(|it| is_of(value, it)) {
            let must = types.iter().map(|it| toml_type(it)).collect::<Vec<_>>().join(" or ");
            return (format!("{at}: must be {must}, but is {}{}", kind(value), quotes(value, &types)), described);
        }
        match violation.code.as_str() {
            "enum" => {
                let options =
                    schemas.iter().filter_map(|it| it.get("enum")?.as_array()).flatten().filter_map(Value::as_str);
                let meant = value.as_str().and_then(|it| nearest(it, options));
                let meant = meant.map_or_else(String::new, |it| format!(" (did you mean \"{it}\"?)"));
                (format!("{at}: is not {}{meant}", violation.expected), described)
            }
            "shape" => (format!("{at}: is not in one of the allowed forms"), described),
            "minimum" | "maximum" => (format!("{at}: must be {}", violation.expected), described),
            _ => (violation.in_file(&at), described),
        }
    }

    /// Returns the schemas of a place: several if its table has several forms.
    fn schemas_at(&self, pointer: &str) -> Vec<&Value> {
        let mut all = self.resolved(&self.json);
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            all = all.iter().flat_map(|it| below(it, &step)).flat_map(|it| self.resolved(it)).collect();
        }
        all
    }

    /// Returns a schema, where its reference leads, and its alternatives.
    fn resolved<'a>(&'a self, schema: &'a Value) -> Vec<&'a Value> {
        let referred = referred(schema, &self.json);
        let branches =
            ["oneOf", "anyOf"].iter().filter_map(|it| referred.or(Some(schema))?.get(it)?.as_array()).flatten();
        let mut all = vec![schema];
        all.extend(referred);
        all.extend(branches.map(|it| self::referred(it, &self.json).unwrap_or(it)));
        all
    }
}

/// A key that its table does not have.
struct UnknownKey {
    table: String,
    name: String,
    is_table: bool,
    meant: Option<String>,
    known: Vec<String>,
}

impl UnknownKey {
    /// Returns whether another violation is only a consequence of the misspelled key.
    fn explains(&self, violation: &Violation) -> bool {
        let Some(meant) = &self.meant else { return false };
        match violation.code.as_str() {
            "required" => violation.pointer == format!("{}/{meant}", self.table),
            // `[auth]` has neither a sender nor a scheme, because it has a `scheem`.
            "shape" | "schema" => violation.pointer == self.table,
            _ => false,
        }
    }
}

/// Returns whether a place has another violation that says more.
fn is_doubled(violation: &Violation, all: &[Violation]) -> bool {
    violation.code == "shape" && all.iter().any(|it| it.code == "type" && it.pointer == violation.pointer)
}

/// Describes a table that must have exactly one of several keys, if the schema says so and it has none or several.
fn choice(schema: &Value, table: &Value, at: &str) -> Option<String> {
    let branches = ["oneOf", "anyOf"].iter().find_map(|it| schema.get(it)?.as_array())?;
    let table = table.as_object()?;
    let name = |it: &'_ Value| Some(it.get("required")?.as_array()?.first()?.as_str()?.to_owned());
    let names: Vec<String> = branches.iter().map(name).collect::<Option<_>>()?;
    let there = names.iter().filter(|it| table.contains_key(it.as_str())).count();
    let (last, first) = names.split_last()?;
    let names = format!("{} or {last}", first.join(", "));
    match there {
        0 => Some(format!("{at}: needs {names}")),
        1 => None,
        _ => Some(format!("{at}: has more than one of {names}; keep one")),
    }
}

/// Returns a place as people find it in the file: `module`, `[limits] time_ms`, `[auth]`.
fn place(pointer: &str, is_table: bool) -> String {
    let steps: Vec<String> =
        pointer.split('/').skip(1).map(|it| cut(&it.replace("~1", "/").replace("~0", "~"))).collect();
    let mut keys: Vec<String> = Vec::new();
    for step in steps {
        match keys.last_mut() {
            Some(last) if step.parse::<usize>().is_ok() => last.push_str(&format!("[{step}]")),
            _ => keys.push(step),
        }
    }
    match (keys.split_last(), is_table) {
        (None, _) => "the file".to_owned(),
        // `[[proof]]`: a list of tables.
        _ if keys.iter().rev().skip(usize::from(!is_table)).any(|it| it.contains('[')) => keys.join("."),
        (Some(_), true) => format!("[{}]", keys.join(".")),
        (Some((only, [])), false) => only.clone(),
        (Some((last, tables)), false) => format!("[{}] {last}", tables.join(".")),
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> + Clone {
    schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// Returns the schemas of a member or an item.
fn below<'a>(schema: &'a Value, step: &str) -> Vec<&'a Value> {
    let named = schema.get("properties").and_then(|it| it.get(step));
    let others = || schema.get("additionalProperties").filter(|it| it.is_object());
    let items = || schema.get("items").filter(|_| step.parse::<usize>().is_ok());
    named.or_else(items).or_else(others).into_iter().collect()
}

fn referred<'a>(schema: &Value, root: &'a Value) -> Option<&'a Value> {
    schema.get("$ref")?.as_str()?.strip_prefix('#').and_then(|it| root.pointer(it))
}

/// Returns the types that a schema accepts; of an enum, those of its values.
fn types<'a>(schema: &'a Value, root: &'a Value) -> Vec<&'a str> {
    let schema = referred(schema, root).unwrap_or(schema);
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => match schema.get("enum").and_then(Value::as_array).and_then(|it| it.first()) {
            Some(Value::String(_)) => vec!["string"],
            Some(Value::Number(_)) => vec!["integer"],
            _ => Vec::new(),
        },
    }
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

fn toml_type(name: &str) -> &'static str {
    match name {
        "string" => "a string",
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "an array",
        "object" => "a table",
        _ => "empty",
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Number(it) if it.is_f64() => "a float",
        Value::Number(_) => "an integer",
        Value::Bool(_) => "a boolean",
        Value::Array(_) => "an array",
        Value::Object(it) if it.contains_key("$__toml_private_datetime") => "a date",
        Value::Object(_) => "a table",
        Value::Null => "empty",
    }
}

/// Says which quotes are missing or too many, where that is the mistake.
fn quotes(value: &Value, types: &[&str]) -> &'static str {
    let wants_text = types.contains(&"string");
    match value {
        Value::Number(_) | Value::Bool(_) if wants_text => "; write it in quotes",
        Value::String(it) if it.trim().parse::<i64>().is_ok() && types.contains(&"integer") => {
            "; write it without quotes"
        }
        Value::String(it) if matches!(it.as_str(), "true" | "false") && types.contains(&"boolean") => {
            "; write it without quotes"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::FileSchema;

    const MANIFEST: &str = include_str!("../../../schemas/plugin-manifest.schema.json");
    const GOOD: &str = "name = \"a\"\nversion = \"1\"\nmodule = \"m\"\nschema = \"s\"\ncompany_id = \"c\"\n";
    const AUTH: &str = "[auth]\nscheme = \"api-key\"\n";

    fn said(file: &str) -> Vec<String> {
        let schema = FileSchema::compile(MANIFEST).unwrap();
        let value: serde_json::Value = crate::format::parse::toml(file).unwrap();
        schema.check(&value).err().unwrap_or_default().into_iter().map(|(sentence, _)| sentence).collect()
    }

    /// Otherwise an author looks up what "additionalProperties" means in the file, or reads two errors for one.
    #[test]
    fn every_mistake_is_named_once_and_as_it_is_in_the_file() {
        assert!(said(&format!("{GOOD}{AUTH}")).is_empty());
        for (file, sentences) in [
            (
                format!("{}{AUTH}", GOOD.replace("module", "modul")),
                vec!["unknown key \"modul\" (did you mean \"module\"?)"],
            ),
            (
                format!("{GOOD}[auth]\nscheem = \"api-key\"\n"),
                vec!["[auth]: unknown key \"scheem\" (did you mean \"scheme\"?)"],
            ),
            (
                format!("{GOOD}{AUTH}[limits]\ntime_m = 1\n"),
                vec!["[limits]: unknown key \"time_m\" (did you mean \"time_ms\"?)"],
            ),
            (format!("{GOOD}{AUTH}[limit]\ntime_ms = 1\n"), vec!["unknown table [limit] (did you mean [limits]?)"]),
            (
                format!("{GOOD}{AUTH}[answer.created]\nstatuss = 200\n"),
                vec!["[answer.created]: unknown key \"statuss\" (did you mean \"status\"?)"],
            ),
            (
                format!("{GOOD}{AUTH}strict = true\n"),
                vec!["[auth]: unknown key \"strict\" (it belongs at the top, before the first [table])"],
            ),
            (format!("{GOOD}per_minute = 5\n{AUTH}"), vec!["unknown key \"per_minute\" (it belongs in [limits])"]),
            (format!("{GOOD}nonsense = 5\n{AUTH}"), vec!["unknown key \"nonsense\""]),
            (
                format!("{GOOD}{AUTH}[limits]\ntime_ms = \"100\"\n"),
                vec!["[limits] time_ms: must be an integer, but is a string; write it without quotes"],
            ),
            (format!("{GOOD}{AUTH}[limits]\ntime_ms = 0\n"), vec!["[limits] time_ms: must be 1 or more"]),
            (
                format!("{GOOD}strict = \"true\"\n{AUTH}"),
                vec!["strict: must be true or false, but is a string; write it without quotes"],
            ),
            (format!("{GOOD}redact = \"/a\"\n{AUTH}"), vec!["redact: must be an array, but is a string"]),
            (
                format!("{GOOD}redact = [1]\n{AUTH}"),
                vec!["redact[0]: must be a string, but is an integer; write it in quotes"],
            ),
            (format!("{GOOD}auth = \"api-key\"\n"), vec!["auth: must be a table, but is a string"]),
            (
                format!("{GOOD}mode = \"asynk\"\n{AUTH}"),
                vec!["mode: is not one of sync, async, capture (did you mean \"async\"?)"],
            ),
            (format!("{GOOD}[auth]\n"), vec!["auth: needs sender or scheme"]),
            (
                format!("{GOOD}[auth]\nscheme = \"twilio\"\nsecret = 5\nurl = \"https://a\"\n"),
                vec!["[auth] secret: must be a string or an array, but is an integer; write it in quotes"],
            ),
            (format!("{}{AUTH}", GOOD.replace("version", "# version")), vec!["version: required"]),
            (format!("{GOOD}[auth]\nscheme = \"stripe\"\n"), vec!["[auth] secret: required"]),
        ] {
            assert_eq!(said(&file), sentences, "{file}");
        }
    }

    /// A secret in the wrong place must not reach the log.
    #[test]
    fn no_value_is_quoted() {
        for line in [
            "secret = \"tainted value!\"",
            "secret = [\"tainted value!\"]",
            "scheme = \"tainted value!\"",
            "url = \"tainted value!\"",
        ] {
            let all = said(&format!("{GOOD}[auth]\n{line}\n"));
            assert!(!all.is_empty() && all.iter().all(|it| !it.contains("tainted")), "{all:?}");
        }
    }
}
