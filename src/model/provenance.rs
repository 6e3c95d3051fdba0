//! The versions that processed an event.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Separates the digests of module and script in records, which have one field for both.
const AND: char = '+';

/// The exact plugin and schema that processed an event.
#[derive(Debug, Clone, PartialEq, Eq, schemars::JsonSchema)]
pub struct Provenance {
    /// `version` in plugin.toml.
    pub plugin_version: String,
    /// SHA-256 of the module, in hexadecimal; of the interpreter's module, for a script. Empty if there was no mapping yet.
    pub module_sha256: String,
    /// SHA-256 of the script with the files that it imports, or of the expressions, in hexadecimal. Left out for a module.
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub script_sha256: Option<String>,
    /// SHA-256 of input.schema.json, in hexadecimal.
    pub schema_sha256: String,
}

/// As JSON.
#[derive(Serialize, Deserialize)]
struct ShownProvenance {
    plugin_version: String,
    module_sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    script_sha256: Option<String>,
    schema_sha256: String,
}

/// In records, whose fields are fixed: the module's field also has the script's digest.
#[derive(Serialize, Deserialize)]
struct RecordedProvenance {
    plugin_version: String,
    modules_sha256: String,
    schema_sha256: String,
}

impl Serialize for Provenance {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { plugin_version, module_sha256, script_sha256, schema_sha256 } = self.clone();
        if to.is_human_readable() {
            return ShownProvenance { plugin_version, module_sha256, script_sha256, schema_sha256 }.serialize(to);
        }
        let modules_sha256 = match script_sha256 {
            None => module_sha256,
            Some(script) => format!("{module_sha256}{AND}{script}"),
        };
        RecordedProvenance { plugin_version, modules_sha256, schema_sha256 }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Provenance {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            let ShownProvenance { plugin_version, module_sha256, script_sha256, schema_sha256 } =
                ShownProvenance::deserialize(from)?;
            return Ok(Self { plugin_version, module_sha256, script_sha256, schema_sha256 });
        }
        let RecordedProvenance { plugin_version, modules_sha256, schema_sha256 } =
            RecordedProvenance::deserialize(from)?;
        let (module_sha256, script_sha256) = match modules_sha256.split_once(AND) {
            None => (modules_sha256, None),
            Some((module, script)) => (module.to_owned(), Some(script.to_owned())),
        };
        Ok(Self { plugin_version, module_sha256, script_sha256, schema_sha256 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events of earlier versions are read, and those of scripts by earlier versions.
    #[test]
    fn records_have_three_fields_and_json_has_four() {
        let module = Provenance {
            plugin_version: "1".into(),
            module_sha256: "a".repeat(64),
            script_sha256: None,
            schema_sha256: "c".repeat(64),
        };
        let script = Provenance { script_sha256: Some("b".repeat(64)), ..module.clone() };
        for it in [&module, &script] {
            let record = postcard::to_stdvec(it).unwrap();
            assert_eq!(postcard::from_bytes::<Provenance>(&record).unwrap(), *it);
            let earlier: (String, String, String) = postcard::from_bytes(&record).unwrap();
            assert!(earlier.1.starts_with(&it.module_sha256));
            let json = serde_json::to_string(it).unwrap();
            assert_eq!(serde_json::from_str::<Provenance>(&json).unwrap(), *it);
        }
        let earlier = r#"{"plugin_version":"1","module_sha256":"a","schema_sha256":"c"}"#;
        assert_eq!(serde_json::from_str::<Provenance>(earlier).unwrap().script_sha256, None);
    }
}
