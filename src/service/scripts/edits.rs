//! Which plugins' files are being changed.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The plugins whose files are being changed through the API: each by one caller at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edits {
    names: Arc<Mutex<HashSet<String>>>,
}

/// Permission to change a plugin's files, until it is dropped.
#[derive(Debug)]
pub(crate) struct Editing {
    edits: Edits,
    name: String,
}

impl Edits {
    /// Begins to change a plugin's files; `None` if somebody else does.
    pub(crate) fn begin(&self, name: &str) -> Option<Editing> {
        let is_free = self.names().insert(name.to_owned());
        is_free.then(|| Editing { edits: self.clone(), name: name.to_owned() })
    }

    fn names(&self) -> MutexGuard<'_, HashSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Editing {
    fn drop(&mut self) {
        self.edits.names().remove(&self.name);
    }
}
