//! What a search reads of an event: its body as sent, and decoded.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use super::escapes::unescaped;
use super::word_set::WordSet;
use super::words::word_hashes;
use crate::format::payload::{CODING_HEADER, Payload, Rules, decode_coded};
use crate::integration::load::direct;
use crate::integration::{Integration, Registry};
use crate::model::event::{Event, RawEvent};
use crate::model::ids::IntegrationName;

/// Largest body whose words are read while its request is, in bytes. Larger ones would keep a thread of the runtime for long.
const AT_ONCE: usize = 64 * 1024;
/// Most levels of JSON in strings of JSON, of which each has escapes of its own.
const LEVELS: usize = 8;

/// How bodies are read.
#[derive(Debug)]
pub(super) struct BodyReader {
    pub(super) registry: Arc<Registry>,
    /// Maximum size of a body without its content coding, where no integration says otherwise.
    pub(super) body_bytes: usize,
}

impl BodyReader {
    /// Returns whether the words of a body are those of its payload: it is JSON without escapes.
    pub(super) fn is_plain(&self, event: &Event) -> bool {
        self.json_text(event).is_some_and(|it| !it.contains('\\'))
    }

    /// Adds the hashes of the words of a body, as sent and decoded, if that is quick; false if [`Self::all_words`] must.
    pub(super) fn words_at_once(&self, event: &Event, words: &mut WordSet) -> bool {
        let Some(text) = self.json_text(event).filter(|it| it.len() <= AT_ONCE) else { return false };
        word_hashes(text, |it| words.push(it));
        let (mut text, mut levels) = (Cow::Borrowed(text), 0);
        // A string may itself be JSON, with escapes of its own.
        while text.contains('\\') {
            levels += 1;
            let Some(plain) = unescaped(&text, levels > 1).filter(|_| levels <= LEVELS) else { return false };
            word_hashes(&plain, |it| words.push(it));
            text = Cow::Owned(plain);
        }
        true
    }

    /// Returns a body that is JSON as sent: it is UTF-8 without a content coding, and its integration, if it has one, is live
    /// and decodes nothing within it.
    fn json_text<'a>(&self, event: &'a Event) -> Option<&'a str> {
        let is_coded = event.headers.iter().any(|(name, _)| name == CODING_HEADER);
        let start = event.body.iter().find(|it| !it.is_ascii_whitespace());
        // UTF-16 has zeros.
        if is_coded || !matches!(start, Some(b'{' | b'[')) || memchr::memchr(0, &event.body).is_some() {
            return None;
        }
        let decodes_nothing = match self.registry.get(&event.integration.0) {
            Some(it) => it.rules.base64_json_in.is_empty(),
            None => event.integration == direct(),
        };
        std::str::from_utf8(&event.body).ok().filter(|_| decodes_nothing)
    }

    /// Adds the hashes of the words of a body, as sent and decoded.
    pub(super) fn all_words(&self, integration: &IntegrationName, raw: &RawEvent, words: &mut WordSet) {
        word_hashes(&String::from_utf8_lossy(&raw.content(self.limit(integration, raw))), |it| words.push(it));
        if let Some(payload) = self.payload(integration, raw) {
            each_text(&payload.value, &mut |text| word_hashes(text, |it| words.push(it)));
        }
    }

    /// Returns the decoded payload, as the integration reads it today; if it is not live, as a body of its kind is read.
    pub(super) fn payload(&self, integration: &IntegrationName, raw: &RawEvent) -> Option<Payload> {
        if let Some(payload) = self.own(integration, raw).and_then(|it| it.payload(raw).ok()) {
            return Some(payload);
        }
        let rules = Rules { body_bytes: self.body_bytes, ..Rules::default() };
        decode_coded(raw.content_type.as_deref(), raw.header(CODING_HEADER), &raw.body, &rules).ok()
    }

    /// Returns the largest content of a body, once its coding is removed.
    pub(super) fn limit(&self, integration: &IntegrationName, raw: &RawEvent) -> usize {
        self.own(integration, raw).map_or(self.body_bytes, |it| it.rules.body_bytes)
    }

    fn own(&self, integration: &IntegrationName, raw: &RawEvent) -> Option<Arc<Integration>> {
        self.registry.get(&integration.0).filter(|it| it.company_id == raw.company_id)
    }
}

/// Passes the names and values in a payload to `visit`.
pub(super) fn each_text(value: &Value, visit: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                visit(name);
                each_text(value, visit);
            }
        }
        Value::Array(items) => items.iter().for_each(|it| each_text(it, visit)),
        Value::String(text) => visit(text),
        other => visit(&other.to_string()),
    }
}
