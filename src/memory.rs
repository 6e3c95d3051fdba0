//! Bounds for memory that requests share: each thing that may be large is charged to a budget until it is dropped.
//!
//! Of each budget one company may hold half, and of that of strangers one peer a quarter, so nobody takes all of it.

mod budget;
mod held;
mod strangers;

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::Limits;
use budget::Budget;
pub(crate) use budget::Charge;
pub(crate) use held::{Arriving, Held, Payer, charged};
use strangers::Strangers;

/// Bodies and responses up to this size are not charged: their number is bounded, by `limits.connections`.
pub(crate) const SMALL: usize = 16 * 1024;
/// Most pages and the like that are made at once. Nobody waits for a client while one is made.
const PAGES: usize = 16;

/// What a budget is called where it is used up.
pub(crate) const BODIES: &str = "limits.body_memory_mib";
pub(crate) const STRANGERS: &str = "limits.unproven_body_memory_mib";
pub(crate) const RESPONSES: &str = "limits.response_memory_mib";
pub(crate) const DECODED: &str = "limits.decode_memory_mib";

/// All budgets.
#[derive(Debug)]
pub(crate) struct Memory {
    /// `limits.body_memory_mib`: bodies of those who have shown who they are.
    pub(crate) bodies: Arc<Budget>,
    /// `limits.unproven_body_memory_mib`: bodies of everybody else.
    pub(crate) strangers: Arc<Strangers>,
    /// `limits.response_memory_mib`: responses until their clients have read them.
    pub(crate) responses: Arc<Budget>,
    /// `limits.decode_memory_mib`: what bodies become when they are decoded.
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

    /// A place for making one page or other large response.
    pub(crate) async fn page(&self) -> Option<SemaphorePermit<'_>> {
        self.pages.acquire().await.ok()
    }
}
