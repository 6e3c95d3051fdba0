//! Lists of the audit log, from the read view.

use uuid::Uuid;

use super::{failure, keys, record};
use crate::model::audit::Entry;
use crate::store::error::StoreError;

/// Returns the matching entries, newest first: at most this many, older than the given one.
pub(super) fn audit(
    tree: &sled::Tree,
    fits: &dyn Fn(&Entry) -> bool,
    before: Option<Uuid>,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let mut found = Vec::new();
    let end = before.map_or_else(|| vec![keys::AUDIT + 1], keys::audit);
    for entry in tree.range(vec![keys::AUDIT]..end).rev() {
        let (key, value) = entry.map_err(failure::read)?;
        let id = keys::parse_audit(&key).ok_or_else(|| record::damaged("audit entry", &"its key"));
        let entry = match id.and_then(|id| record::decode_audit(&value, id)) {
            Ok(entry) => entry,
            // The value is as it was written, so a rebuilt view would have the same one.
            Err(error) if record::is_whole(&value) => {
                tracing::error!(record = keys::name_of(&key), cause = %error, "an entry of the audit log cannot be read");
                continue;
            }
            Err(error) => return Err(error),
        };
        if fits(&entry) {
            found.push(entry);
        }
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}
