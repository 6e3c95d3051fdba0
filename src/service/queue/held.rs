//! How many queued events this server has claimed, and how many there are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::limits::shares::UsedUp;
use crate::model::company::CompanyId;
use crate::store::{ClaimRequest, Depth, QueueOf, SuspectRoom};

/// Maximum number of claims of a server. More would wait here while other servers are idle.
const HELD: usize = 2048;
/// Maximum number of its claims on events of one integration, so that a slow one leaves room for the others.
const EACH: usize = 256;
/// Number of claims that each integration may have, even if the others have taken all the room.
pub(super) const FIRST: usize = 8;
/// Number of events that are claimed at once, apart from the first ones.
const AT_ONCE: usize = 512;
/// An integration that has more claims than the first ones gets others only when this many are settled, so that a claim is worth
/// its transaction.
const WORTH: usize = EACH / 2;
/// Maximum number of claims on events that were interrupted once before, and of those of one integration, so that a slow one
/// leaves room for the others.
const SUSPECTS: (usize, usize) = (32, 8);

/// The claims of this server.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: Mutex<HeldClaims>,
    /// One claim at a time, so that each knows what the one before has taken.
    pub(super) one: tokio::sync::Mutex<()>,
    /// Wakes the work on queued events: there is room for more.
    pub(super) room: Notify,
}

#[derive(Debug, Default)]
struct HeldClaims {
    by: HashMap<QueueOf, usize>,
    all: usize,
    /// Claims on events that were interrupted once before.
    again: HashMap<QueueOf, usize>,
    all_again: usize,
    /// Number of claims on events that were interrupted more often.
    often: usize,
}

impl Claims {
    /// Returns how many events of these integrations may be claimed now.
    pub(super) fn room_for(&self, queues: Vec<QueueOf>) -> Vec<ClaimRequest> {
        let held = self.held();
        let each: Vec<usize> = queues.iter().map(|it| held.by.get(it).copied().unwrap_or(0)).collect();
        let most = room(&each, held.all);
        let asked = queues.into_iter().zip(most).filter(|it| it.1 > 0);
        let request = |(of, most): (QueueOf, usize)| {
            let again = SUSPECTS.1.saturating_sub(held.again.get(&of).copied().unwrap_or(0));
            ClaimRequest { of, most, again }
        };
        asked.map(request).collect()
    }

    /// Returns how many events may be claimed that were claimed before without a result. If an event makes servers crash, few of
    /// those that happen to be there are counted with it again, and after that none.
    pub(super) fn suspect_room(&self) -> SuspectRoom {
        let held = self.held();
        SuspectRoom { again: SUSPECTS.0.saturating_sub(held.all_again), often: held.often == 0 }
    }

    fn held(&self) -> MutexGuard<'_, HeldClaims> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns how many more events of each integration may be claimed, of which these are held.
fn room(each: &[usize], all: usize) -> Vec<usize> {
    let mut left = HELD.saturating_sub(all).min(AT_ONCE);
    let mut sharing = each.iter().filter(|it| (FIRST..=EACH - WORTH).contains(*it)).count();
    let share = |held: &usize| {
        if *held < FIRST {
            return FIRST - held;
        }
        if *held > EACH - WORTH {
            return 0;
        }
        let most = (EACH - held).min(left.div_ceil(sharing));
        left -= most;
        sharing -= 1;
        most
    };
    each.iter().map(share).collect()
}

/// Counts a claim of this server until it is dropped.
#[derive(Debug)]
pub(super) struct HeldClaim {
    claims: Arc<Claims>,
    of: QueueOf,
    /// How often it was claimed, with this time.
    attempts: u32,
}

impl HeldClaim {
    pub(super) fn of(claims: &Arc<Claims>, of: QueueOf, attempts: u32) -> Self {
        let mut held = claims.held();
        *held.by.entry(of.clone()).or_default() += 1;
        held.all += 1;
        match attempts {
            0 | 1 => {}
            2 => {
                *held.again.entry(of.clone()).or_default() += 1;
                held.all_again += 1;
            }
            _ => held.often += 1,
        }
        drop(held);
        Self { claims: Arc::clone(claims), of, attempts }
    }
}

impl Drop for HeldClaim {
    fn drop(&mut self) {
        let mut held = self.claims.held();
        held.all -= 1;
        let left = one_less(&mut held.by, &self.of);
        match self.attempts {
            0 | 1 => {}
            2 => {
                one_less(&mut held.again, &self.of);
                held.all_again -= 1;
            }
            _ => held.often -= 1,
        }
        let is_next = match self.attempts {
            0 | 1 => false,
            2 => held.all_again <= SUSPECTS.0 / 2,
            _ => true,
        };
        drop(held);
        // Not for each of them, so that many are claimed at once.
        if is_next || left == 0 || left == EACH / 2 {
            self.claims.room.notify_one();
        }
    }
}

/// Counts one less of an integration, and returns how many are left.
fn one_less(counts: &mut HashMap<QueueOf, usize>, of: &QueueOf) -> usize {
    let left = counts.get_mut(of).map_or(0, |it| {
        *it -= 1;
        *it
    });
    if left == 0 {
        counts.remove(of);
    }
    left
}

/// How many events are queued in the store, as of a moment ago.
#[derive(Debug)]
pub(super) struct KnownDepth(pub(super) watch::Receiver<Depth>);

impl KnownDepth {
    /// Checks that another event of a company may be queued: a company gets at most three quarters of all places.
    pub(super) fn has_room(&self, most: usize, company: &CompanyId) -> Result<(), UsedUp> {
        let (depth, most) = (self.0.borrow(), most as u64);
        let own = depth.companies.iter().find(|it| it.0 == *company).map_or(0, |it| it.1);
        if depth.all >= most {
            Err(UsedUp::Whole)
        } else if own >= most - most / 4 {
            Err(UsedUp::Company)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AT_ONCE, EACH, FIRST, HELD, WORTH, room};

    /// A slow integration would take all the room, and the deliveries of all others would wait for it.
    #[test]
    fn each_integration_has_room_whatever_the_others_hold() {
        assert_eq!(room(&[0, 3, FIRST, EACH - WORTH + 1, EACH], 0), [FIRST, FIRST - 3, EACH - FIRST, 0, 0]);
        assert_eq!(room(&[0, 7, 8, 100, EACH], HELD), [FIRST, 1, 0, 0, 0]);
        assert_eq!(room(&[0], HELD * 2), [FIRST]);
    }

    /// More claims than a server can process would wait here while other servers are idle.
    #[test]
    fn integrations_share_what_is_left() {
        assert_eq!(room(&[100, 120, 100], HELD - 10), [4, 3, 3]);
        let many = room(&[FIRST; 1000], FIRST * 1000);
        assert_eq!(many.iter().sum::<usize>(), 0);
        assert!(room(&[FIRST; 100], FIRST * 100).iter().sum::<usize>() <= AT_ONCE);
    }
}
