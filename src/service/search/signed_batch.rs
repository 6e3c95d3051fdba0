//! Events with their signatures, on their way into the index.

use crate::model::company::CompanyId;
use crate::model::ids::EventId;

/// An event to add.
pub(super) struct SignedEvent<S = Vec<u64>> {
    pub(super) company: CompanyId,
    pub(super) id: EventId,
    pub(super) integration: u32,
    pub(super) signature: S,
}

/// Events to add at once. Their signatures are in one piece of memory, which is used again: many small ones that live for a
/// while cost the allocator, and so each request, more than reading the words.
#[derive(Default)]
pub(super) struct SignedBatch {
    /// With the end of each signature.
    events: Vec<SignedEvent<usize>>,
    bits: Vec<u64>,
}

impl SignedBatch {
    /// Adds an event, and returns the memory of its signature.
    pub(super) fn push(&mut self, event: SignedEvent) -> Vec<u64> {
        let SignedEvent { company, id, integration, signature } = event;
        self.bits.extend_from_slice(&signature);
        self.events.push(SignedEvent { company, id, integration, signature: self.bits.len() });
        signature
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Number of bytes of signatures.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.bits.as_slice())
    }

    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.bits.clear();
    }

    /// The events, each with its signature.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&SignedEvent<usize>, &[u64])> {
        let mut start = 0;
        self.events.iter().map(move |event| {
            let from = std::mem::replace(&mut start, event.signature);
            (event, self.bits.get(from..event.signature).unwrap_or_default())
        })
    }
}
