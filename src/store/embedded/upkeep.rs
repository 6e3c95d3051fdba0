//! Maintenance: expiry, sizes, backups and restoring them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use chrono::{DateTime, Duration, Utc};

use super::backend::Embedded;
use super::change::{Change, Done, KeyValue};
use super::check::Report;
use super::events::first_id;
use super::journal::{companions, mark_copy, removable, sync_dir};
use super::private::{create_private_dir, make_private};
use super::shared::{Shared, journal_dir, snapshot_dir};
use super::{check, events, failure, keys, rebuild, record};
use crate::metrics::store::STORE;
use crate::model::ids::TaskId;
use crate::store::error::StoreError;
use crate::store::stats::{Expired, Stats};
use crate::system::clock;

/// File that marks an incomplete backup.
pub(super) const UNFINISHED: &str = "backup.unfinished";
/// Number of keys removed in one change.
const CHUNK: usize = 1000;

/// Removes everything that has expired.
pub(super) async fn expire(store: &Embedded, now: DateTime<Utc>) -> Result<Expired, StoreError> {
    let mut expired = Expired::default();
    for ended in keys::ended_answers(now, store.shared.options.idempotency) {
        loop {
            let ended = ended.clone();
            let (found, answers) = store.read(move |shared| answers_in(shared, ended)).await?;
            let count = found.len();
            expired.idempotency_keys += answers;
            remove(store, found).await?;
            if count < CHUNK {
                break;
            }
        }
    }
    expired.idempotency_keys += empty_blocks(store, now).await?;
    if let Some(age) = store.shared.options.deleted_tasks {
        let before = (now - age).timestamp_millis();
        loop {
            let found = store.read(move |shared| Ok(deleted_tasks(shared, before))).await?;
            let count = found.len();
            expired.tasks += count as u64;
            remove(store, found).await?;
            if count < CHUNK {
                break;
            }
        }
    }
    if let Some(age) = store.shared.options.audit {
        let ended = vec![keys::AUDIT]..keys::audit(first_id(now - age));
        loop {
            let ended = ended.clone();
            let found = store.read(move |shared| keys_in(shared, ended)).await?;
            let count = found.len();
            expired.audit_entries += count as u64;
            remove(store, found).await?;
            if count < CHUNK {
                break;
            }
        }
    }
    if let Some(age) = store.shared.options.events {
        expired.event_bytes = expire_events(store, now, age).await?;
    }
    Ok(expired)
}

/// Empties blocks of expired responses. Responses to idempotency keys are removed by whole days; those of the day
/// that is ending are removed earlier, by replacing each block with an empty one.
async fn empty_blocks(store: &Embedded, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let mut count = 0;
    loop {
        let (found, answers) = store.read(move |shared| ended_blocks(shared, now)).await?;
        count += answers;
        let (more, last) = (found.len() == CHUNK, found.last().map(|(key, _)| key.clone()));
        if found.iter().any(|(_, value)| !value.is_empty()) {
            let found = found.into_iter().filter(|(_, value)| !value.is_empty()).collect();
            store.writer.write(Change::Overwrite(found)).await?;
        }
        if let Some(last) = last {
            *store.shared.emptied.lock().unwrap_or_else(PoisonError::into_inner) = last;
        }
        if !more {
            return Ok(count);
        }
    }
}

/// Returns some of those blocks in the order in which they were stored, and the number of responses in them. A
/// block that is empty already has no value.
fn ended_blocks(shared: &Shared, now: DateTime<Utc>) -> Result<(Vec<KeyValue>, u64), StoreError> {
    let since = now - shared.options.idempotency;
    let day = keys::AnswerDay { of: keys::Answers::Keys, day: keys::day(since) };
    let emptied = shared.emptied.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let from = keys::block(day, 0).max([emptied, vec![0]].concat());
    let until = keys::block(day, u64::MAX);
    // The clock may have been set back.
    if from > until {
        return Ok((Vec::new(), 0));
    }
    shared.view(|tree| {
        let (mut found, mut count) = (Vec::new(), 0);
        for entry in tree.range(from..=until).take(CHUNK) {
            let (key, value) = entry.map_err(failure::read)?;
            let answers = record::decode_block(&value)?;
            for (_, answer) in &answers {
                if record::decode_answer(answer)?.at > since {
                    return Ok((found, count));
                }
            }
            count += answers.len() as u64;
            let empty = if answers.is_empty() { Vec::new() } else { record::encode_block(&[])? };
            found.push((key.to_vec(), empty));
        }
        Ok((found, count))
    })
}

async fn remove(store: &Embedded, keys: Vec<Vec<u8>>) -> Result<(), StoreError> {
    if keys.is_empty() { Ok(()) } else { store.writer.write(Change::Remove(keys)).await.map(drop) }
}

