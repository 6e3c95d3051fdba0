//! A delivery with its decoded payload.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::live::Integration;
use crate::format::payload::{DecodeError, Payload};
use crate::model::event::RawEvent;

/// A delivery whose body is decoded once for a run, whatever needs its content first: redaction, the delivery's id, the order
/// of events, or the pipeline. It belongs to one integration, whose rules decode it.
#[derive(Debug)]
pub struct Received {
    raw: RawEvent,
    payload: OnceLock<Decoding>,
}

#[derive(Debug)]
struct Decoding {
    result: Result<Payload, DecodeError>,
    took: Duration,
}

impl Decoding {
    fn of(decode: impl FnOnce() -> Result<Payload, DecodeError>) -> Self {
        let started = Instant::now();
        let result = decode();
        Self { result, took: started.elapsed() }
    }
}

impl Received {
    /// Creates a delivery that is not decoded yet.
    #[must_use]
    pub fn new(raw: RawEvent) -> Self {
        Self { raw, payload: OnceLock::new() }
    }

    /// Creates a delivery whose body has been decoded; this took so long.
    pub(super) fn decoded(raw: RawEvent, result: Result<Payload, DecodeError>, took: Duration) -> Self {
        Self { raw, payload: OnceLock::from(Decoding { result, took }) }
    }

    /// Returns the delivery as it is stored.
    #[must_use]
    pub fn raw(&self) -> &RawEvent {
        &self.raw
    }

    /// Returns the delivery as it is stored.
    #[must_use]
    pub fn into_raw(self) -> RawEvent {
        self.raw
    }

    /// Returns the payload, redacted for the plugin; `None` if it cannot be decoded.
    pub(super) fn payload(&self, integration: &Integration) -> Option<&Payload> {
        self.payload.get_or_init(|| Decoding::of(|| integration.payload(&self.raw))).result.as_ref().ok()
    }

    /// Drops the payload, which may need more memory than the body. It is decoded again when it is needed.
    pub fn forget_payload(&mut self) {
        self.payload.take();
    }

    /// Takes the payload, and returns how long it took to decode it before.
    ///
    /// # Errors
    /// Fails if it cannot be decoded.
    pub(crate) fn take_payload(&mut self, integration: &Integration) -> (Result<Payload, DecodeError>, Duration) {
        match self.payload.take() {
            Some(Decoding { result, took }) => (result, took),
            None => (integration.payload(&self.raw), Duration::ZERO),
        }
    }
}
