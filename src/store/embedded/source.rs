//! The source of a new view: the last snapshot, and the journal after it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::index::Index;
use super::journal::{Accepted, Op, OpKind, Segments, ops, replay};
use super::snapshot::{self, Snapshot};
use super::view::View;
use crate::store::error::{Damage, StoreError};

/// Maximum number of records, and of their bytes, that are applied at once.
const BATCH: usize = 1024;
const BATCH_BYTES: usize = 4 << 20;
/// How often progress is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// A snapshot, if there is one, and the journal.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) snapshot: Option<&'a Snapshot>,
    pub(super) segments: &'a Segments,
    pub(super) salt: u32,
    /// The losses that an admin has accepted.
    pub(super) accepted: &'a Accepted,
    /// Number of entries in the view so far.
    pub(super) entries: &'a AtomicU64,
}

impl Source<'_> {
    /// Builds a new view in this directory, up to this sequence of the journal.
    pub(super) fn fill(&self, path: &Path, until: u64) -> Result<(View, Index), StoreError> {
        self.check_reach()?;
        let mut view = View::open(path)?;
        match self.fill_view(&mut view, until) {
            Ok(index) => Ok((view, index)),
            Err(error) => {
                view.discard(false);
                Err(error)
            }
        }
    }

    fn fill_view(&self, view: &mut View, until: u64) -> Result<Index, StoreError> {
        let index = RwLock::new(Index::default());
        let mut logged = Instant::now();
        if let Some(snapshot) = self.snapshot {
            snapshot::read(snapshot, &mut |entries| {
                let inserts = entries.iter().map(|(key, value)| Op { kind: OpKind::Insert, key, value });
                // With `applied` 0: an incomplete snapshot is not a valid state. Its sequence is set at its end.
                view.apply(0, inserts, &index, false)?;
                self.entries.store(view.meta.keys, Ordering::Relaxed);
                if logged.elapsed() > LOG_INTERVAL {
                    logged = Instant::now();
                    tracing::info!(entries = view.meta.keys, "reading the snapshot");
                }
                Ok(())
            })?;
            view.apply(snapshot.sequence, std::iter::empty(), &index, false)?;
        }
        // The snapshot may contain some of the following changes already.
        self.catch_up(view, &index, until, true)?;
        Ok(index.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replays the part of the journal that the view has not applied yet.
    ///
    /// `again` is for records that the view may already have from a snapshot.
    ///
    /// # Errors
    /// [`StoreError::Journal`] if records are damaged or missing: a view without them must not be served. Some of
    /// the other records are in the view by then.
    pub(super) fn catch_up(
        &self,
        view: &mut View,
        index: &RwLock<Index>,
        until: u64,
        again: bool,
    ) -> Result<(), StoreError> {
        let (mut pending, mut bytes, mut result) = (Vec::<Vec<u8>>::new(), 0, Ok(()));
        let (from, mut last) = (view.meta.applied + 1, view.meta.applied);
        let mut logged = Instant::now();
        let replayed = replay(self.segments, self.salt, (from, until), self.accepted, &mut |record| {
            if result.is_err() {
                return;
            }
            pending.push(record.payload.to_vec());
            (bytes, last) = (bytes + record.payload.len(), record.sequence);
            if pending.len() >= BATCH || bytes >= BATCH_BYTES {
                result = apply(view, last, &pending, index, again);
                (bytes, _) = (0, pending.clear());
                self.entries.store(view.meta.keys, Ordering::Relaxed);
                if logged.elapsed() > LOG_INTERVAL {
                    logged = Instant::now();
                    tracing::info!(sequence = last, of = until, "replaying the journal");
                }
            }
        });
        let lost = replayed.map_err(|e| StoreError::Read(format!("the journal: {e}")))?;
        result?;
        if !lost.is_empty() {
            return Err(StoreError::Journal(lost));
        }
        apply(view, last.max(until), &pending, index, again)
    }

    /// Checks that the journal follows the snapshot without a gap.
    fn check_reach(&self) -> Result<(), StoreError> {
        let from = self.snapshot.map_or(0, |it| it.sequence);
        match self.segments.oldest() {
            Some((path, first)) if first > from + 1 => Err(StoreError::Journal(vec![Damage {
                segment: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                offset: 0,
                cause: format!("the changes {} to {} are in no snapshot and no segment", from + 1, first - 1),
            }])),
            _ => Ok(()),
        }
    }

    /// Returns the journal alone, if it reaches back to the first change.
    pub(super) fn without_snapshot(&self) -> Option<Self> {
        let journal = Self { snapshot: None, ..*self };
        journal.check_reach().is_ok().then_some(journal)
    }
}

fn apply(
    view: &mut View,
    last: u64,
    payloads: &[Vec<u8>],
    index: &RwLock<Index>,
    again: bool,
) -> Result<(), StoreError> {
    let mut all = Vec::with_capacity(payloads.len() * 3);
    for payload in payloads {
        let unreadable =
            || StoreError::Damaged { what: "journal", cause: "a record that this version cannot read".into() };
        all.extend(ops(payload).ok_or_else(unreadable)?);
    }
    view.apply(last, all.into_iter(), index, again)
}
