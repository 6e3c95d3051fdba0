//! The signatures of events: for each company in the order of ids, in blocks that are scanned from the newest on.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::ops::Range;

use crate::model::company::CompanyId;
use crate::model::ids::EventId;

use super::block::{BLOCK, Block, IndexEntry};
use super::signature::Probes;
use super::signed_batch::{SignedBatch, SignedEvent};

/// A full index may have one event of so many too many: dropping looks at every company, and is done for many events at once.
const SLACK: usize = 256;

/// All signatures.
#[derive(Debug, Default)]
pub(super) struct SignatureIndex {
    companies: HashMap<CompanyId, VecDeque<Block>>,
    events: usize,
    /// Memory of entries and signatures, in bytes.
    bytes: usize,
    /// Events below this id were dropped because there was no room.
    dropped_below: u128,
}

/// A part of a scan.
pub(super) struct Candidates {
    /// Events that the signatures allow, newest first.
    pub(super) ids: Vec<EventId>,
    /// Where the scan goes on, if it was not the last part.
    pub(super) more: bool,
}

impl SignatureIndex {
    /// Adds events, except those that are there already.
    pub(super) fn add_all(&mut self, batch: &SignedBatch) {
        batch.iter().for_each(|(event, signature)| self.add(event, signature));
    }

    fn add<S>(&mut self, event: &SignedEvent<S>, signature: &[u64]) {
        let id = event.id.0.as_u128();
        if id < self.dropped_below {
            return;
        }
        let blocks = self.companies.entry(event.company.clone()).or_default();
        // The block with the nearest lower ids, or else the first.
        let at = blocks.partition_point(|it| it.range().is_some_and(|(first, _)| first <= id)).saturating_sub(1);
        let full = blocks.get(at).is_none_or(|it| it.entries.len() >= BLOCK);
        let at = if full { make_room(blocks, at, id) } else { at };
        if let Some(block) = blocks.get_mut(at)
            && block.add(event, signature)
        {
            self.events += 1;
            self.bytes += size_of::<IndexEntry>() + size_of_val(signature);
        }
    }

    /// Returns whether an event is there.
    pub(super) fn contains(&self, company: &CompanyId, id: EventId) -> bool {
        let id = id.0.as_u128();
        self.companies.get(company).is_some_and(|blocks| {
            let at = blocks.partition_point(|it| it.range().is_some_and(|(first, _)| first <= id)).saturating_sub(1);
            blocks.get(at).is_some_and(|it| it.entries.binary_search_by_key(&id, |it| it.id).is_ok())
        })
    }

    /// Returns how many events of a company have ids in this range.
    pub(super) fn count(&self, company: &CompanyId, range: &Range<EventId>) -> usize {
        let (from, to) = (range.start.0.as_u128(), range.end.0.as_u128());
        let blocks = self.companies.get(company).into_iter().flatten();
        let reached = blocks.filter(|it| it.range().is_some_and(|(first, last)| first < to && last >= from));
        let before = |block: &Block, id: u128| block.entries.partition_point(|it| it.id < id);
        reached.map(|it| before(it, to).saturating_sub(before(it, from))).sum()
    }

    /// Returns events before this id whose signatures allow these words: at most so many, from at most so many blocks.
    pub(super) fn scan(&self, company: &CompanyId, words: &[Probes], range: (u128, u128), most: usize) -> Candidates {
        let (since, before) = range;
        let mut found = Candidates { ids: Vec::new(), more: false };
        let blocks = self.companies.get(company).into_iter().flatten().rev();
        for block in blocks {
            let Some((first, last)) = block.range() else { continue };
            if first >= before {
                continue;
            }
            if last < since {
                break;
            }
            let end = block.entries.partition_point(|it| it.id < before);
            for entry in block.entries.iter().take(end).rev().take_while(|it| it.id >= since) {
                let bits = block.signature(entry);
                if words.iter().all(|it| it.are_in(bits)) {
                    found.ids.push(EventId(uuid::Uuid::from_u128(entry.id)));
                    if found.ids.len() == most {
                        found.more = true;
                        return found;
                    }
                }
            }
        }
        found
    }

    /// Drops the oldest events of all companies until the index has at most so many events and bytes, once it has somewhat
    /// more.
    pub(super) fn shrink_to(&mut self, events: usize, bytes: usize) {
        let is_near = |it: usize, most: usize| it <= most.saturating_add(most / SLACK);
        if is_near(self.events, events) && is_near(self.bytes, bytes) {
            return;
        }
        let below = self.first_kept(events, bytes);
        self.dropped_below = self.dropped_below.max(below);
        for blocks in self.companies.values_mut() {
            while let Some(block) = blocks.front_mut().filter(|it| it.range().is_none_or(|(first, _)| first < below)) {
                let (events, bytes) = block.drop_below(below);
                self.events -= events;
                self.bytes -= bytes;
                if !block.entries.is_empty() {
                    break;
                }
                blocks.pop_front();
            }
        }
        self.companies.retain(|_, blocks| !blocks.is_empty());
    }

