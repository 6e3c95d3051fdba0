//! Counts and sizes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::backend::Embedded;
use super::data_dir::{journal_dir, snapshot_dir};
use super::disk::size_of;
use super::shared::SharedStore;
use super::{failure, keys, view_dir};
use crate::metrics::store::STORE;
use crate::store::error::StoreError;
use crate::store::stats::Stats;
use crate::system::clock;

impl Embedded {
    /// Looks up the sizes that the metrics show. Blocking.
    ///
    /// # Errors
    /// Fails if a directory cannot be read.
    pub fn sample(&self) -> std::io::Result<()> {
        let (shared, sampled) = (&self.shared, &STORE.sampled);
        // This records the free space; too little of it is reported where it matters.
        let _reported_elsewhere = shared.room();
        sampled.segments.set(shared.segments.count() as u64);
        sampled.unverified.set(shared.unverified.load(Ordering::Acquire));
        sampled.journal_bytes.set(size_of(&journal_dir(&shared.dir))?);
        sampled.snapshot_bytes.set(size_of(&snapshot_dir(&shared.dir))?);
        sampled.view_bytes.set(view_dir::current(&shared.dir).map_or(Ok(0), |it| size_of(&it))?);
        sampled.at_ms.set(u64::try_from(clock::now().timestamp_millis()).unwrap_or(0));
        Ok(())
    }
}

pub(super) fn stats(shared: &SharedStore) -> Result<Stats, StoreError> {
    let count = |tag: u8| -> Result<u64, StoreError> {
        shared.view(|tree| tree.scan_prefix([tag]).keys().map(|key| key.map(|_| 1).map_err(failure::read)).sum())
    };
    let companies = shared.index.read().unwrap_or_else(PoisonError::into_inner).stats();
    let size = |path: &Path| size_of(path).map_err(|e| StoreError::Read(e.to_string()));
    let disk = BTreeMap::from([
        ("journal".to_owned(), size(&journal_dir(&shared.dir))?),
        ("snapshots".to_owned(), size(&snapshot_dir(&shared.dir))?),
        ("view".to_owned(), view_dir::current(&shared.dir).map_or(Ok(0), |it| size(&it))?),
    ]);
    Ok(Stats {
        companies,
        api_keys: count(keys::API_KEY)?,
        idempotency_keys: shared.names().count(),
        disk,
        sequence: shared.acked(),
        unverified_segments: shared.unverified.load(Ordering::Acquire),
        damages: shared.damages().iter().map(ToString::to_string).collect(),
        rebuilt: shared.rebuilt(),
    })
}
