//! Lists events in the order of their ids, newest first, over all segments.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;

use uuid::Uuid;

use super::event_place::EventPlace;
use super::index_file::{position, read_entries};
use super::segments::{Events, Segment, Segments, expired_is_none, read_event};

/// Number of positions that are looked up at a time.
const CHUNK: usize = 512;

/// Position of an event.
struct ListedEvent {
    id: Uuid,
    segment: PathBuf,
    place: EventPlace,
}

impl Segments {
    /// Passes keys and values of the events with lower ids to `take`, highest id first, until there are no more or
    /// `take` has enough. An event that was stored again is visited once, in its current state.
    ///
    /// # Errors
    /// Fails if a file cannot be read, or does not match its index.
    pub(in super::super) fn events_before(
        &self,
        mut before: Uuid,
        mut take: impl FnMut(Uuid, &[u8], &[u8]) -> bool,
    ) -> std::io::Result<()> {
        let mut files: HashMap<PathBuf, File> = HashMap::new();
        loop {
            let found = self.places_before(before, CHUNK)?;
            let Some(last) = found.last().map(|it| it.id) else { return Ok(()) };
            for it in &found {
                if !files.contains_key(&it.segment)
                    && let Some(file) = expired_is_none(File::open(&it.segment))?
                {
                    files.insert(it.segment.clone(), file);
                }
                let Some(file) = files.get(&it.segment) else { continue };
                let (key, value) = read_event(file, it.place, it.id)?;
                if !take(it.id, &key, &value) {
                    return Ok(());
                }
            }
            before = last;
        }
    }

    fn places_before(&self, before: Uuid, most: usize) -> std::io::Result<Vec<ListedEvent>> {
        // The newest segment first: of two states of an event, the stable sort below leaves the newer one in front.
        let mut found: Vec<ListedEvent> = Vec::new();
        for segment in self.list().iter().rev() {
            // All ids in this segment are lower than those found already, and enough are found.
            let lowest = found.get(most - 1).map(|it| it.id);
            let highest = segment.extent(|it| it.events.range().map(|(_, highest)| highest));
            if highest.is_none_or(|it| lowest.is_some_and(|lowest| it < lowest)) {
                continue;
            }
            let places = expired_is_none(segment.before(before, most))?.unwrap_or_default();
            found.extend(places.into_iter().map(|(id, place)| ListedEvent {
                id,
                segment: segment.path.clone(),
                place,
            }));
            found.sort_by_key(|it| std::cmp::Reverse(it.id));
            found.dedup_by_key(|it| it.id);
            found.truncate(most);
        }
        Ok(found)
    }
}

impl Segment {
    /// Returns the highest ids that are lower than this, highest first.
    pub(super) fn before(&self, before: Uuid, most: usize) -> std::io::Result<Vec<(Uuid, EventPlace)>> {
        let in_memory = self.extent(|it| match &it.events {
            Events::Open(events) => Some(events.range(..before).rev().take(most).map(|(id, at)| (*id, *at)).collect()),
            Events::Sealed(Some((lowest, _))) if *lowest < before => None,
            Events::Sealed(_) => Some(Vec::new()),
        });
        if let Some(found) = in_memory {
            return Ok(found);
        }
        let index = self.index()?;
        let end = position(&index, before)?;
        let mut found = read_entries(&index, end.saturating_sub(most as u64), end)?;
        found.reverse();
        Ok(found)
    }
}
