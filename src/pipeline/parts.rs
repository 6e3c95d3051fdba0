//! The parts that every run of the pipeline shares.

use std::sync::Arc;

use super::observers::Observers;
use crate::integration::Registry;
use crate::store::Store;

/// Where events are stored, which integrations are live, and what observes their results.
pub struct Pipeline {
    /// Stores events and tasks.
    pub store: Arc<dyn Store>,
    /// The live integrations.
    pub registry: Arc<Registry>,
    /// Observers of live plugins' results: the shadows.
    pub observers: Arc<Observers>,
}
