//! All open connections, and which of them are closed when the limit is reached.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::wire::{Standing, Wire};
use crate::metrics::http::HTTP;
use crate::metrics::value::GaugeGuard;
use crate::model::peer::Peer;

/// Connections beyond `limits.connections`, for when all are busy: only health checks are answered on them.
const RESERVE: usize = 64;
/// One more connection is closed at a time for every so many waiting connections of a peer.
const SHARE: usize = 64;
/// Shortest time between two log lines about connections closed for others.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// Every open connection.
#[derive(Debug)]
pub(super) struct Crowd {
    /// `limits.connections`.
    most: usize,
    /// `limits.peer_connections`.
    most_of_peer: usize,
    open: Mutex<Open>,
    left: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct Open {
    peers: HashMap<Peer, Group>,
    count: usize,
    next: u64,
    /// Connections closed since the last log line.
    closed: usize,
    said: Option<Instant>,
}

#[derive(Debug, Default)]
struct Group {
    /// A trusted proxy: its connections belong to many clients.
    is_proxy: bool,
    wires: HashMap<u64, Arc<Wire>>,
}

/// Order in which peers' connections are closed, lowest first: the least trust, no proxy, the most connections.
type Rank = (Standing, bool, Reverse<usize>);

/// A connection's slot, until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    crowd: Arc<Crowd>,
    peer: Peer,
    id: u64,
    _open: GaugeGuard,
}

impl Crowd {
    pub(super) fn new(most: usize, most_of_peer: usize) -> Self {
        Self { most, most_of_peer, open: Mutex::default(), left: tokio::sync::Notify::new() }
    }

    /// A slot for this connection. At the limit, waiting connections are closed for it. `None` if all are busy and the reserve
    /// is used up as well.
    pub(super) fn enter(self: &Arc<Self>, wire: &Arc<Wire>, is_proxy: bool) -> Option<ConnectionSlot> {
        let (peer, mut open) = (Peer::from(wire.address()), self.lock());
        if !is_proxy && open.peers.get(&peer).is_some_and(|it| it.wires.len() >= self.most_of_peer) {
            open.make_room(Some(peer));
        }
        if open.count >= self.most {
            open.make_room(None);
        }
        if open.count >= self.most + RESERVE {
            return None;
        }
        if open.count >= self.most {
            wire.restrict();
        }
        let id = open.next;
        (open.next, open.count) = (id + 1, open.count + 1);
        let group = open.peers.entry(peer).or_default();
        group.is_proxy = is_proxy;
        group.wires.insert(id, Arc::clone(wire));
        HTTP.accepted.count();
        Some(ConnectionSlot { crowd: Arc::clone(self), peer, id, _open: HTTP.connections.hold() })
    }

    /// Closes waiting connections for another reason, such as too few file descriptors.
    pub(super) fn make_room(&self) -> bool {
        self.lock().make_room(None)
    }

