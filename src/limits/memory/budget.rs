//! A number of bytes that companies share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::model::company::CompanyId;

/// A single company may use one part in this many.
const PART: usize = 2;

/// A budget of bytes.
#[derive(Debug)]
pub(crate) struct Budget {
    most: usize,
    held: Mutex<BudgetBytes>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct BudgetBytes {
    all: usize,
    /// Bytes by company; the operator has no company.
    each: HashMap<Option<CompanyId>, usize>,
}

/// Bytes that are in use until this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    company: Option<CompanyId>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, held: Mutex::default(), freed: Notify::new() }
    }

    /// Charges a company; `None` if it, or all together, would use too much.
    pub(crate) fn charge(self: &Arc<Self>, company: Option<CompanyId>, bytes: usize) -> Option<Charge> {
        let mut charge = Charge { budget: Arc::clone(self), company, bytes: 0 };
        charge.grow_to(bytes).then_some(charge)
    }

    /// Charges a company, waiting for others to finish. A request for more than a company's part gets the whole
    /// part.
    pub(crate) async fn charge_within(
        self: &Arc<Self>,
        company: Option<CompanyId>,
        bytes: usize,
        timeout: Duration,
    ) -> Option<Charge> {
        let bytes = bytes.min(self.most / PART);
        let waiting = async {
            loop {
                let freed = self.freed.notified();
                if let Some(charge) = self.charge(company.clone(), bytes) {
                    return charge;
                }
                freed.await;
            }
        };
        tokio::time::timeout(timeout, waiting).await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, BudgetBytes> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BudgetBytes {
    fn add(&mut self, company: &Option<CompanyId>, more: usize) {
        if more > 0 {
            self.all += more;
            *self.each.entry(company.clone()).or_default() += more;
        }
    }
}

impl Charge {
    /// Increases the charge to `bytes`; returns false if that is too much.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let mut held = self.budget.lock();
        let own = held.each.get(&self.company).copied().unwrap_or(0);
        let fits = held.all.saturating_add(more) <= self.budget.most;
        if more > 0 && !(fits && own.saturating_add(more) <= self.budget.most / PART) {
            return false;
        }
        held.add(&self.company, more);
        self.bytes += more;
        true
    }

    /// Increases the charge even if the budget is exceeded, because the result of a completed change must be sent.
    pub(crate) fn force_to(&mut self, bytes: usize) {
        let more = bytes.saturating_sub(self.bytes);
        self.budget.lock().add(&self.company, more);
        self.bytes += more;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut held = self.budget.lock();
        held.all -= self.bytes;
        if let Some(own) = held.each.get_mut(&self.company) {
            *own -= self.bytes;
            if *own == 0 {
                held.each.remove(&self.company);
            }
        }
        drop(held);
        self.budget.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_company_gets_half_and_leaves_the_rest_to_others() {
        let budget = Arc::new(Budget::new(100));
        let company = |name: &str| CompanyId::parse(name).ok();
        let mut first = budget.charge(company("a"), 30).unwrap();
        assert!(first.grow_to(50) && !first.grow_to(51));
        assert!(budget.charge(company("a"), 1).is_none());
        let other = budget.charge(company("b"), 50).unwrap();
        assert!(budget.charge(company("c"), 1).is_none(), "all of it is held");
        drop(first);
        assert!(budget.charge(company("c"), 50).is_some());
        let waits = budget.charge_within(company("b"), 1000, Duration::from_secs(60));
        let (charged, ()) = tokio::join!(waits, async { drop(other) });
        assert!(charged.is_some(), "more than its part is its part");
        drop(charged);
        assert!(budget.lock().each.is_empty() && budget.lock().all == 0);
    }
}
