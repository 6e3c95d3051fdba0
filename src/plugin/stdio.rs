//! The streams, environment and random numbers of one call.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use super::bounded::cut;
use super::call::CallContext;

/// Number of bytes at the end of stderr that are kept for the message of a refusal or a crash: a Go panic and its stack.
const TAIL: usize = 16 << 10;

/// The three streams, the environment and the random source of one call.
pub(super) struct Stdio {
    pub(super) input: Vec<u8>,
    pub(super) read: usize,
    pub(super) output: Vec<u8>,
    /// Bytes of output that were not written to the stream.
    told: usize,
    output_limit: usize,
    tail: Vec<u8>,
    /// NUL-terminated, as the guest receives them.
    pub(super) environment: Vec<String>,
    /// Seed of the random bytes.
    event_id: String,
    drawn: u64,
}

impl Stdio {
    /// Creates streams without input and environment, as a component needs neither.
    pub(super) fn new(output_limit: usize) -> Self {
        Self {
            input: Vec::new(),
            read: 0,
            output: Vec::new(),
            told: 0,
            output_limit,
            tail: Vec::new(),
            environment: Vec::new(),
            event_id: String::new(),
            drawn: 0,
        }
    }

    /// Sets a command's input and environment.
    pub(super) fn provide(&mut self, payload: &str, context: &CallContext) {
        let received_at = crate::model::time::format_utc(context.received_at);
        let headers: serde_json::Map<_, _> =
            context.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        let headers = serde_json::Value::Object(headers).to_string();
        let query = context.query_object().to_string();
        let variables: [(&str, &str); 8] = [
            ("EVENT_ID", &context.event_id),
            ("INTEGRATION", &context.integration),
            ("RECEIVED_AT", &received_at),
            ("COMPANY_ID", &context.company_id),
            ("CONFIG", &context.config),
            ("HEADERS", &headers),
            ("QUERY", &query),
            ("PATH", &context.path),
        ];
        self.input = payload.as_bytes().to_vec();
        self.environment = variables.iter().map(|(name, value)| format!("HOOKMILL_{name}={value}\0")).collect();
        self.event_id = context.event_id.clone();
    }

    /// Sets the seed of the random bytes.
    pub(super) fn seed(&mut self, event_id: &str) {
        event_id.clone_into(&mut self.event_id);
    }

    pub(super) fn output(&self) -> &[u8] {
        &self.output
    }

    /// Counts a component's output; returns false if it is too much.
    pub(super) fn tell(&mut self, bytes: usize) -> bool {
        self.told = bytes;
        bytes <= self.output_limit
    }

    pub(super) fn output_bytes(&self) -> usize {
        self.output.len() + self.told
    }

    pub(super) fn output_limit(&self) -> usize {
        self.output_limit
    }

    /// Returns the end of stderr.
    pub(super) fn tail(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.tail)
    }

    /// Returns the last non-blank line of stderr.
    pub(super) fn last_words(&self) -> String {
        let text = self.tail();
        let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
        last.map_or_else(|| "the plugin refused the payload and did not say why".into(), cut)
    }

    pub(super) fn keep_tail(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        // Not at every write: each moves what is left.
        if self.tail.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
    }

    /// Fills `out` with random bytes: SHA-256 over the event id and a counter, so that the same event gets the same
    /// bytes.
    pub(super) fn fill(&mut self, out: &mut [u8]) {
        let seed = Sha256::digest(self.event_id.as_bytes());
        for chunk in out.chunks_mut(32) {
            let block = Sha256::new().chain_update(seed).chain_update(self.drawn.to_le_bytes()).finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
            self.drawn += 1;
        }
    }
}
