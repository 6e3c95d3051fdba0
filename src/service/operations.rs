//! Long operations: erasures, their dry runs, backups, compactions, dry runs of plugins.
//!
//! A company has one at a time, and only a few companies' operations run at the same time; the others wait in
//! order. So a company waits for at most one operation of each other company. Each runs on a thread of its own, so
//! reads never wait for one. The operator has one of each kind, and does not wait.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::model::company::CompanyId;
use crate::system::log;

/// The owner of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A company, for its admin's operations.
    Company(CompanyId),
    /// The operator, with the kind of the operation.
    Operator(&'static str),
}

/// The running and queued operations.
#[derive(Debug)]
pub struct Operations {
    /// Owners of running and queued operations.
    owners: Mutex<HashSet<Owner>>,
    companies: Arc<Semaphore>,
}

/// Permission to run one operation. Dropping it lets the next one begin.
#[derive(Debug)]
pub struct Slot {
    operations: Arc<Operations>,
    owner: Owner,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Operations {
    /// Allows at most `most` companies' operations at the same time.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        let companies = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { owners: Mutex::default(), companies })
    }

    /// Waits for a slot; `None` if the owner has an operation already.
    pub async fn begin(self: &Arc<Self>, owner: Owner) -> Option<Slot> {
        if !self.owners().insert(owner.clone()) {
            return None;
        }
        // From here on the owner is removed on drop, also if the caller stops waiting.
        let mut slot = Slot { operations: Arc::clone(self), owner, _turn: None };
        if let Owner::Company(_) = slot.owner {
            slot._turn = Arc::clone(&self.companies).acquire_owned().await.ok();
        }
        Some(slot)
    }

    fn owners(&self) -> MutexGuard<'_, HashSet<Owner>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Runs the work on a thread of its own, and releases the slot before returning its result; `None` if there is
    /// no thread, or the work panicked.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, result) = oneshot::channel();
        let logged = log::current();
        let run = move || {
            let slot = self;
            let result = match logged {
                Some(logged) => logged.in_scope(work),
                None => work(),
            };
            drop(slot);
            let _gone = done.send(result);
        };
        std::thread::Builder::new().name("operation".into()).spawn(run).ok()?;
        result.await.ok()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.operations.owners().remove(&self.owner);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use futures_util::FutureExt as _;

    use super::*;

    fn company(name: &str) -> Owner {
        Owner::Company(CompanyId::parse(name).unwrap())
    }

    #[tokio::test]
    async fn a_company_has_one_operation_and_waits_only_for_one_of_each_other() {
        let operations = Operations::new(1);
        let first = operations.begin(company("a")).await.unwrap();
        assert!(operations.begin(company("a")).await.is_none());
        let mut second = std::pin::pin!(operations.begin(company("b")));
        assert!(second.as_mut().now_or_never().is_none(), "it waits for its turn");
        assert!(operations.begin(company("b")).await.is_none(), "and counts while it waits");
        let backup = operations.begin(Owner::Operator("backup")).await.unwrap();
        assert!(operations.begin(Owner::Operator("backup")).await.is_none());
        drop((first, backup));
        let second = second.await.unwrap();
        let mut again = Box::pin(operations.begin(company("a")));
        assert!(again.as_mut().now_or_never().is_none());
        drop(again);
        let panicked: Option<()> = second.run(|| panic!("as an operation may")).await;
        assert!(panicked.is_none());
        assert!(operations.begin(company("a")).await.is_some(), "a caller that stops waiting has no operation");
        assert!(operations.begin(company("b")).await.is_some(), "an operation that panicked has ended");
    }
}
