//! Counts and checksums of stored items by kind, in any order.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::store::StoredItem;

/// Counts and checksums by kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sums(BTreeMap<&'static str, Sum>);

/// Number of items, and the sum of the first halves of their SHA-256 hashes. A sum, because the order of items differs between
/// stores.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sum {
    count: u64,
    checksum: u128,
}

impl Sums {
    /// Adds an item that has this line in an export.
    pub(super) fn add(&mut self, item: &StoredItem, line: &[u8]) {
        let sum = self.0.entry(kind(item)).or_default();
        let hash: [u8; 32] = Sha256::digest(line).into();
        let half = hash.first_chunk().map_or(0, |it| u128::from_be_bytes(*it));
        sum.count += 1;
        sum.checksum = sum.checksum.wrapping_add(half);
    }

    /// Returns the number of items.
    pub(super) fn count(&self) -> u64 {
        self.0.values().map(|it| it.count).sum()
    }

    /// Returns the sums of a directory and a database as JSON.
    pub(super) fn compared(&self, database: &Self) -> Value {
        let mut kinds = Map::new();
        for kind in KINDS {
            let of = |sums: &Self| sums.0.get(kind).copied().unwrap_or_default();
            let shown = |it: Sum| json!({ "count": it.count, "checksum": format!("{:032x}", it.checksum) });
            let (one, other) = (of(self), of(database));
            let it = json!({ "directory": shown(one), "database": shown(other), "equal": one == other });
            kinds.insert(kind.to_owned(), it);
        }
        Value::Object(kinds)
    }
}

const KINDS: [&str; 6] = ["api_keys", "audit_entries", "tasks", "events", "answers", "erasures"];

fn kind(item: &StoredItem) -> &'static str {
    match item {
        StoredItem::Key(_) => "api_keys",
        StoredItem::Audit(_) => "audit_entries",
        StoredItem::Task(_) => "tasks",
        StoredItem::Event(_) => "events",
        StoredItem::Answer(_) => "answers",
        StoredItem::Erasure(_) => "erasures",
    }
}
