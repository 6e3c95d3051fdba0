//! Parses TOML and JSON files. Errors give place and cause, and quote only the names of keys: a value may be a
//! secret, or a patient's.

use serde::de::DeserializeOwned;

/// Parses TOML.
///
/// # Errors
/// Line, column and what is wrong.
pub(crate) fn toml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    // Syntax first: the messages of its errors are fixed, while those of type errors quote values.
    let described = |error: toml::de::Error, said: String| match error.span() {
        Some(span) => format!("{}: {said}", place(text, span.start)),
        None => said,
    };
    if let Err(error) = toml::from_str::<toml::Table>(text) {
        let said = format!("not TOML: {}", error.message());
        return Err(described(error, said));
    }
    toml::from_str(text).map_err(|error| {
        let said = unquoted(error.message());
        described(error, said)
    })
}

/// Parses JSON.
///
/// # Errors
/// Line, column and what is wrong.
pub(crate) fn json<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| json_error(&error))
}

/// Describes a JSON error without the text that it quotes.
pub(crate) fn json_error(error: &serde_json::Error) -> String {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => format!("{place}: {}", unquoted(&error.to_string())),
        // Fixed messages, followed by the place.
        _ => error.to_string(),
    }
}

fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}")
}

/// Removes values from a message. serde's messages name keys, or quote a value and say what was expected instead.
fn unquoted(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or_default();
    let names_a_key =
        ["unknown field `", "missing field `", "duplicate field `"].iter().any(|it| message.starts_with(it));
    match message.rsplit_once(", expected ") {
        _ if names_a_key => message.chars().take(200).collect(),
        Some((_, expected)) => format!("this value is not valid here; expected {expected}"),
        None => "this value is not valid here".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Sample {
        number: u8,
        kind: SampleKind,
        time: Option<chrono::DateTime<chrono::Utc>>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum SampleKind {
        One,
        Two,
    }

    #[test]
    fn no_error_quotes_a_value() {
        for text in [
            "hm_secret",
            "\"hm_secret",
            "[hm_secret\n",
            "number = hm_secret",
            "number = \"hm_secret\"",
            "number = 1\nkind = \"hm_secret\"",
            "number = 1\nkind = [\"hm_secret, expected \"]",
            "number = 1\nkind = \"one\"\ntime = \"hm_secret\"",
            "number = 2026-hm_secret",
            "number = 07:hm_secret",
            "number = \"\\hm_secret\"",
            "number.hm = 1\nnumber = \"hm_secret\"",
        ] {
            let error = toml::<Sample>(text).unwrap_err();
            assert!(!error.contains("secret"), "{text}: {error}");
        }
        for text in [
            "hm_secret",
            "\"hm_secret",
            r#"{"number":"hm_secret"}"#,
            r#"{"number":1,"kind":"hm_secret at line 1"}"#,
            r#"{"number":1,"kind":"one","time":"hm_secret"}"#,
        ] {
            let error = json::<Sample>(text).unwrap_err();
            assert!(!error.contains("secret") && error.contains("line 1"), "{text}: {error}");
        }
    }

    #[test]
    fn errors_say_where_and_what() {
        let error = toml::<Sample>("number = 1\nkind = \"three\"").unwrap_err();
        assert_eq!(error, "line 2, column 8: this value is not valid here; expected `one` or `two`");
        let error = toml::<Sample>("number = 1\nkind = \"one\"\nother = 1").unwrap_err();
        assert!(error.contains("line 3") && error.contains("unknown field `other`"), "{error}");
        let error = json::<Sample>(r#"{"number":1}"#).unwrap_err();
        assert_eq!(error, "line 1, column 12: missing field `kind`");
    }
}
