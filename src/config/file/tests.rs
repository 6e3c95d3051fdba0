//! examples/hookmill.toml and docs/OPERATIONS.md, compared with the settings.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};

use crate::config::file::*;
use crate::config::{Config, Options};

const EXAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hookmill.toml"));
const OPERATIONS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md"));

/// Takes the names of a struct's fields from what it asks its deserializer for.
struct Names<'a>(&'a mut BTreeSet<&'static str>);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(self, _: &str, fields: &[&'static str], _: V) -> Result<V::Value, Error> {
        self.0.extend(fields);
        Err(Error::custom("only the names are wanted"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq
        tuple tuple_struct map enum identifier ignored_any
    }
}

fn names<'de, T: Deserialize<'de>>() -> BTreeSet<&'static str> {
    let mut names = BTreeSet::new();
    assert!(T::deserialize(Names(&mut names)).is_err(), "a struct asks for its fields first");
    names
}

/// The tables of hookmill.toml, with the names of their settings.
fn tables() -> [(&'static str, BTreeSet<&'static str>); 7] {
    [
        ("outbound", names::<OutboundFile>()),
        ("limits", names::<LimitsFile>()),
        ("store", names::<StoreFile>()),
        ("retention", names::<RetentionFile>()),
        ("plugins", names::<PluginsFile>()),
        ("traces", names::<TracesFile>()),
        ("console", names::<ConsoleFile>()),
    ]
}

/// The example with its optional settings, which are commented out because they have no default.
fn with_optional_lines() -> toml::Table {
    let mut text = String::new();
    for line in EXAMPLE.lines() {
        let setting =
            line.strip_prefix("# ").filter(|it| it.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')));
        writeln!(text, "{}", setting.unwrap_or(line)).unwrap();
    }
    toml::from_str::<File>(&text).expect("a setting that is commented out is wrong");
    toml::from_str(&text).unwrap()
}

/// Somebody who copies the example must find every setting in it.
#[test]
fn the_example_has_every_setting() {
    let example = with_optional_lines();
    let keys = |table: &toml::Table| table.keys().cloned().collect::<BTreeSet<_>>();
    let owned = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(keys(&example), owned(names::<File>()));
    let found: BTreeSet<_> =
        example.iter().filter(|(_, value)| value.is_table()).map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        found,
        tables().into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>(),
        "a table is missing in this test"
    );
    for (table, names) in tables() {
        assert_eq!(keys(example[table].as_table().unwrap()), owned(names), "[{table}]");
    }
}

/// The example's values are called defaults: a server with the example must run like one without a file.
#[test]
fn the_example_has_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let load = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("{:#?}", Config::load(&Options { config: Some(path), ..Options::default() }).unwrap())
    };
    let (example, defaults) = (load("example.toml", EXAMPLE), load("empty.toml", ""));
    for (example, default) in example.lines().zip(defaults.lines()) {
        assert_eq!(example, default);
    }
    assert_eq!(example, defaults);
}

/// The page that the README calls the reference must name every setting.
#[test]
fn operations_md_names_every_setting() {
    for (table, names) in tables() {
        for name in names {
            let documented =
                [format!("`{table}.{name}`"), format!("`{name}`")].iter().any(|it| OPERATIONS.contains(it));
            assert!(documented, "docs/OPERATIONS.md has no `{table}.{name}`");
        }
    }
}
