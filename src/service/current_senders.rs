//! The sender files and secrets that are in use; they are read again at every reload.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::auth::Senders;
use crate::config::SenderPlaces;

/// The sender files and secrets that are in use.
#[derive(Debug)]
pub struct CurrentSenders {
    places: SenderPlaces,
    read: ArcSwap<Senders>,
}

impl CurrentSenders {
    /// Begins with what was read at the start.
    #[must_use]
    pub fn new(places: SenderPlaces, read: Senders) -> Self {
        Self { places, read: ArcSwap::from_pointee(read) }
    }

    /// Returns them.
    #[must_use]
    pub fn get(&self) -> Arc<Senders> {
        self.read.load_full()
    }

    /// Returns the secrets file, if one is configured.
    #[must_use]
    pub fn secrets_file(&self) -> Option<&Path> {
        self.places.secrets_file.as_deref()
    }

    /// Reads them again. Returns what could not be read, and stays as it was.
    pub(crate) fn read_again(&self) -> Vec<String> {
        let (read, problems) = self.places.read_again(&self.get());
        for problem in &problems {
            tracing::error!("{problem}");
        }
        self.read.store(Arc::new(read));
        problems
    }
}
