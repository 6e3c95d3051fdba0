//! A few calls of each company at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::company::CompanyId;

/// Counts the calls of each company, and refuses those beyond the maximum. No company takes anything from another one.
#[derive(Debug)]
pub(crate) struct FewOfEach {
    most: usize,
    running: Mutex<HashMap<CompanyId, usize>>,
}

/// A call that is counted until it is dropped.
#[derive(Debug)]
pub(crate) struct OneOfFew {
    all: Arc<FewOfEach>,
    company: CompanyId,
}

impl FewOfEach {
    /// Allows this many calls of each company.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, running: Mutex::default() })
    }

    /// Counts a call; `None` if as many of the company are running as may.
    pub(crate) fn begin(self: &Arc<Self>, company: &CompanyId) -> Option<OneOfFew> {
        let mut running = self.running();
        let own = running.entry(company.clone()).or_default();
        if *own >= self.most {
            return None;
        }
        *own += 1;
        drop(running);
        Some(OneOfFew { all: Arc::clone(self), company: company.clone() })
    }

    fn running(&self) -> MutexGuard<'_, HashMap<CompanyId, usize>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OneOfFew {
    fn drop(&mut self) {
        let mut running = self.all.running();
        if let Some(own) = running.get_mut(&self.company) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                running.remove(&self.company);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise one company's searches delay those of all others.
    #[test]
    fn each_company_has_its_own() {
        let few = FewOfEach::new(2);
        let [one, other] = ["company-1", "company-2"].map(|it| CompanyId::parse(it).unwrap());
        let first = few.begin(&one).unwrap();
        let _second = few.begin(&one).unwrap();
        assert!(few.begin(&one).is_none() && few.begin(&other).is_some());
        drop(first);
        assert!(few.begin(&one).is_some() && few.running().len() == 1);
    }
}
