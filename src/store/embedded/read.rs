//! Reads of single entries of the view.

use super::{failure, keys, record, task_record};
use crate::auth::ApiKey;
use crate::model::company::CompanyId;
use crate::model::ids::TaskId;
use crate::model::task::Task;
use crate::store::error::StoreError;

/// Returns all API keys. A key whose record is intact but unreadable is logged and skipped, so that it does not
/// make all other keys unusable.
pub(super) fn api_keys(tree: &sled::Tree) -> Result<Vec<ApiKey>, StoreError> {
    let mut found = Vec::new();
    for entry in tree.scan_prefix([keys::API_KEY]) {
        let (key, value) = entry.map_err(failure::read)?;
        let decoded = record::decode_key(&value).and_then(|it| {
            let its_own = key == keys::api_key(&it.id);
            if its_own { Ok(it) } else { Err(record::damaged("API key", &"it is stored under the wrong id")) }
        });
        match decoded {
            Ok(key) => found.push(key),
            Err(error) if record::is_whole(&value) => {
                tracing::error!(record = keys::name_of(&key), cause = %error, "an API key cannot be read and does not work");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Reads a task, perhaps a soft-deleted one; `None` if it does not exist or cannot be decoded.
pub(super) fn read_task(tree: &sled::Tree, company: &CompanyId, id: TaskId) -> Result<Option<Task>, StoreError> {
    let Some(value) = tree.get(keys::task(company, id)).map_err(failure::read)? else { return Ok(None) };
    match task_record::decode(&value, id, company.clone()) {
        Ok((task, _)) => Ok(Some(task)),
        // The value is as it was written, so a rebuilt view would have the same one.
        Err(_) if record::is_whole(&value) => Ok(None),
        Err(error) => Err(error),
    }
}