    /// Returns the id below which events are dropped so that at most so many events and bytes are left.
    fn first_kept(&self, events: usize, bytes: usize) -> u128 {
        let (mut left, mut below) = ((self.events, self.bytes), 0);
        let mut companies: Vec<_> =
            self.companies.values().map(|blocks| blocks.iter().flat_map(|it| &it.entries)).collect();
        let mut oldest: BinaryHeap<_> = companies.iter_mut().enumerate().filter_map(next_of).collect();
        while left.0 > events || left.1 > bytes {
            let Some(Reverse((id, bytes, at))) = oldest.pop() else { break };
            left = (left.0 - 1, left.1 - bytes);
            below = id.saturating_add(1);
            oldest.extend(companies.get_mut(at).and_then(|it| next_of((at, it))));
        }
        below
    }

    /// Removes the events for which `is_gone` says so: it gets company, id and integration.
    pub(super) fn remove(&mut self, mut is_gone: impl FnMut(&CompanyId, u128, u32) -> bool) {
        for (company, blocks) in &mut self.companies {
            for block in blocks.iter_mut() {
                let is_kept = |it: &IndexEntry| !is_gone(company, it.id, it.integration);
                let kept: Vec<IndexEntry> = block.entries.iter().copied().filter(is_kept).collect();
                if kept.len() < block.entries.len() {
                    let smaller = block.with(&kept);
                    self.events -= block.entries.len() - kept.len();
                    self.bytes -= block.bytes() - smaller.bytes();
                    *block = smaller;
                }
            }
            blocks.retain(|it| !it.entries.is_empty());
        }
        self.companies.retain(|_, blocks| !blocks.is_empty());
    }

    /// Removes one event, if it is there.
    pub(super) fn remove_one(&mut self, company: &CompanyId, id: EventId) {
        let id = id.0.as_u128();
        let Some(blocks) = self.companies.get_mut(company) else { return };
        let at = blocks.partition_point(|it| it.range().is_some_and(|(first, _)| first <= id)).saturating_sub(1);
        let Some(block) = blocks.get_mut(at) else { return };
        let Ok(place) = block.entries.binary_search_by_key(&id, |it| it.id) else { return };
        let mut kept = block.entries.clone();
        kept.remove(place);
        let smaller = block.with(&kept);
        self.events -= 1;
        self.bytes -= block.bytes() - smaller.bytes();
        *block = smaller;
        if kept.is_empty() {
            blocks.remove(at);
        }
    }

    pub(super) fn events(&self) -> usize {
        self.events
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Events with lower ids may be missing because there was no room.
    pub(super) fn dropped_below(&self) -> u128 {
        self.dropped_below
    }
}

/// Returns the next event of the company with this number, to be compared by its id, and its memory.
fn next_of<'a>(
    (company, entries): (usize, &mut impl Iterator<Item = &'a IndexEntry>),
) -> Option<Reverse<(u128, usize, usize)>> {
    entries.next().map(|it| Reverse((it.id, it.bytes(), company)))
}

/// Makes room for an id next to a full block: a new block after the last one or before the first, or else two halves. Returns
/// the block for the id.
fn make_room(blocks: &mut VecDeque<Block>, at: usize, id: u128) -> usize {
    let Some((first, last)) = blocks.get(at).and_then(Block::range) else {
        blocks.push_back(Block::default());
        return blocks.len() - 1;
    };
    if id > last && at + 1 == blocks.len() {
        let next = blocks.get(at).map(Block::empty_like).unwrap_or_default();
        blocks.push_back(next);
        return at + 1;
    }
    if id < first {
        blocks.push_front(Block::default());
        return 0;
    }
    let Some(block) = blocks.remove(at) else { return at };
    let (lower, upper) = block.entries.split_at(block.entries.len() / 2);
    let (lower, upper) = (block.with(lower), block.with(upper));
    let is_upper = upper.range().is_some_and(|(first, _)| id >= first);
    blocks.insert(at, upper);
    blocks.insert(at, lower);
    at + usize::from(is_upper)
}

#[cfg(test)]
mod tests {
    use super::super::signature::signature;
    use super::*;

    fn event(company: &str, id: u128, words: &[u64]) -> SignedEvent {
        SignedEvent {
            company: CompanyId::parse(company).unwrap(),
            id: EventId(uuid::Uuid::from_u128(id)),
            integration: u32::from(id.is_multiple_of(2)),
            signature: signature(words),
        }
    }

    fn put(index: &mut SignatureIndex, event: &SignedEvent) {
        index.add(event, &event.signature);
    }

