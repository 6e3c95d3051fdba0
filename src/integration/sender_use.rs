//! Which secrets of an integration are still used, and how often its URL is asked questions by strangers.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

use super::rejections::Rejections;
use crate::model::peer::Peer;
use crate::system::rate::{Rate, TokenBucket};

/// Questions that nobody is authenticated for, per integration and per peer.
const QUESTIONS: Rate = Rate { per_minute: 60, burst: 60 };
const QUESTIONS_OF_A_PEER: Rate = Rate { per_minute: 10, burst: 10 };
/// Requests for keys of a sender, per integration.
const FETCHES: Rate = Rate { per_minute: 20, burst: 10 };

/// The use of an integration's secrets since it went live.
#[derive(Debug)]
pub struct SenderUse {
    /// When each secret was last used, in Unix milliseconds; 0 if never.
    last: Vec<AtomicI64>,
    questions: Rejections,
    fetches: TokenBucket,
}

impl SenderUse {
    /// Creates counters for this many secrets.
    #[must_use]
    pub fn new(secrets: usize) -> Self {
        Self {
            last: (0..secrets).map(|_| AtomicI64::new(0)).collect(),
            questions: Rejections::of(QUESTIONS, QUESTIONS_OF_A_PEER),
            fetches: TokenBucket::of(FETCHES),
        }
    }

    /// Records that this secret, counted from 0, has authenticated a delivery.
    pub fn used(&self, secret: usize, now: DateTime<Utc>) {
        if let Some(last) = self.last.get(secret) {
            last.fetch_max(now.timestamp_millis(), Ordering::Relaxed);
        }
    }

    /// Returns when each secret was last used.
    #[must_use]
    pub fn last(&self) -> Vec<Option<DateTime<Utc>>> {
        let at = |it: &AtomicI64| {
            Some(it.load(Ordering::Relaxed)).filter(|it| *it != 0).and_then(DateTime::from_timestamp_millis)
        };
        self.last.iter().map(at).collect()
    }

    /// Returns whether a question from nobody in particular is answered now.
    pub fn may_ask(&self, peer: Peer, now: DateTime<Utc>) -> bool {
        self.questions.admit(peer, now).is_some()
    }

    /// Returns whether keys of the sender are requested now.
    #[must_use]
    pub fn may_fetch(&self, now: DateTime<Utc>) -> bool {
        self.fetches.take(now)
    }
}
