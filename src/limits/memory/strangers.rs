//! Bodies of unauthenticated requests. If there are too many, the oldest is dropped.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::model::peer::Peer;

/// A peer may use one part in this many.
const PART: usize = 4;

/// A budget for bodies of unauthenticated requests.
#[derive(Debug)]
pub(crate) struct Strangers {
    most: usize,
    held: Mutex<StrangerBytes>,
}

#[derive(Debug, Default)]
struct StrangerBytes {
    all: usize,
    next: u64,
    peers: HashMap<Peer, Bodies>,
}

#[derive(Debug, Default)]
struct Bodies {
    bytes: usize,
    /// Bodies, oldest first.
    bodies: BTreeMap<u64, Body>,
}

#[derive(Debug)]
struct Body {
    bytes: usize,
    given_up: CancellationToken,
}

/// Body of an unauthenticated request, until it is dropped.
#[derive(Debug)]
pub(crate) struct Unproven {
    strangers: Arc<Strangers>,
    peer: Peer,
    id: u64,
    given_up: CancellationToken,
}

impl Strangers {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, held: Mutex::default() }
    }

    /// Creates a body of this peer without a charge.
    pub(crate) fn body(self: &Arc<Self>, peer: Peer) -> Unproven {
        let given_up = CancellationToken::new();
        let mut held = self.lock();
        let id = held.next;
        held.next += 1;
        held.peers.entry(peer).or_default().bodies.insert(id, Body { bytes: 0, given_up: given_up.clone() });
        Unproven { strangers: Arc::clone(self), peer, id, given_up }
    }

    fn lock(&self) -> MutexGuard<'_, StrangerBytes> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StrangerBytes {
    /// Removes a body and its charge.
    fn remove(&mut self, peer: Peer, id: u64) -> Option<Body> {
        let bodies = self.peers.get_mut(&peer)?;
        let body = bodies.bodies.remove(&id)?;
        bodies.bytes -= body.bytes;
        self.all -= body.bytes;
        if bodies.bodies.is_empty() {
            self.peers.remove(&peer);
        }
        Some(body)
    }

    /// Returns the oldest body of this peer.
    fn oldest(&self, peer: Peer) -> Option<u64> {
        self.peers.get(&peer)?.bodies.keys().next().copied()
    }
}

impl Unproven {
    /// Increases the charge to `bytes`. If that is too much, this peer's oldest bodies are dropped, or those of the
    /// peer that uses most; returns false if this is one of them.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let (most, mut held) = (self.strangers.most, self.strangers.lock());
        loop {
            let Some(bodies) = held.peers.get(&self.peer) else { return false };
            let Some(own) = bodies.bodies.get(&self.id) else { return false };
            let more = bytes.saturating_sub(own.bytes);
            let crowded = if bodies.bytes + more > most / PART {
                Some(self.peer)
            } else if held.all + more > most {
                held.peers.iter().max_by_key(|(_, it)| it.bytes).map(|(peer, _)| *peer)
            } else {
                None
            };
            let Some(peer) = crowded else {
                held.all += more;
                if let Some(bodies) = held.peers.get_mut(&self.peer) {
                    bodies.bytes += more;
                    if let Some(own) = bodies.bodies.get_mut(&self.id) {
                        own.bytes += more;
                    }
                }
                return true;
            };
            let Some(oldest) = held.oldest(peer) else { return false };
            if let Some(body) = held.remove(peer, oldest) {
                body.given_up.cancel();
            }
        }
    }

    /// Returns a token that is cancelled when this body is dropped in favour of others.
    pub(crate) fn given_up(&self) -> &CancellationToken {
        &self.given_up
    }
}

impl Drop for Unproven {
    fn drop(&mut self) {
        self.strangers.lock().remove(self.peer, self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> Peer {
        std::net::IpAddr::from([192, 0, 2, n]).into()
    }

    /// Half-sent bodies used to block others until their timeout.
    #[test]
    fn a_peers_oldest_body_gives_way_and_then_the_oldest_of_who_holds_most() {
        let all = Arc::new(Strangers::new(400));
        let mut first = all.body(peer(1));
        assert!(first.grow_to(60));
        let mut second = all.body(peer(1));
        assert!(second.grow_to(60));
        assert!(first.given_up().is_cancelled() && !first.grow_to(1), "its peer may hold 100");
        let mut others: Vec<_> = (2..=4).map(|n| all.body(peer(n))).collect();
        assert!(others[0].grow_to(90) && others[1].grow_to(100) && others[2].grow_to(100));
        assert!(second.grow_to(100) == second.grow_to(100));
        let mut late = all.body(peer(5));
        assert!(late.grow_to(80));
        assert!(others.iter().chain([&second]).filter(|it| it.given_up().is_cancelled()).count() == 1);
        assert!(!all.body(peer(6)).grow_to(101), "more than a peer may ever hold");
        drop((first, second, others, late));
        assert!(all.lock().peers.is_empty() && all.lock().all == 0);
    }
}
