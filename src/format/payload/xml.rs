//! Parses XML to objects. Elements are members, repeated ones lists, attributes members with `@`; text next to either
//! is `#text`. Prefixes of namespaces are removed, and there is no DTD, so no entities but XML's own.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};
use serde_json::{Map, Value};

use super::decode_error::DecodeError;
use super::decoded::Loosened;

/// Maximum depth of elements.
const DEPTH: usize = 100;
/// Maximum number of elements and attributes.
const NODES: usize = 100_000;

/// Parses a document.
///
/// # Errors
/// Fails if it is not well-formed, has a DTD, or exceeds the limits.
pub(super) fn parse(text: &str, loosened: &mut Loosened) -> Result<Value, DecodeError> {
    let mut document = Document { open: Vec::new(), root: None, nodes: 0, mixed: false };
    let mut reader = Reader::from_str(text);
    loop {
        let event = reader.read_event().map_err(|e| broken(&e.to_string()));
        match event.map_err(|e| e.at(text, reader.buffer_position()))? {
            Event::Start(tag) => document.begin(&tag)?,
            Event::Empty(tag) => {
                document.begin(&tag)?;
                document.end()?;
            }
            Event::End(_) => document.end()?,
            Event::Text(text) => document.add(&text.decode().map_err(|e| broken(&e.to_string()))?)?,
            Event::CData(text) => document.add(&text.decode().map_err(|e| broken(&e.to_string()))?)?,
            Event::GeneralRef(name) => document.add(&character(&name)?.to_string())?,
            Event::DocType(_) => return Err(broken("it has a DTD; send it without one")),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
            Event::Eof => break,
        }
    }
    if document.mixed {
        loosened.add("mixed-content");
    }
    match document {
        Document { open, root: Some((name, value)), .. } if open.is_empty() => {
            Ok(Value::Object(Map::from_iter([(name, value)])))
        }
        Document { open, .. } if open.is_empty() => Err(broken("it has no element")),
        Document { .. } => Err(broken("it ends in the middle")),
    }
}

fn broken(message: &str) -> DecodeError {
    DecodeError::Xml { message: message.to_owned() }
}

impl DecodeError {
    /// Adds the place of an error to its message.
    fn at(self, text: &str, offset: u64) -> Self {
        let before = usize::try_from(offset).ok().and_then(|at| text.get(..at)).unwrap_or(text);
        let line = before.bytes().filter(|it| *it == b'\n').count() + 1;
        match self {
            Self::Xml { message } => {
                // The parser quotes names, which may be long.
                let message: String = message.chars().take(200).collect();
                Self::Xml { message: format!("{message}, in line {line}") }
            }
            other => other,
        }
    }
}

/// Returns the character that a reference stands for.
fn character(name: &BytesRef<'_>) -> Result<char, DecodeError> {
    if let Some(character) = name.resolve_char_ref().map_err(|_| broken("a character reference is not valid"))? {
        return Ok(character);
    }
    match &**name {
        b"amp" => Ok('&'),
        b"lt" => Ok('<'),
        b"gt" => Ok('>'),
        b"quot" => Ok('"'),
        b"apos" => Ok('\''),
        _ => Err(broken("it uses an entity that is not XML's own")),
    }
}

struct Document {
    /// Elements that have not ended yet.
    open: Vec<Element>,
    root: Option<(String, Value)>,
    nodes: usize,
    /// Whether an element has text between other elements, whose order is lost.
    mixed: bool,
}

#[derive(Default)]
struct Element {
    name: String,
    members: Map<String, Value>,
    /// Names of which there are several.
    repeated: Vec<String>,
    text: String,
    is_nil: bool,
}

impl Document {
    fn begin(&mut self, tag: &BytesStart<'_>) -> Result<(), DecodeError> {
        if self.root.is_some() {
            return Err(broken("it has more than one root element"));
        }
        if self.open.len() == DEPTH {
            return Err(DecodeError::TooDeep { limit: DEPTH });
        }
        let mut element = Element { name: local(tag.local_name().as_ref()), ..Element::default() };
        self.count()?;
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|e| broken(&e.to_string()))?;
            let key = attribute.key.as_ref();
            if key == b"xmlns" || key.starts_with(b"xmlns:") {
                continue;
            }
            self.count()?;
            let value = attribute.unescape_value().map_err(|_| broken("an attribute's value is not valid"))?;
            let name = local(attribute.key.local_name().as_ref());
            if name == "nil" && matches!(&*value, "true" | "1") {
                element.is_nil = true;
            } else {
                element.insert(format!("@{name}"), Value::String(value.into_owned()));
            }
        }
        self.open.push(element);
        Ok(())
    }

    fn count(&mut self) -> Result<(), DecodeError> {
        self.nodes += 1;
        if self.nodes > NODES {
            return Err(broken(&format!("it has more than {NODES} elements and attributes")));
        }
        Ok(())
    }

    fn add(&mut self, text: &str) -> Result<(), DecodeError> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(broken("it has text outside of its root element")),
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), DecodeError> {
        let Some(element) = self.open.pop() else { return Err(broken("an element ends that did not begin")) };
        let has_elements = element.members.keys().any(|it| !it.starts_with('@'));
        self.mixed |= has_elements && !element.text.trim().is_empty();
        let (name, value) = element.into_value(has_elements);
        match self.open.last_mut() {
            Some(parent) => parent.insert(name, value),
            None => self.root = Some((name, value)),
        }
        Ok(())
    }
}

