//! What a batch tells while it is written.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

/// What a batch tells.
pub(super) enum News {
    /// Only the response to its COMMIT is missing.
    Sent(Vec<String>),
    /// It is over.
    Whole,
}

/// Tells once that only the response to a batch's COMMIT is missing; at the latest when it is dropped.
pub(super) struct SentSignal {
    companies: Vec<String>,
    told: AtomicBool,
    to: mpsc::UnboundedSender<News>,
}

impl SentSignal {
    pub(super) fn new(companies: Vec<String>, to: mpsc::UnboundedSender<News>) -> Self {
        Self { companies, told: AtomicBool::new(false), to }
    }

    pub(super) fn tell(&self) {
        if !self.told.swap(true, Ordering::AcqRel) {
            let _the_writer_has_ended = self.to.send(News::Sent(self.companies.clone()));
        }
    }
}

impl Drop for SentSignal {
    fn drop(&mut self) {
        self.tell();
        let _the_writer_has_ended = self.to.send(News::Whole);
    }
}
