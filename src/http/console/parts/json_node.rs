//! JSON as it was written: numbers keep every digit.

use std::borrow::Cow;

use serde_json::Value;

/// A JSON value whose numbers are text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum JsonNode<'a> {
    Object(Vec<(Cow<'a, str>, JsonNode<'a>)>),
    Array(Vec<JsonNode<'a>>),
    Text(Cow<'a, str>),
    /// A number, `true`, `false` or `null`, as it was written.
    Other(Cow<'a, str>),
}

impl<'a> JsonNode<'a> {
    /// Reads JSON text; `None` if it is not valid.
    pub(in super::super) fn parse(text: &'a str) -> Option<Self> {
        // It checks everything, and limits the depth: the reader below need not.
        serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
        JsonReader { text, at: 0 }.value()
    }

    pub(in super::super) fn of(value: &'a Value) -> Self {
        match value {
            Value::Object(fields) => {
                Self::Object(fields.iter().map(|(name, it)| (name.as_str().into(), Self::of(it))).collect())
            }
            Value::Array(items) => Self::Array(items.iter().map(Self::of).collect()),
            Value::String(text) => Self::Text(text.as_str().into()),
            other => Self::Other(other.to_string().into()),
        }
    }

    /// This value, or one of those in it, that is the same as a value whose numbers were read.
    pub(in super::super) fn like(&self, value: &Value) -> Option<&Self> {
        /// Wrappers of a payload are few.
        const LEVELS: usize = 4;
        let mut level = vec![self];
        for _ in 0..LEVELS {
            if let Some(found) = level.iter().find(|it| it.is(value)) {
                return Some(found);
            }
            level = level.into_iter().flat_map(Self::children).collect();
        }
        None
    }

    fn children(&self) -> Vec<&Self> {
        match self {
            Self::Object(fields) => fields.iter().map(|(_, it)| it).collect(),
            Self::Array(items) => items.iter().collect(),
            Self::Text(_) | Self::Other(_) => Vec::new(),
        }
    }

    /// Whether a value is this one: numbers that no float holds were read as text.
    fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Object(own), Value::Object(other)) => {
                own.len() == other.len()
                    && own.iter().all(|(name, it)| other.get(&**name).is_some_and(|other| it.is(other)))
            }
            (Self::Array(own), Value::Array(other)) => {
                own.len() == other.len() && own.iter().zip(other).all(|(own, other)| own.is(other))
            }
            (Self::Text(own) | Self::Other(own), Value::String(other)) => own == other,
            (Self::Other(own), other) => serde_json::from_str::<Value>(own).is_ok_and(|own| own == *other),
            _ => false,
        }
    }

    /// Writes it as JSON text.
    pub(in super::super) fn json(&self, out: &mut String) {
        let quoted = |text: &str| Value::from(text).to_string();
        let comma = |out: &mut String, index: usize| out.push_str(if index == 0 { "" } else { "," });
        match self {
            Self::Object(fields) => {
                out.push('{');
                for (index, (name, it)) in fields.iter().enumerate() {
                    comma(out, index);
                    out.push_str(&quoted(name));
                    out.push(':');
                    it.json(out);
                }
                out.push('}');
            }
            Self::Array(items) => {
                out.push('[');
                for (index, it) in items.iter().enumerate() {
                    comma(out, index);
                    it.json(out);
                }
                out.push(']');
            }
            Self::Text(text) => out.push_str(&quoted(text)),
            Self::Other(token) => out.push_str(token),
        }
    }

    /// The member or item of this name.
    pub(in super::super) fn step(&self, name: &str) -> Option<&Self> {
        match self {
            // Of members with one name, the last counts.
            Self::Object(fields) => fields.iter().rev().find(|(it, _)| it == name).map(|(_, it)| it),
            Self::Array(items) => items.get(name.parse::<usize>().ok()?),
            Self::Text(_) | Self::Other(_) => None,
        }
    }
}