impl Element {
    /// Adds a member; a name that occurs again makes a list, also if only its prefix differs.
    fn insert(&mut self, name: String, value: Value) {
        match self.members.get_mut(&name) {
            None => drop(self.members.insert(name, value)),
            Some(Value::Array(items)) if self.repeated.contains(&name) => items.push(value),
            Some(first) => {
                *first = Value::Array(vec![first.take(), value]);
                self.repeated.push(name);
            }
        }
    }

    fn into_value(mut self, has_elements: bool) -> (String, Value) {
        if self.members.is_empty() {
            let value = if self.is_nil { Value::Null } else { Value::String(self.text) };
            return (self.name, value);
        }
        let blank = self.text.trim().is_empty();
        if !blank || !has_elements && !self.text.is_empty() {
            self.members.insert("#text".into(), Value::String(self.text));
        }
        (self.name, Value::Object(self.members))
    }
}

fn local(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Returns the charset that an XML declaration names.
pub(super) fn declared_charset(body: &[u8]) -> Option<String> {
    let head = body.get(..body.len().min(200))?;
    let head = head.strip_prefix(b"<?xml")?;
    let head = head.get(..memchr::memmem::find(head, b"?>")?)?;
    let after = head.get(memchr::memmem::find(head, b"encoding")? + 8..)?;
    let text = std::str::from_utf8(after).ok()?.trim_start().strip_prefix('=')?.trim_start();
    let quote = text.chars().next().filter(|it| matches!(it, '"' | '\''))?;
    text.get(1..)?.split_once(quote).map(|(label, _)| label.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Value, DecodeError> {
        parse(text, &mut Loosened::default())
    }

    /// Otherwise an outbound message of Salesforce cannot be mapped, or needs its prefixes in every pointer.
    #[test]
    fn a_soap_message_is_an_object_without_prefixes() {
        let message = r#"<?xml version="1.0" encoding="UTF-8"?>
            <soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="x">
             <soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound">
               <OrganizationId>00D</OrganizationId><SessionId xsi:nil="true"/>
               <Notification><Id>04l1</Id><sObject xsi:type="sf:Lead" xmlns:sf="urn:s"><sf:Id>00Q</sf:Id><sf:Name>A &amp; B&#x21;</sf:Name></sObject></Notification>
               <Notification><Id>04l2</Id></Notification>
             </notifications></soapenv:Body></soapenv:Envelope>"#;
        let value = read(message).unwrap();
        let notifications = value.pointer("/Envelope/Body/notifications").unwrap();
        assert_eq!(notifications.pointer("/Notification/0/sObject/Id"), Some(&json!("00Q")));
        assert_eq!(notifications.pointer("/Notification/0/sObject/Name"), Some(&json!("A & B!")));
        assert_eq!(notifications.pointer("/Notification/0/sObject/@type"), Some(&json!("sf:Lead")));
        assert_eq!(notifications.pointer("/Notification/1/Id"), Some(&json!("04l2")));
        assert_eq!(notifications["SessionId"], Value::Null);
    }

    /// Otherwise a value is lost without a word.
    #[test]
    fn every_value_has_a_place() {
        for (text, expected) in [
            ("<a/>", json!({"a": ""})),
            ("<a> x </a>", json!({"a": " x "})),
            ("<a b='1'>x</a>", json!({"a": {"@b": "1", "#text": "x"}})),
            ("<a><b/><b>2</b><b><c>3</c></b></a>", json!({"a": {"b": ["", "2", {"c": "3"}]}})),
            ("<a><x:b xmlns:x='1'>1</x:b><y:b xmlns:y='2'>2</y:b></a>", json!({"a": {"b": ["1", "2"]}})),
            ("<a><![CDATA[<b>]]></a>", json!({"a": "<b>"})),
            ("<a>&lt;&#65;&gt;</a><!-- end -->", json!({"a": "<A>"})),
            ("<a>x<b>1</b>y</a>", json!({"a": {"b": "1", "#text": "xy"}})),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        let mut loosened = Loosened::default();
        parse("<a>x<b/>y</a>", &mut loosened).unwrap();
        assert!(loosened.iter().eq(["mixed-content"]));
    }

    /// Otherwise a stranger's document reads files, or takes any amount of memory.
    #[test]
    fn no_dtd_no_entities_and_no_bomb() {
        let deep = |depth: usize| read(&format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth)));
        assert!(deep(DEPTH).is_ok());
        assert_eq!(deep(DEPTH + 1), Err(DecodeError::TooDeep { limit: DEPTH }));
        let wide = |count: usize| read(&format!("<a>{}</a>", "<b/>".repeat(count - 1)));
        assert!(wide(NODES).is_ok() && wide(NODES + 1).is_err());
        for text in [
            "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>",
            "<!DOCTYPE html><a/>",
            "<a>&x;</a>",
            "<a b='&x;'/>",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a/>x",
            "",
            "x",
            "<a b='1' b='2'/>",
            "<a>&#0;</a>",
            "<a>&</a>",
        ] {
            assert!(matches!(read(text), Err(DecodeError::Xml { .. })), "{text}: {:?}", read(text));
        }
    }

    #[test]
    fn the_declaration_names_the_charset() {
        assert_eq!(declared_charset(b"<?xml version='1.0' encoding='ISO-8859-1'?><a/>").unwrap(), "ISO-8859-1");
        assert_eq!(declared_charset(b"<?xml version=\"1.0\"?><a encoding=\"x\"/>"), None);
    }
}
