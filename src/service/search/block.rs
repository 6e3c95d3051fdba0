//! A part of the index: events whose ids are next to each other, with their signatures.

use super::signed_batch::SignedEvent;

/// Number of events in a block.
pub(super) const BLOCK: usize = 4096;

/// An event's place in its block.
#[derive(Debug, Clone, Copy)]
pub(super) struct IndexEntry {
    pub(super) id: u128,
    /// Place and size of its signature, in units of 64 bits.
    start: u32,
    units: u32,
    /// Number of its integration.
    pub(super) integration: u32,
}

impl IndexEntry {
    /// Memory of the entry and its signature.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<u64>() * self.units as usize
    }
}

/// Events whose ids are next to each other.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// In the order of ids.
    pub(super) entries: Vec<IndexEntry>,
    /// Signatures, in the order in which they were added. Those of entries that were dropped are among them for a while.
    pub(super) bits: Vec<u64>,
}

impl Block {
    /// An empty block with room for as much: growing by doubling would touch three times the memory.
    pub(super) fn empty_like(&self) -> Self {
        Self { entries: Vec::with_capacity(BLOCK), bits: Vec::with_capacity(self.bits.len()) }
    }

    pub(super) fn range(&self) -> Option<(u128, u128)> {
        Some((self.entries.first()?.id, self.entries.last()?.id))
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.iter().map(IndexEntry::bytes).sum()
    }

    pub(super) fn signature(&self, entry: &IndexEntry) -> &[u64] {
        let start = entry.start as usize;
        self.bits.get(start..start + entry.units as usize).unwrap_or_default()
    }

    /// Adds an event; false if it is there already.
    pub(super) fn add<S>(&mut self, event: &SignedEvent<S>, signature: &[u64]) -> bool {
        let id = event.id.0.as_u128();
        let at = match self.entries.last() {
            Some(last) if last.id < id => Err(self.entries.len()),
            _ => self.entries.binary_search_by_key(&id, |it| it.id),
        };
        let Err(at) = at else { return false };
        let (start, units) = (self.bits.len(), signature.len());
        let number = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        self.entries
            .insert(at, IndexEntry { id, start: number(start), units: number(units), integration: event.integration });
        self.bits.extend_from_slice(signature);
        true
    }

    /// Drops the entries below an id, and returns how many and their memory.
    pub(super) fn drop_below(&mut self, id: u128) -> (usize, usize) {
        let count = self.entries.partition_point(|it| it.id < id);
        let bytes = self.entries.drain(..count).map(|it| it.bytes()).sum();
        let used: usize = self.entries.iter().map(|it| it.units as usize).sum();
        if used < self.bits.len() / 2 {
            *self = self.with(&self.entries);
        }
        (count, bytes)
    }

    /// Returns the block with these entries only.
    pub(super) fn with(&self, entries: &[IndexEntry]) -> Self {
        let mut block = Self::default();
        for entry in entries {
            let start = u32::try_from(block.bits.len()).unwrap_or(u32::MAX);
            block.bits.extend_from_slice(self.signature(entry));
            block.entries.push(IndexEntry { start, ..*entry });
        }
        block
    }
}