    /// Resolves when a connection has ended, or after a while.
    pub(super) async fn left(&self) {
        let _at_the_latest = tokio::time::timeout(Duration::from_millis(50), self.left.notified()).await;
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Closes the connections that have waited longest: first those that have not authenticated, of the peer with the most
    /// connections; trusted proxies come last.
    fn make_room(&mut self, within: Option<Peer>) -> bool {
        let mut best: Option<(Rank, Peer)> = None;
        for (peer, group) in self.peers.iter().filter(|(peer, _)| within.is_none_or(|it| it == **peer)) {
            let Some(least) = group.wires.values().filter_map(|it| it.standing()).map(|(it, _)| it).min() else {
                continue;
            };
            let rank = (least, group.is_proxy, Reverse(group.wires.len()));
            if best.as_ref().is_none_or(|(it, _)| rank < *it) {
                best = Some((rank, *peer));
            }
        }
        let Some(((standing, ..), peer)) = best else { return false };
        let Some(group) = self.peers.get_mut(&peer) else { return false };
        let waiting = |(id, wire): (&u64, &Arc<Wire>)| {
            wire.standing().filter(|(it, _)| *it == standing).map(|(_, since)| (since, *id))
        };
        let mut waiting: Vec<_> = group.wires.iter().filter_map(waiting).collect();
        // Several at once, so that a flood does not cost one search per connection.
        let closed = (waiting.len() / SHARE).max(1);
        if closed < waiting.len() {
            waiting.select_nth_unstable(closed);
            waiting.truncate(closed);
        }
        for (_, id) in &waiting {
            if let Some(wire) = group.wires.remove(id) {
                wire.dismiss();
            }
        }
        if group.wires.is_empty() {
            self.peers.remove(&peer);
        }
        self.count -= waiting.len();
        HTTP.closed_for_room.add(waiting.len() as u64);
        self.say(waiting.len(), peer);
        !waiting.is_empty()
    }

    fn say(&mut self, closed: usize, peer: Peer) {
        self.closed += closed;
        if self.said.is_none_or(|it| it.elapsed() >= SAID_EVERY) {
            tracing::warn!(closed = self.closed, %peer, "waiting connections were closed to make room for others");
            (self.said, self.closed) = (Some(Instant::now()), 0);
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.crowd.lock();
        let Some(group) = open.peers.get_mut(&self.peer) else { return };
        let was_there = group.wires.remove(&self.id).is_some();
        if group.wires.is_empty() {
            open.peers.remove(&self.peer);
        }
        // A connection that was closed has already left its slot.
        open.count -= usize::from(was_there);
        drop(open);
        self.crowd.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Door {
        crowd: Arc<Crowd>,
        origin: Instant,
    }

    impl Door {
        fn new(most: usize, most_of_peer: usize) -> Self {
            Self { crowd: Arc::new(Crowd::new(most, most_of_peer)), origin: Instant::now() }
        }

        fn open(&self, address: &str) -> Option<(Arc<Wire>, ConnectionSlot)> {
            let wire = Arc::new(Wire::new(address.parse().unwrap(), self.origin));
            let place = self.crowd.enter(&wire, address.starts_with("10."))?;
            Some((wire, place))
        }
    }

    /// 4,096 silent connections blocked all others for ten seconds.
    #[test]
    fn the_peer_with_most_connections_gives_way_and_busy_connections_do_not() {
        let door = Door::new(5, 100);
        let (other, proxies) = (door.open("192.0.2.2").unwrap(), [door.open("10.0.0.1"), door.open("10.0.0.1")]);
        let (busy, silent) = (door.open("192.0.2.1").unwrap(), door.open("192.0.2.1").unwrap());
        busy.0.begin();
        let next = door.open("192.0.2.3").unwrap();
        assert!(silent.0.is_dismissed() && !busy.0.is_dismissed());
        // A client that has sent a valid key is closed after those that have not.
        other.0.begin();
        other.0.prove(None);
        other.0.end();
        let last = door.open("192.0.2.4").unwrap();
        assert!(next.0.is_dismissed() && !other.0.is_dismissed());
        last.0.begin();
        let _more = door.open("192.0.2.5").unwrap();
        assert_eq!(proxies.iter().flatten().filter(|it| it.0.is_dismissed()).count(), 1);
    }

    #[test]
    fn where_all_are_busy_the_reserve_is_for_health_checks() {
        let door = Door::new(2, 100);
        let busy: Vec<_> = (0..2).map(|_| door.open("192.0.2.1").unwrap()).collect();
        busy.iter().for_each(|it| it.0.begin());
        let first = door.open("192.0.2.2").unwrap();
        let second = door.open("192.0.2.2").unwrap();
        assert!(first.0.is_dismissed() && second.0.is_restricted(), "what waits gives way in the reserve as well");
        second.0.begin();
        let mut reserve = vec![second];
        while let Some(it) = door.open("192.0.2.3") {
            assert!(it.0.is_restricted());
            it.0.begin();
            reserve.push(it);
        }
        assert_eq!(reserve.len(), RESERVE);
        assert!(!busy.iter().chain(&reserve).any(|it| it.0.is_dismissed()));
        drop((busy, reserve));
        assert!(!door.open("192.0.2.4").unwrap().0.is_restricted());
    }

    #[test]
    fn a_peer_has_only_so_many_waiting_connections_and_a_proxy_as_many_as_it_needs() {
        let door = Door::new(100, 3);
        let all: Vec<_> = (0..5).map(|_| door.open("192.0.2.1").unwrap()).collect();
        assert_eq!(all.iter().filter(|it| it.0.is_dismissed()).count(), 2);
        let proxied: Vec<_> = (0..5).map(|_| door.open("10.0.0.1").unwrap()).collect();
        assert!(!proxied.iter().any(|it| it.0.is_dismissed()));
        drop((all, proxied));
        let open = door.crowd.lock();
        assert_eq!((open.count, open.peers.len()), (0, 0));
    }
}
