//! What the pool of instances has room for. A call's share is counted before the call begins, so that a full pool delays
//! or refuses calls, and never appears as a trap of the plugin.
//!
//! Every plugin has a share of its own, for one call: other plugins' calls cannot take the last one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a call waits for room before it is refused as busy. Most calls end sooner.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long a plugin that is being loaded waits for its own share.
const LOAD_PATIENCE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(2);

/// What one call takes of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) components: u32,
    pub(super) memories: u32,
    pub(super) tables: u32,
}

/// Bits of each count in the packed form: one atomic operation takes all three or nothing.
const BITS: u32 = 21;
const FIELD: u64 = (1 << BITS) - 1;

impl Need {
    fn packed(self) -> u64 {
        u64::from(self.components) | u64::from(self.memories) << BITS | u64::from(self.tables) << (2 * BITS)
    }
}

/// The whole pool, and what of it is taken.
#[derive(Debug)]
pub(super) struct Room {
    most: u64,
    taken: AtomicU64,
}

impl Room {
    pub(super) fn new(most: Need) -> Arc<Self> {
        Arc::new(Self { most: most.packed(), taken: AtomicU64::new(0) })
    }

    fn take(self: &Arc<Self>, need: Need) -> Option<Taken> {
        let need = need.packed();
        let fits = |all: u64| (0..3).all(|n| (all >> (n * BITS)) & FIELD <= (self.most >> (n * BITS)) & FIELD);
        let add = |taken: u64| Some(taken + need).filter(|all| fits(*all));
        let taken = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
        taken.is_ok().then(|| Taken { room: Arc::clone(self), need })
    }

    fn take_within(self: &Arc<Self>, need: Need, patience: Duration) -> Option<Taken> {
        within(patience, || self.take(need))
    }
}

/// A part of the pool, until it is dropped.
#[derive(Debug)]
struct Taken {
    room: Arc<Room>,
    need: u64,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.need, Ordering::AcqRel);
    }
}

/// A plugin's access to the pool.
#[derive(Debug)]
pub(super) struct Seats {
    room: Arc<Room>,
    need: Need,
    /// For one call; none where the pool was full when the plugin was loaded.
    own: Option<Arc<Own>>,
}

#[derive(Debug)]
struct Own {
    _taken: Taken,
    in_use: AtomicBool,
}

/// Room for one call, until it is dropped.
#[derive(Debug)]
#[allow(dead_code, reason = "given back when it is dropped")]
pub(super) struct Seat(Held);

#[derive(Debug)]
#[allow(dead_code, reason = "given back when it is dropped")]
enum Held {
    Shared(Taken),
    Own(OwnSeat),
}

/// A plugin's own share while a call uses it.
#[derive(Debug)]
struct OwnSeat(Arc<Own>);

impl Drop for OwnSeat {
    fn drop(&mut self) {
        self.0.in_use.store(false, Ordering::Release);
    }
}

impl Seats {
    pub(super) fn reserve(room: &Arc<Room>, need: Need) -> Self {
        let own = room.take_within(need, LOAD_PATIENCE);
        let own = own.map(|taken| Arc::new(Own { _taken: taken, in_use: AtomicBool::new(false) }));
        Self { room: Arc::clone(room), need, own }
    }

    /// Room for a call, as soon as there is some.
    pub(super) fn seat(&self) -> Option<Seat> {
        within(PATIENCE, || self.free())
    }

    fn free(&self) -> Option<Seat> {
        if let Some(own) = &self.own
            && !own.in_use.swap(true, Ordering::AcqRel)
        {
            return Some(Seat(Held::Own(OwnSeat(Arc::clone(own)))));
        }
        self.room.take(self.need).map(|it| Seat(Held::Shared(it)))
    }
}

fn within<T>(patience: Duration, mut take: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(taken) = take() {
            return Some(taken);
        }
        if started.elapsed() >= patience {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const ONE: Need = Need { components: 1, memories: 2, tables: 0 };

    #[test]
    fn the_scarcest_part_decides_and_what_is_given_back_can_be_taken_again() {
        let room = Room::new(Need { components: 10, memories: 5, tables: 1 });
        let first = room.take(ONE).unwrap();
        let _second = room.take(ONE).unwrap();
        assert!(room.take(ONE).is_none(), "a fifth memory is left, and two are needed");
        drop(first);
        assert!(room.take(ONE).is_some());
    }

    #[test]
    fn other_plugins_cannot_take_a_plugins_own_share() {
        let room = Room::new(Need { components: 3, memories: 100, tables: 100 });
        let (greedy, modest) = (Seats::reserve(&room, ONE), Seats::reserve(&room, ONE));
        let taken: Vec<_> = std::iter::from_fn(|| greedy.free()).collect();
        assert_eq!(taken.len(), 2);
        let own = modest.free().unwrap();
        assert!(modest.free().is_none());
        drop(own);
        assert!(modest.free().is_some());
    }
}