/// Returns some of the entries whose responses have expired, and the number of responses in them.
fn answers_in(shared: &Shared, ended: std::ops::Range<Vec<u8>>) -> Result<(Vec<Vec<u8>>, u64), StoreError> {
    shared.view(|tree| {
        let (mut found, mut answers) = (Vec::new(), 0);
        for entry in tree.range(ended).take(CHUNK) {
            let (key, value) = entry.map_err(failure::read)?;
            let block = keys::parse_block(&key).is_some();
            answers += if block { record::decode_block(&value)?.len() as u64 } else { 1 };
            found.push(key.to_vec());
        }
        Ok((found, answers))
    })
}

/// Returns some of the expired keys.
fn keys_in(shared: &Shared, ended: std::ops::Range<Vec<u8>>) -> Result<Vec<Vec<u8>>, StoreError> {
    shared.view(|tree| {
        let entries = tree.range(ended).keys().take(CHUNK);
        entries.map(|key| key.map(|it| it.to_vec()).map_err(failure::read)).collect()
    })
}

fn deleted_tasks(shared: &Shared, before_ms: i64) -> Vec<Vec<u8>> {
    let index = shared.index.read().unwrap_or_else(PoisonError::into_inner);
    let found = index.deleted_before(before_ms, CHUNK);
    found.into_iter().map(|(company, id)| keys::task(&company, TaskId(id))).collect()
}

/// Removes whole expired segments once a snapshot covers their other content. An event expires by its time of
/// receipt: it is no longer shown even if a newer event keeps its segment.
async fn expire_events(store: &Embedded, now: DateTime<Utc>, age: Duration) -> Result<u64, StoreError> {
    // A segment with few writes must be closed at some point, or nothing in it could expire.
    let roll = (now - (age / 8).max(Duration::hours(1))).timestamp_millis();
    store.writer.write(Change::Roll { before_ms: roll }).await?;
    let before_ms = store.read(move |shared| expire_before(shared, (now - age).timestamp_millis())).await?;
    let now_ms = now.timestamp_millis();
    let Some(last) = removable(&store.shared.segments, u64::MAX - 1, before_ms, now_ms).1 else { return Ok(0) };
    let covered = store.read(move |shared| shared.take_snapshot(last).map(|it| it.sequence)).await?;
    match store.writer.write(Change::Prune { covered, before_ms, now_ms }).await? {
        Done::Freed(bytes) => Ok(bytes),
        _ => Ok(0),
    }
}

/// Returns the time before which events expire: queued events, and all events received after them, are kept until
/// they are processed.
fn expire_before(shared: &Shared, before_ms: i64) -> Result<i64, StoreError> {
    let queued = shared.view(events::queued)?;
    let oldest = queued.iter().map(|(_, id)| events::received_ms(id.0)).min();
    let before_ms = oldest.map_or(before_ms, |it| it.min(before_ms));
    shared.set_horizon(before_ms);
    Ok(before_ms)
}

