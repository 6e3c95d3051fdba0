//! Limits which rejected deliveries of an integration are stored: unauthenticated senders must not fill the disk,
//! or the list in which an admin looks for a particular sender.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

use crate::model::peer::Peer;
use crate::system::rate::{Rate, TokenBucket};

/// Limit per integration.
const ALL: Rate = Rate { per_minute: 60, burst: 100 };
/// Limit per peer, so that rejected deliveries of others are stored too.
const OF_A_PEER: Rate = Rate { per_minute: 12, burst: 20 };
/// Number of peers with a bucket of their own; others share one until a bucket is full again.
const PEERS: usize = 256;

/// Buckets of an integration, and counts since it went live.
#[derive(Debug)]
pub struct Rejections {
    all: TokenBucket,
    peers: Mutex<HashMap<Peer, TokenBucket>>,
    other_peers: TokenBucket,
    of_a_peer: Rate,
    stored: AtomicU64,
    not_stored: AtomicU64,
    /// Number of deliveries that were not stored since the last stored one.
    omitted: AtomicU64,
}

impl Default for Rejections {
    fn default() -> Self {
        Self::of(ALL, OF_A_PEER)
    }
}

impl Rejections {
    /// Creates buckets with these rates: of all together, and of each peer.
    pub(super) fn of(all: Rate, of_a_peer: Rate) -> Self {
        Self {
            all: TokenBucket::of(all),
            peers: Mutex::default(),
            other_peers: TokenBucket::of(of_a_peer),
            of_a_peer,
            stored: AtomicU64::new(0),
            not_stored: AtomicU64::new(0),
            omitted: AtomicU64::new(0),
        }
    }

    /// Decides whether this one is stored. If so, returns how many before it were not.
    pub fn admit(&self, peer: Peer, now: DateTime<Utc>) -> Option<u64> {
        if self.of_peer(peer, now) && self.all.take(now) {
            self.stored.fetch_add(1, Ordering::Relaxed);
            return Some(self.omitted.swap(0, Ordering::Relaxed));
        }
        self.not_stored.fetch_add(1, Ordering::Relaxed);
        self.omitted.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Returns how many were stored, and how many were not.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.stored.load(Ordering::Relaxed), self.not_stored.load(Ordering::Relaxed))
    }

    fn of_peer(&self, peer: Peer, now: DateTime<Utc>) -> bool {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= PEERS && !peers.contains_key(&peer) {
            peers.retain(|_, it| !it.is_full(now));
            if peers.len() >= PEERS {
                return self.other_peers.take(now);
            }
        }
        peers.entry(peer).or_insert_with(|| TokenBucket::of(self.of_a_peer)).take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn peer(number: u32) -> Peer {
        Peer::V4(Ipv4Addr::from_bits(number))
    }

    #[test]
    fn a_flood_from_one_peer_leaves_room_for_another_s_and_is_counted() {
        let (rejections, now) = (Rejections::default(), DateTime::UNIX_EPOCH);
        let stored = |number, count: u32| (0..count).filter(|_| rejections.admit(peer(number), now).is_some()).count();
        assert_eq!(stored(1, 1000), 20);
        assert_eq!(rejections.counts(), (20, 980));
        assert_eq!(
            rejections.admit(peer(2), now),
            Some(980),
            "the next stored one has the number of those that were not stored"
        );
        assert_eq!(rejections.admit(peer(2), now), Some(0));
    }

    #[test]
    fn many_peers_together_are_bounded_in_what_is_stored_and_in_memory() {
        let (rejections, now) = (Rejections::default(), DateTime::UNIX_EPOCH);
        let stored = (0..10_000).filter(|it| rejections.admit(peer(*it), now).is_some()).count();
        assert_eq!(stored, 100);
        assert!(rejections.peers.lock().unwrap().len() <= PEERS);
        // Quiet peers make room.
        let later = now + chrono::TimeDelta::minutes(10);
        assert!(rejections.admit(peer(20_000), later).is_some());
        assert_eq!(rejections.peers.lock().unwrap().len(), 1);
    }
}
