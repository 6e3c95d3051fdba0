//! An `Idempotency-Key` that was used before with another body, and its sentence.

use serde::Deserialize;

use crate::model::ids::{EventId, TaskId};
use crate::store::FirstAnswer;

/// A key that was used before with another body.
#[derive(Debug, Default)]
pub(crate) struct KeyConflict {
    key: String,
    /// The first request's events: one, or one for each item of a batch.
    pub(super) events: Vec<EventId>,
    pub(super) is_batch: bool,
    /// The tasks that they created.
    pub(super) task_ids: Vec<TaskId>,
    /// The places that differ, without values; `None` if the first body is not known.
    pub(super) differs: Option<Vec<String>>,
    /// How many more differ.
    pub(super) more: usize,
}

/// What a batch's response says of its events.
#[derive(Deserialize)]
struct BatchEvents {
    data: Vec<ItemEvent>,
}

#[derive(Deserialize)]
struct ItemEvent {
    event_id: EventId,
}

impl KeyConflict {
    /// The conflict with this first request, before anything is compared.
    pub(super) fn with(key: &str, first: &FirstAnswer) -> Self {
        let batch: Option<BatchEvents> = match first.event_id {
            Some(_) => None,
            None => serde_json::from_slice(&first.body).ok(),
        };
        let is_batch = batch.is_some();
        let items = batch.into_iter().flat_map(|it| it.data).map(|it| it.event_id);
        let events = first.event_id.into_iter().chain(items).collect();
        Self { key: key.to_owned(), events, is_batch, ..Self::default() }
    }

    /// The event of the first request, or of its first item.
    pub(super) fn first_event_id(&self) -> Option<EventId> {
        self.events.first().copied()
    }
}

impl std::fmt::Display for KeyConflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key, task_ids, differs, more, .. } = self;
        write!(f, "Idempotency-Key \"{key}\" was used before with another body")?;
        match differs.as_deref() {
            None => {}
            Some([]) => write!(f, ": only its notation differs, such as spaces or the order of fields")?,
            Some(names) => {
                write!(f, ": {}", names.join(", "))?;
                match (more, names.len()) {
                    (0, 1) => write!(f, " differs")?,
                    (0, _) => write!(f, " differ")?,
                    (more, _) => write!(f, " and {more} more differ")?,
                }
            }
        }
        match task_ids.as_slice() {
            [] => write!(f, "; use a new key for a new request"),
            made => {
                let (task, one, were, it) =
                    if let [_] = made { ("task", "", "was", "it") } else { ("tasks", "s", "were", "them") };
                let others = made.len() - 1;
                write!(f, "; {task} {}", made.first().map_or_else(String::new, ToString::to_string))?;
                if others > 0 {
                    write!(f, " and {others} other{}", if others > 1 { one } else { "" })?;
                }
                write!(
                    f,
                    " {were} made by the first request. A new key would create {it} again: if this is a retry, compute such values, e.g. dates from $now, in a node before this one, which a retry does not run again. Use a new key only for a new request"
                )
            }
        }
    }
}
