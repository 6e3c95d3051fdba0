//! Permits for CPU-bound work: a few at a time, and one at a time per company, so that a company with many or slow
//! modules does not hold all of them.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Maximum number of permits, independent of the number of cores, because each compilation may use
/// `plugins.compile_mib` of memory.
const MOST: usize = 4;

/// Permits, granted in the order of requests.
#[derive(Debug, Clone)]
pub(in crate::plugin) struct Turns(Arc<TurnQueue>);

#[derive(Debug)]
struct TurnQueue {
    most: usize,
    state: Mutex<TurnState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct TurnState {
    next: u64,
    waiting: VecDeque<(u64, String)>,
    /// Companies that hold a permit.
    busy: HashSet<String>,
}

/// A permit, until it is dropped.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<TurnQueue>,
    company: String,
}

impl Turns {
    /// Creates one permit per core, at most [`MOST`].
    pub(in crate::plugin) fn start() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // At least two, so that a slow company does not block another one.
        Self::of(cores.clamp(2, MOST))
    }

    fn of(most: usize) -> Self {
        Self(Arc::new(TurnQueue { most, state: Mutex::default(), changed: Condvar::new() }))
    }

    /// Waits for a permit.
    pub(in crate::plugin) fn take(&self, company: &str) -> Permit {
        let shared = &self.0;
        let mut state = shared.state();
        let number = state.next;
        state.next += 1;
        state.waiting.push_back((number, company.to_owned()));
        while !state.is_next(number, shared.most) {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.retain(|(it, _)| *it != number);
        state.busy.insert(company.to_owned());
        drop(state);
        // Another request may be next now if a permit is left.
        shared.changed.notify_all();
        Permit { shared: Arc::clone(shared), company: company.to_owned() }
    }
}

impl TurnState {
    /// Returns whether this request is the first whose company holds no permit.
    fn is_next(&self, number: u64, most: usize) -> bool {
        let first = self.waiting.iter().find(|(_, company)| !self.busy.contains(company));
        self.busy.len() < most && first.is_some_and(|(it, _)| *it == number)
    }
}

impl TurnQueue {
    fn state(&self) -> MutexGuard<'_, TurnState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.state().busy.remove(&self.company);
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_company_has_one_permit_and_the_next_one_goes_to_another() {
        let turns = Turns::of(2);
        let a = turns.take("a");
        let mut state = TurnState { busy: ["a".to_owned()].into(), ..TurnState::default() };
        state.waiting.extend([(1, "a".to_owned()), (2, "b".to_owned()), (3, "c".to_owned())]);
        assert!(!state.is_next(1, 2) && state.is_next(2, 2) && !state.is_next(3, 2));
        assert!(!state.is_next(2, 1), "no permit is left");
        let b = turns.take("b");
        drop((a, b));
        drop(turns.take("a"));
    }
}
