//! Runs long schema checks on threads of their own, a few per integration, so that one integration's schema does
//! not slow down another's deliveries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, oneshot};

use crate::model::ids::IntegrationName;

/// Maximum number of concurrent long checks per integration.
const AT_ONCE: usize = 2;
/// Maximum number of queued long checks per integration.
const WAITING: usize = 32;

/// Why a check was not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotChecked {
    /// The queue is full.
    Busy,
    /// Its thread has failed.
    Failed,
}

/// An integration's long checks.
#[derive(Debug)]
pub struct Checks {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Default for Checks {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), waiting: AtomicUsize::new(0) }
    }
}

impl Checks {
    /// Runs a check on a thread of its own, when it is its turn.
    ///
    /// # Errors
    /// Fails if the queue is full, or if the thread fails.
    pub async fn make<T: Send + 'static>(
        &self,
        name: &IntegrationName,
        check: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotChecked> {
        let waits = Waits::begin(&self.waiting).ok_or(NotChecked::Busy)?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| NotChecked::Failed)?;
        drop(waits);
        let (done, result) = oneshot::channel();
        let thread = std::thread::Builder::new().name(format!("schema-{name}"));
        let spawned = thread.spawn(move || {
            step_back();
            let result = check();
            // Released before the result is sent, so that its receiver finds a free place.
            drop(place);
            let _gone = done.send(result);
        });
        spawned.map_err(|_| NotChecked::Busy)?;
        result.await.map_err(|_| NotChecked::Failed)
    }
}

/// A queued check. Dropping it removes it from the count, also when its caller has gone.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Option<Self> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let waits = Self(waiting);
        (before < WAITING + AT_ONCE).then_some(waits)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lowers the priority of this thread to a tenth of the CPU time of others, if these are busy.
fn step_back() {
    // Not the idle class: this thread shares locks with others, and must be able to release them.
    #[allow(unsafe_code, reason = "a system call on numbers, for this thread only")]
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 10);
    }
}
