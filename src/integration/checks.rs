//! Checks that take long: on threads of their own, a few for each integration, so that one integration's schema takes
//! nothing from another's deliveries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, oneshot};

use crate::event::IntegrationName;

/// Long checks of one integration at once.
const AT_ONCE: usize = 2;
/// Long checks of one integration that may wait for their turn.
const WAITING: usize = 32;

/// Why a check was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotChecked {
    /// As many are running and waiting as there may be.
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
    /// Makes a check on a thread of its own, when it is its turn.
    ///
    /// # Errors
    /// Where too many are waiting, or the thread fails.
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
            // Before the answer, so that its receiver finds the place free.
            drop(place);
            let _gone = done.send(result);
        });
        spawned.map_err(|_| NotChecked::Busy)?;
        result.await.map_err(|_| NotChecked::Failed)
    }
}

/// One that waits. It is counted no longer when it is dropped, as when its caller has gone.
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

/// Gives this thread a tenth of the processor time of others, where those want it.
fn step_back() {
    // Not the idle class: it shares locks with the others, and gets to release them.
    #[allow(unsafe_code, reason = "a system call on numbers, for this thread only")]
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 10);
    }
}