/// Reads text that is known to be valid.
struct JsonReader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> JsonReader<'a> {
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        self.at += rest.iter().position(|it| !it.is_ascii_whitespace())?;
        self.text.as_bytes().get(self.at).copied()
    }

    fn value(&mut self) -> Option<JsonNode<'a>> {
        match self.peek()? {
            b'{' => self.members().map(JsonNode::Object),
            b'[' => self.items().map(JsonNode::Array),
            b'"' => self.string().map(JsonNode::Text),
            _ => {
                let rest = self.text.get(self.at..)?;
                let is_end = |it: char| it.is_ascii_whitespace() || matches!(it, ',' | ']' | '}');
                let token = rest.get(..rest.find(is_end).unwrap_or(rest.len()))?;
                self.at += token.len();
                Some(JsonNode::Other(token.into()))
            }
        }
    }

    fn members(&mut self) -> Option<Vec<(Cow<'a, str>, JsonNode<'a>)>> {
        let mut members = Vec::new();
        self.at += 1;
        while self.peek()? != b'}' {
            let name = self.string()?;
            self.peek()?;
            self.at += 1;
            members.push((name, self.value()?));
            self.skip_comma()?;
        }
        self.at += 1;
        Some(members)
    }

    fn items(&mut self) -> Option<Vec<JsonNode<'a>>> {
        let mut items = Vec::new();
        self.at += 1;
        while self.peek()? != b']' {
            items.push(self.value()?);
            self.skip_comma()?;
        }
        self.at += 1;
        Some(items)
    }

    fn skip_comma(&mut self) -> Option<()> {
        if self.peek()? == b',' {
            self.at += 1;
        }
        Some(())
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        let start = self.at;
        let mut at = start + 1;
        loop {
            at += memchr::memchr2(b'"', b'\\', self.text.as_bytes().get(at..)?)?;
            if self.text.as_bytes().get(at)? == &b'"' {
                break;
            }
            at += 2;
        }
        self.at = at + 1;
        let quoted = self.text.get(start..=at)?;
        let inner = quoted.get(1..quoted.len() - 1)?;
        if inner.contains('\\') { serde_json::from_str(quoted).ok().map(Cow::Owned) } else { Some(inner.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a page shows another amount or id than was sent.
    #[test]
    fn numbers_keep_every_digit_and_everything_else_its_place() {
        let text = r#" {"a":[12.50,1e400,9007199254740993, -0 ],"b\n\"":{"c/d~":null,"é":"\u00e9"},"":[],"x":{}} "#;
        let node = JsonNode::parse(text).unwrap();
        let numbers = ["12.50", "1e400", "9007199254740993", "-0"].map(|it| JsonNode::Other(it.into()));
        assert_eq!(node.step("a"), Some(&JsonNode::Array(numbers.to_vec())));
        assert_eq!(node.step("b\n\"").and_then(|it| it.step("é")), Some(&JsonNode::Text("é".into())));
        assert_eq!(node.step("x"), Some(&JsonNode::Object(Vec::new())));
        for wrong in ["", "{", "[1,]", "{\"a\":}", "nul", "\"", &"[".repeat(1000)] {
            assert_eq!(JsonNode::parse(wrong), None, "{wrong}");
        }
        let wrapped = JsonNode::parse(r#"[{"body":{"n":1.10,"big":12345678901234567890123}}]"#).unwrap();
        let payload = serde_json::json!({"n": 1.1, "big": "12345678901234567890123"});
        let found = wrapped.like(&payload).unwrap();
        assert_eq!(found.step("n"), Some(&JsonNode::Other("1.10".into())));
        let mut written = String::new();
        JsonNode::parse(r#" {"a\n": [ 1.10, "\u00e9\"", {} ], "b": -0} "#).unwrap().json(&mut written);
        assert_eq!(written, r#"{"a\n":[1.10,"é\"",{}],"b":-0}"#);
        assert_eq!(wrapped.like(&serde_json::json!({"n": 1.2, "big": "12345678901234567890123"})), None);
        let value: Value = serde_json::from_str(r#"{"a":[1,"x",true]}"#).unwrap();
        assert_eq!(JsonNode::of(&value), JsonNode::parse(r#"{"a":[1,"x",true]}"#).unwrap());
    }
}
