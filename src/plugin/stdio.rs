//! The streams, environment and randomness of one call.

use sha2::{Digest as _, Sha256};

use super::CallContext;
use super::state::cut;

/// How much of the end of stderr is kept for the message of a refusal, in bytes.
const TAIL: usize = 1024;

/// The three streams, the environment and the random source of one call.
pub(super) struct Stdio {
    pub(super) input: Vec<u8>,
    pub(super) read: usize,
    pub(super) output: Vec<u8>,
    /// Bytes of output that came another way than through the stream.
    told: usize,
    output_limit: usize,
    tail: Vec<u8>,
    /// NUL-terminated, as the guest gets them.
    pub(super) environment: Vec<String>,
    /// What random bytes are drawn from.
    event_id: String,
    drawn: u64,
}

impl Stdio {
    /// Nothing to read yet, and no environment: a component needs neither.
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

    /// What a command is called with.
    pub(super) fn provide(&mut self, payload: &str, context: &CallContext) {
        let received_at = crate::payload::format_utc(context.received_at);
        let variables: [(&str, &str); 5] = [
            ("EVENT_ID", &context.event_id),
            ("INTEGRATION", &context.integration),
            ("RECEIVED_AT", &received_at),
            ("COMPANY_ID", &context.company_id),
            ("CONFIG", &context.config),
        ];
        self.input = payload.as_bytes().to_vec();
        self.environment = variables.iter().map(|(name, value)| format!("HOOKMILL_{name}={value}\0")).collect();
        self.event_id = context.event_id.clone();
    }

    pub(super) fn output(&self) -> &[u8] {
        &self.output
    }

    /// Counts a component's output; false where that is too much.
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

    /// The last line of stderr that is not blank.
    pub(super) fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail);
        let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
        last.map_or_else(|| "the plugin refused the payload and did not say why".into(), cut)
    }

    pub(super) fn keep_tail(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        let extra = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..extra);
    }

    /// SHA-256 over the event and a counter: the same event draws the same bytes.
    pub(super) fn fill(&mut self, out: &mut [u8]) {
        let seed = Sha256::digest(self.event_id.as_bytes());
        for chunk in out.chunks_mut(32) {
            let block = Sha256::new().chain_update(seed).chain_update(self.drawn.to_le_bytes()).finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
            self.drawn += 1;
        }
    }
}
