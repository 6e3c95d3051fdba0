//! Export and import as lines: one JSON object each, with its kind. Both hold only a few of them in memory.
//!
//! `transfer/line.rs` is the format of a line, `transfer/read.rs` reads and checks one.

mod line;
mod read;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{BufRead, Read as _, Seek, SeekFrom, Write};

use serde_json::{Value, json};

use super::failure::Failure;
use super::progress::Progress;
use crate::auth::{ApiKey, KeyId};
use crate::store::{Store, StoredItem};
use line::ExportLine;

/// Number of items stored at once, and of their bytes.
pub(super) const BATCH: usize = 500;
pub(super) const BATCH_BYTES: usize = 4 << 20;
/// Maximum length of a line, in bytes; it contains an event's body in base64.
const LINE_BYTES: u64 = 256 << 20;
/// Maximum number of differing items that are named.
pub(super) const NAMED: usize = 20;

#[derive(Default)]
struct Counts {
    tasks: u64,
    events: u64,
    api_keys: u64,
    audit: u64,
    answers: u64,
    skipped: u64,
    /// Number of items that exist with different content, and the names of the first ones.
    differing: u64,
    named: Vec<String>,
}

impl Counts {
    fn add(&mut self, item: &StoredItem) {
        match item {
            StoredItem::Task(_) => self.tasks += 1,
            StoredItem::Event(_) => self.events += 1,
            StoredItem::Key(_) => self.api_keys += 1,
            StoredItem::Audit(_) => self.audit += 1,
            StoredItem::Answer(_) => self.answers += 1,
            StoredItem::Erasure(_) => {}
        }
    }

    fn json(&self) -> Value {
        let mut counts = json!({
            "tasks": self.tasks, "events": self.events, "api_keys": self.api_keys, "audit_entries": self.audit,
            "answers": self.answers, "skipped": self.skipped,
        });
        if self.differing > 0 {
            counts["differing"] = self.differing.into();
            counts["differing_items"] = json!(self.named);
        }
        counts
    }
}

/// Writes everything that a store contains, except recent erasures: they name patients whose data were erased.
pub(super) fn export(store: &dyn Store, out: &mut impl Write) -> Result<Value, Failure> {
    let (mut counts, mut progress) = (Counts::default(), Progress::new("exported", store.item_count()));
    store.export(&mut |item| {
        if matches!(item, StoredItem::Erasure(_)) {
            return Ok(());
        }
        counts.add(&item);
        progress.add(1);
        let mut line = line_of(item).map_err(std::io::Error::other)?;
        line.push(b'\n');
        out.write_all(&line)
    })?;
    out.flush().map_err(Failure::new)?;
    progress.finish();
    Ok(counts.json())
}

/// Returns an item as its line in an export.
///
/// # Errors
/// Fails if it cannot be written as JSON.
pub(super) fn line_of(item: StoredItem) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&ExportLine::from(item))
}

/// Imports such lines: reads all of them first, so that nothing is written if one of them cannot be stored, and
/// then again. Existing items are left unchanged; the result names those that differ from the line.
pub(super) async fn import<I: BufRead + Seek>(store: &dyn Store, input: &mut I) -> Result<Value, Failure> {
    let mut owners = KeyOwners::of(store.keys().await?);
    let mut lines = ExportLines::new(input)?;
    while let Some((number, item, _)) = lines.next()? {
        if let StoredItem::Key(key) = &item {
            owners.claim(key).map_err(|e| Failure::new(format!("line {number}: api_key: {e}")))?;
        }
    }
    drop(owners);
    let (mut counts, mut progress) = (Counts::default(), Progress::new("imported", 0));
    let (mut items, mut bytes) = (Vec::with_capacity(BATCH), 0);
    let mut lines = ExportLines::new(input)?;
    loop {
        let line = lines.next()?;
        let ended = line.is_none();
        if let Some((_, item, length)) = line {
            counts.add(&item);
            items.push(item);
            bytes += length;
        }
        if items.len() >= BATCH || bytes >= BATCH_BYTES || (ended && !items.is_empty()) {
            bytes = 0;
            progress.add(items.len() as u64);
            let imported = store.import(std::mem::take(&mut items)).await?;
            counts.skipped += imported.skipped;
            counts.differing += imported.differing.len() as u64;
            let room = NAMED.saturating_sub(counts.named.len());
            counts.named.extend(imported.differing.into_iter().take(room));
        }
        if ended {
            break;
        }
    }
    progress.finish();
    Ok(counts.json())
}

/// Reads lines from the beginning.
struct ExportLines<'a, I> {
    input: &'a mut I,
    text: Vec<u8>,
    number: u64,
}

impl<'a, I: BufRead + Seek> ExportLines<'a, I> {
    fn new(input: &'a mut I) -> Result<Self, Failure> {
        input.seek(SeekFrom::Start(0)).map_err(|e| Failure::new(format!("the lines cannot be read twice: {e}")))?;
        Ok(Self { input, text: Vec::new(), number: 0 })
    }

    /// Returns the next line's number, its item, and its length in bytes.
    fn next(&mut self) -> Result<Option<(u64, StoredItem, usize)>, Failure> {
        loop {
            self.text.clear();
            self.number += 1;
            let at = |e: String| Failure::new(format!("line {}: {e}", self.number));
            let read = (&mut *self.input).take(LINE_BYTES + 1).read_until(b'\n', &mut self.text);
            let read = read.map_err(|e| at(e.to_string()))?;
            if read == 0 {
                return Ok(None);
            }
            if read as u64 > LINE_BYTES {
                return Err(at(format!("longer than {LINE_BYTES} bytes")));
            }
            let text = std::str::from_utf8(&self.text).map_err(|_| at("not UTF-8".into()))?;
            if !text.trim().is_empty() {
                return Ok(Some((self.number, read::item(text).map_err(at)?, read)));
            }
        }
    }
}

/// The owner of each key's hash: a line with the hash of another key would take over that key.
struct KeyOwners {
    by_hash: HashMap<[u8; 32], KeyId>,
    /// Hashes of the keys in the lines so far.
    by_id: HashMap<KeyId, [u8; 32]>,
}

impl KeyOwners {
    fn of(stored: Vec<ApiKey>) -> Self {
        Self { by_hash: stored.into_iter().map(|it| (it.hash, it.id)).collect(), by_id: HashMap::new() }
    }

    fn claim(&mut self, key: &ApiKey) -> Result<(), String> {
        let owner = self.by_hash.entry(key.hash).or_insert_with(|| key.id.clone());
        if *owner != key.id {
            return Err(format!("sha256_base64: this hash already belongs to the key {owner}"));
        }
        if *self.by_id.entry(key.id.clone()).or_insert(key.hash) != key.hash {
            return Err(format!("id: the key {} is in an earlier line with another hash", key.id));
        }
        Ok(())
    }
}
