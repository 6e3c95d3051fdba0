//! Tracks the capacity of the instance pool. A call's share is reserved before the call begins, so that a full pool
//! delays or refuses calls, and never causes a trap in a plugin.
//!
//! Capacity is counted in [`PARTS`] of the whole pool, by the resource that a call needs most of: calls whose parts
//! add up to the pool fit in it. One half is reserved for one call of each plugin; the other half is shared. Both
//! are divided among companies and their plugins (`shares.rs`), so that no company's plugins can use all of either.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::limits::shares::{Rule, Share, Shares};
use crate::model::company::CompanyId;
use crate::model::ids::IntegrationName;

/// How long a call waits for capacity before it is refused as busy. Most calls end sooner.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);
/// How long a plugin's fixtures wait for capacity when the plugin is loaded.
pub(super) const LOAD_PATIENCE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(2);

/// Number of parts of the whole pool.
const PARTS: usize = 1024;
/// A company's plugins may reserve half of the remaining capacity for own calls, first come, first served.
const OWN: Rule = Rule { company: 1, integration: usize::MAX };

/// Resources of the pool that one call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) components: u32,
    pub(super) memories: u32,
    pub(super) tables: u32,
}

impl Need {
    /// Returns how many of [`PARTS`] this is of `whole`, at least one.
    fn parts(self, whole: Self) -> usize {
        let part = |need: u32, of: u32| (need as usize * PARTS).div_ceil(of.max(1) as usize);
        let all = [
            part(self.components, whole.components),
            part(self.memories, whole.memories),
            part(self.tables, whole.tables),
        ];
        all.into_iter().fold(1, usize::max)
    }

    /// Checks that one call may need this much.
    ///
    /// # Errors
    /// What is too much, for the plugin's author.
    pub(super) fn check(self, most: Self) -> Result<(), String> {
        if self.memories <= most.memories && self.tables <= most.tables {
            return Ok(());
        }
        Err(format!(
            "one call needs {} memories and {} tables, and may have {} and {}; link its modules together, or leave some out",
            self.memories, self.tables, most.memories, most.tables
        ))
    }
}

/// The pool's capacity, and how much of it each plugin uses.
#[derive(Debug)]
pub(super) struct Room {
    whole: Need,
    own: Arc<Shares>,
    shared: Arc<Shares>,
}

impl Room {
    pub(super) fn new(whole: Need) -> Arc<Self> {
        let (own, shared) = (Shares::new(PARTS / 2, OWN), Shares::new(PARTS / 2, Rule::EVEN));
        Arc::new(Self { whole, own, shared })
    }
}

/// A plugin's access to the pool.
#[derive(Debug)]
pub(super) struct Seats {
    room: Arc<Room>,
    company: CompanyId,
    plugin: IntegrationName,
    parts: usize,
    /// Reserved for one call; `None` if the company's plugins had used up their share when this one was loaded.
    own: Option<Arc<Own>>,
}

#[derive(Debug)]
struct Own {
    _taken: Share,
    in_use: AtomicBool,
}

/// Capacity for one call, until it is dropped.
#[derive(Debug)]
#[allow(dead_code, reason = "released when it is dropped")]
pub(super) struct Seat(SeatKind);

#[derive(Debug)]
#[allow(dead_code, reason = "released when it is dropped")]
enum SeatKind {
    Shared(Share),
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
    pub(super) fn reserve(room: &Arc<Room>, company: &CompanyId, plugin: &str, need: Need) -> Self {
        let (company, plugin, parts) = (company.clone(), IntegrationName(plugin.into()), need.parts(room.whole));
        let own = room.own.take(&company, &plugin, parts).ok();
        let own = own.map(|taken| Arc::new(Own { _taken: taken, in_use: AtomicBool::new(false) }));
        Self { room: Arc::clone(room), company, plugin, parts, own }
    }

    /// Reserves capacity for a call as soon as there is some; `None` after `patience`.
    pub(super) fn seat(&self, patience: Duration) -> Option<Seat> {
        let started = Instant::now();
        loop {
            let seat = self.free();
            if seat.is_some() || started.elapsed() >= patience {
                return seat;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn free(&self) -> Option<Seat> {
        if let Some(own) = &self.own
            && !own.in_use.swap(true, Ordering::AcqRel)
        {
            return Some(Seat(SeatKind::Own(OwnSeat(Arc::clone(own)))));
        }
        self.room.shared.take(&self.company, &self.plugin, self.parts).ok().map(|it| Seat(SeatKind::Shared(it)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const POOL: Need = Need { components: 256, memories: 512, tables: 1024 };

    fn plugin(room: &Arc<Room>, company: &str, name: &str, memories: u32) -> Seats {
        let need = Need { components: 1, memories, tables: 1 };
        Seats::reserve(room, &CompanyId::parse(company).unwrap(), name, need)
    }

    fn all(seats: &Seats) -> Vec<Seat> {
        std::iter::from_fn(|| seats.free()).collect()
    }

    #[test]
    fn calls_whose_parts_fit_together_fit_in_the_pool() {
        for (components, memories, tables) in [(1, 1, 1), (1, 16, 0), (0, 1, 32), (1, 3, 7), (0, 0, 0)] {
            let need = Need { components, memories, tables };
            let calls = u32::try_from(PARTS / need.parts(POOL)).unwrap();
            assert!(calls * components <= 256 && calls * memories <= 512 && calls * tables <= 1024, "{need:?}");
        }
    }

    #[test]
    fn one_companys_plugins_leave_room_for_another_company() {
        let room = Room::new(POOL);
        let greedy: Vec<_> = (0..200).map(|n| plugin(&room, "a", &n.to_string(), 16)).collect();
        let taken: Vec<_> = greedy.iter().map(all).collect();
        // An eighth of each half for itself, then the rest of the company's share.
        assert_eq!((taken[0].len(), taken.iter().map(Vec::len).sum::<usize>()), (1 + 4, 8 + 8));
        let modest = plugin(&room, "b", "x", 2);
        assert!(modest.own.is_some() && all(&modest).len() > 16);
    }

    #[test]
    fn other_plugins_of_the_company_cannot_take_a_plugins_own_call() {
        let room = Room::new(POOL);
        let (greedy, modest) = (plugin(&room, "a", "greedy", 2), plugin(&room, "a", "modest", 2));
        let rest: Vec<_> = (0..50).map(|n| plugin(&room, "a", &n.to_string(), 2)).collect();
        let _taken = (all(&greedy), rest.iter().map(all).collect::<Vec<_>>());
        let own = modest.free().unwrap();
        assert!(modest.free().is_none());
        drop(own);
        assert!(modest.free().is_some());
    }
}
