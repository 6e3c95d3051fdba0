//! The tasks that a plugin returned for a payload.

use crate::format::payload::Loosened;
use crate::model::task::NewTask;

/// The result of a run before it is stored.
pub(crate) struct Ready {
    pub(crate) tasks: Vec<NewTask>,
    pub(crate) skip: Option<String>,
    pub(crate) loosened: Loosened,
    pub(crate) plugin_log: String,
}

impl Ready {
    /// Creates the result for a single task without a plugin.
    pub(crate) fn one(task: NewTask, loosened: Loosened) -> Self {
        Self { tasks: vec![task], skip: None, loosened, plugin_log: String::new() }
    }
}
