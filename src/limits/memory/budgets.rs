//! The memory budgets that requests share.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::budget::Budget;
use super::strangers::Strangers;
use crate::config::Limits;

/// Bodies and responses up to this size are not charged, in bytes: their number is bounded by `limits.connections`.
pub(crate) const SMALL: usize = 16 * 1024;

/// Maximum number of pages and similar responses that are created concurrently. Creating one never waits for a
/// client.
const PAGES: usize = 16;

/// Names of the settings, for error messages.
pub(crate) const BODIES: &str = "limits.body_memory_mib";

pub(crate) const STRANGERS: &str = "limits.unproven_body_memory_mib";

pub(crate) const RESPONSES: &str = "limits.response_memory_mib";

pub(crate) const DECODED: &str = "limits.decode_memory_mib";

/// All budgets.
#[derive(Debug)]
pub(crate) struct Memory {
    /// `limits.body_memory_mib`: bodies of authenticated requests.
    pub(crate) bodies: Arc<Budget>,
    /// `limits.unproven_body_memory_mib`: bodies of all other requests.
    pub(crate) strangers: Arc<Strangers>,
    /// `limits.response_memory_mib`: responses until their clients have read them.
    pub(crate) responses: Arc<Budget>,
    /// `limits.decode_memory_mib`: decoded bodies.
    pub(crate) decoded: Arc<Budget>,
    pages: Semaphore,
}

impl Memory {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            bodies: Arc::new(Budget::new(limits.body_memory)),
            strangers: Arc::new(Strangers::new(limits.unproven_body_memory)),
            responses: Arc::new(Budget::new(limits.response_memory)),
            decoded: Arc::new(Budget::new(limits.decode_memory)),
            pages: Semaphore::new(PAGES),
        }
    }

    /// Waits for a place to create a page or other large response.
    pub(crate) async fn page(&self) -> Option<SemaphorePermit<'_>> {
        self.pages.acquire().await.ok()
    }
}
