//! The streams, environment and randomness of one call.

use sha2::{Digest as _, Sha256};

use super::CallContext;
use super::limits::Limits;
use super::state::cut;

/// How much of the end of stderr is kept for the message of a refusal, in bytes.
const TAIL: usize = 1024;

/// The three streams, the environment and the random source of one call.
pub(super) struct Stdio {
    pub(super) input: Vec<u8>,
    pub(super) read: usize,
    pub(super) output: Vec<u8>,
    output_limit: usize,
    tail: Vec<u8>,
    /// NUL-terminated, as the guest gets them.
    pub(super) environment: Vec<String>,
    seed: [u8; 32],
    drawn: u64,
}

impl Stdio {
    pub(super) fn new(payload: &str, context: &CallContext, limits: &Limits) -> Self {
        let received_at = crate::payload::format_utc(context.received_at);
        let variables: [(&str, &str); 5] = [
            ("EVENT_ID", &context.event_id),
            ("INTEGRATION", &context.integration),
            ("RECEIVED_AT", &received_at),
            ("COMPANY_ID", &context.company_id),
            ("CONFIG", &context.config),
        ];
        Self {
            input: payload.as_bytes().to_vec(),
            read: 0,
            output: Vec::new(),
            output_limit: limits.output_bytes,
            tail: Vec::new(),
            environment: variables.iter().map(|(name, value)| format!("HOOKMILL_{name}={value}\0")).collect(),
            seed: Sha256::digest(context.event_id.as_bytes()).into(),
            drawn: 0,
        }
    }

    pub(super) fn output(&self) -> &[u8] {
        &self.output
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
        for chunk in out.chunks_mut(32) {
            let block = Sha256::new().chain_update(self.seed).chain_update(self.drawn.to_le_bytes()).finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
            self.drawn += 1;
        }
    }
}
