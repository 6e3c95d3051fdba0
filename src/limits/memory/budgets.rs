//! The memory budgets that requests share.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::budget::Budget;
use super::strangers::Strangers;

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

/// The size of each budget, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// `limits.body_memory_mib`.
    pub(crate) bodies: usize,
    /// `limits.unproven_body_memory_mib`.
    pub(crate) strangers: usize,
    /// `limits.response_memory_mib`.
    pub(crate) responses: usize,
    /// `limits.decode_memory_mib`.
    pub(crate) decoded: usize,
}

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
    pub(crate) fn new(sizes: Sizes) -> Self {
        Self {
            bodies: Arc::new(Budget::new(sizes.bodies)),
            strangers: Arc::new(Strangers::new(sizes.strangers)),
            responses: Arc::new(Budget::new(sizes.responses)),
            decoded: Arc::new(Budget::new(sizes.decoded)),
            pages: Semaphore::new(PAGES),
        }
    }

    /// Waits for a place to create a page or other large response.
    pub(crate) async fn page(&self) -> Option<SemaphorePermit<'_>> {
        self.pages.acquire().await.ok()
    }
}