pub(super) fn stats(shared: &Shared) -> Result<Stats, StoreError> {
    let count = |tag: u8| -> Result<u64, StoreError> {
        shared.view(|tree| tree.scan_prefix([tag]).keys().map(|key| key.map(|_| 1).map_err(failure::read)).sum())
    };
    let companies = shared.index.read().unwrap_or_else(PoisonError::into_inner).stats();
    let size = |path: &Path| size_of(path).map_err(|e| StoreError::Read(e.to_string()));
    let disk = BTreeMap::from([
        ("journal".to_owned(), size(&journal_dir(&shared.dir))?),
        ("snapshots".to_owned(), size(&snapshot_dir(&shared.dir))?),
        ("view".to_owned(), rebuild::current(&shared.dir).map_or(Ok(0), |it| size(&it))?),
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

/// Returns the disk space of a file or a directory, in bytes.
pub(super) fn size_of(path: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = match std::fs::symlink_metadata(path) {
        // Segments and sled's files appear and disappear during this.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    if !metadata.is_dir() {
        return Ok(metadata.blocks() * 512);
    }
    std::fs::read_dir(path)?.map(|entry| size_of(&entry?.path())).sum()
}

impl Embedded {
    /// Copies everything acknowledged to a new directory while writes continue: a snapshot, and the journal with
    /// the events. The copy is a data directory of its own. Blocking.
    ///
    /// # Errors
    /// Fails if `to` is not empty, or cannot be written.
    pub fn backup(&self, to: &Path) -> Result<Report, StoreError> {
        let report = self.copied(to);
        STORE.backups.ended(report.is_ok());
        if report.is_ok() {
            STORE.backup_ms.set(u64::try_from(clock::now().timestamp_millis()).unwrap_or(0));
        }
        report
    }

    fn copied(&self, to: &Path) -> Result<Report, StoreError> {
        let failed =
            |e: std::io::Error| failure::io(&e, |cause| StoreError::Write(format!("{}: {cause}", to.display())));
        empty_dir(to)?;
        // The marker exists during the whole copy, so that an interrupted backup is not taken for a complete one.
        let unfinished = to.join(UNFINISHED);
        File::create_new(&unfinished).and_then(|it| it.sync_all()).and_then(|()| sync_dir(to)).map_err(failed)?;
        let (journal, snapshots) = (journal_dir(to), snapshot_dir(to));
        for dir in [&journal, &snapshots] {
            create_private_dir(dir).map_err(failed)?;
        }
        // Held until the end, so that no segment is removed that this snapshot does not cover.
        let held = self.shared.files.lock().unwrap_or_else(PoisonError::into_inner);
        {
            // A newer snapshot would remove this one's file.
            let mut current = self.shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
            let snapshot = self.shared.take_snapshot_into(&mut current, self.shared.acked())?;
            copy(&snapshot.path, &snapshots, u64::MAX).map_err(failed)?;
        }
        self.shared.settle()?;
        let (files, next) = self.shared.segments.files();
        let mut oldest = None;
        for (first, file, end) in &files {
            match copy(file, &journal, *end) {
                Ok(_) => oldest = oldest.or(Some(*first)),
                // The segment has expired in the meantime; the snapshot has the rest of it.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && oldest.is_none() => {}
                Err(e) => return Err(failed(e)),
            }
        }
        for file in companions(&journal_dir(&self.shared.dir)) {
            copy(&file, &journal, u64::MAX).map_err(failed)?;
        }
        drop(held);
        mark_copy(&journal, oldest.unwrap_or(1), next - 1).map_err(failed)?;
        for dir in [journal.as_path(), &snapshots, to] {
            sync_dir(dir).map_err(failed)?;
        }
        std::fs::remove_file(&unfinished).and_then(|()| sync_dir(to)).map_err(failed)?;
        check::check(to)
    }

    /// Looks up the sizes that metrics show. Blocking.
    ///
    /// # Errors
    /// Where a directory cannot be read.
    pub fn sample(&self) -> std::io::Result<()> {
        let (shared, sampled) = (&self.shared, &STORE.sampled);
        // Notes the free space.
        let _shown_elsewhere = shared.room();
        sampled.segments.set(shared.segments.count() as u64);
        sampled.unverified.set(shared.unverified.load(Ordering::Acquire));
        sampled.journal_bytes.set(size_of(&journal_dir(&shared.dir))?);
        sampled.snapshot_bytes.set(size_of(&snapshot_dir(&shared.dir))?);
        sampled.view_bytes.set(rebuild::current(&shared.dir).map_or(Ok(0), |it| size_of(&it))?);
        sampled.at_ms.set(u64::try_from(clock::now().timestamp_millis()).unwrap_or(0));
        Ok(())
    }

    /// Rebuilds the view while the store runs, which frees the space that sled keeps. The new view is built in
    /// parallel, catches up and takes over, so requests wait for the last step only. Blocking.
    ///
    /// # Errors
    /// Fails if there is not enough free space; the old view remains.
    pub fn compact(&self) -> Result<(), StoreError> {
        self.shared.room_for_view()?;
        self.shared.take_snapshot(self.shared.acked())?;
        let built = rebuild::in_background(&self.shared).and_then(|built| self.writer.swap_view(built));
        built.inspect_err(|error| {
            if let StoreError::Journal(damages) = error {
                self.shared.found_damage(damages.clone());
            }
        })
    }
}

/// Creates a data directory from a backup, after reading all of it. Returns what the backup contains. The view is
/// built when the directory is opened.
///
/// # Errors
/// Fails if the backup is damaged, or if `to` is not empty.
pub fn restore(from: &Path, to: &Path) -> Result<Report, StoreError> {
    let failed = |e: std::io::Error| failure::io(&e, |cause| StoreError::Write(format!("{}: {cause}", to.display())));
    let report = check::check(from)?;
    if !report.damages.is_empty() {
        return Err(StoreError::Damaged { what: "backup", cause: report.damages.join("; ") });
    }
    empty_dir(to)?;
    for part in [journal_dir as fn(&Path) -> _, snapshot_dir] {
        let (from, to) = (part(from), part(to));
        create_private_dir(&to).map_err(failed)?;
        for entry in std::fs::read_dir(&from).map_err(failed)? {
            copy(&entry.map_err(failed)?.path(), &to, u64::MAX).map_err(failed)?;
        }
        sync_dir(&to).map_err(failed)?;
    }
    sync_dir(to).map_err(failed)?;
    Ok(report)
}

fn empty_dir(dir: &Path) -> Result<(), StoreError> {
    let refused = |cause: String| StoreError::Open { dir: dir.display().to_string(), cause };
    create_private_dir(dir).map_err(|e| refused(e.to_string()))?;
    // The empty directory may have been created with other permissions.
    make_private(dir, false).map_err(|e| refused(e.to_string()))?;
    let mut entries = std::fs::read_dir(dir).map_err(|e| refused(e.to_string()))?;
    if entries.next().is_some() { Err(refused("it is not empty; name a new directory".into())) } else { Ok(()) }
}

/// Copies the first bytes of a file, durably.
fn copy(file: &Path, to: &Path, bytes: u64) -> std::io::Result<()> {
    let mut source = File::open(file)?.take(bytes);
    let mut target = File::create_new(to.join(file.file_name().unwrap_or_default()))?;
    std::io::copy(&mut source, &mut target)?;
    target.sync_all()
}