    fn ids(index: &SignatureIndex, company: &str, word: u64, range: (u128, u128), most: usize) -> Vec<u128> {
        let company = CompanyId::parse(company).unwrap();
        let found = index.scan(&company, &[Probes::of(word)], range, most);
        found.ids.iter().map(|it| it.0.as_u128()).collect()
    }

    const ALL: (u128, u128) = (0, u128::MAX);

    /// Otherwise a page lacks events, or shows them in another order, when old events are added after new ones.
    #[test]
    fn events_are_found_in_the_order_of_ids_whatever_the_order_of_adding() {
        let mut index = SignatureIndex::default();
        let count = 3 * BLOCK as u128;
        let orders: [Box<dyn Fn(u128) -> u128>; 3] = [
            Box::new(move |it| count + it),
            Box::new(move |it| count - 1 - it),
            Box::new(move |it| (it * 7919) % (2 * count)),
        ];
        for order in orders {
            (0..count).for_each(|it| put(&mut index, &event("a", order(it), &[order(it) as u64, 1_000_003])));
        }
        assert_eq!(index.events(), 2 * BLOCK * 3);
        let found = ids(&index, "a", 1_000_003, ALL, usize::MAX);
        assert_eq!(found, (0..2 * count).rev().collect::<Vec<_>>());
        assert_eq!(ids(&index, "a", 1_000_003, (5, 8), 10), [7, 6, 5]);
        assert_eq!(ids(&index, "a", 1_000_003, (5, 8), 2), [7, 6]);
        assert!(ids(&index, "a", 77, ALL, 10).contains(&77));
        assert!(ids(&index, "b", 77, ALL, 10).is_empty(), "another company has none");
        let counted = |company: &str, from: u128, to: u128| {
            let id = |it| EventId(uuid::Uuid::from_u128(it));
            index.count(&CompanyId::parse(company).unwrap(), &(id(from)..id(to)))
        };
        assert_eq!((counted("a", 5, 8), counted("a", 0, u128::MAX), counted("a", 8, 5)), (3, 6 * BLOCK, 0));
        assert_eq!((counted("a", count - 7, count + 9), counted("b", 0, u128::MAX)), (16, 0));
    }

    /// Otherwise the newest events of a quiet company are lost with its oldest, and the index says it is empty.
    #[test]
    fn only_as_many_are_dropped_as_there_are_too_many_and_the_oldest_of_all_companies() {
        let mut index = SignatureIndex::default();
        for id in 1..=1004 {
            assert!(index.events() <= 1003);
            put(&mut index, &event(if id % 100 == 1 { "quiet" } else { "busy" }, id, &[7]));
            index.shrink_to(1000, usize::MAX);
        }
        assert_eq!((index.events(), index.dropped_below()), (1000, 5));
        let quiet: Vec<u128> = (1..=10).rev().map(|it| it * 100 + 1).collect();
        assert_eq!(ids(&index, "quiet", 7, ALL, usize::MAX), quiet);
        assert_eq!(
            ids(&index, "busy", 7, ALL, usize::MAX),
            (5..=1004).rev().filter(|it| it % 100 != 1).collect::<Vec<_>>()
        );
        let of_one = index.bytes() / 1000;
        index.shrink_to(1000, of_one * 30);
        assert_eq!((index.events(), index.bytes(), index.dropped_below()), (30, of_one * 30, 975));
        assert_eq!(ids(&index, "quiet", 7, ALL, usize::MAX), [1001]);
        assert_eq!(
            ids(&index, "busy", 7, ALL, usize::MAX),
            (975..=1004).rev().filter(|it| *it != 1001).collect::<Vec<_>>()
        );
        // Signatures of dropped entries are not kept forever.
        assert!(index.companies.values().flatten().all(|it| it.bits.len() <= 2 * it.entries.len()));
    }

    /// Otherwise memory grows without bound, or what was erased stays.
    #[test]
    fn the_oldest_are_dropped_and_what_is_gone_is_removed() {
        let mut index = SignatureIndex::default();
        for id in 0..BLOCK as u128 * 2 + 10 {
            put(&mut index, &event(if id % 3 == 0 { "a" } else { "b" }, id, &[7]));
        }
        let before = index.bytes();
        index.remove(|_, _, integration| integration == 1);
        assert!(index.bytes() < before * 6 / 10 && ids(&index, "a", 7, ALL, 100_000).iter().all(|it| it % 2 == 1));
        index.shrink_to(3000, usize::MAX);
        assert!(index.events() == 3000 && index.dropped_below() > 0);
        let (lowest, events) = (index.dropped_below(), index.events());
        put(&mut index, &event("c", lowest - 1, &[7]));
        assert_eq!(index.events(), events, "it would be the only one of its time");
        index.shrink_to(0, 0);
        assert_eq!((index.events(), index.bytes()), (0, 0));
    }
}
