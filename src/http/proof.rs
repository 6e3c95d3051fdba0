//! Signatures over large bodies are checked off the reactor, some at a time: strangers can send as many as they like, and
//! nobody else's request waits for them.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::Problem;
use crate::app::App;
use crate::integration::{Claimed, Integration};

/// Most bytes that are hashed on the reactor for one delivery: about 0.1 ms.
const INLINE_BYTES: usize = 64 * 1024;

/// Nothing, where the body fits what its sender has claimed.
pub(super) async fn check(
    app: &App,
    integration: &Arc<Integration>,
    claimed: Claimed,
    body: &Bytes,
    given_up: impl Future<Output = &'static str>,
) -> Result<(), Problem> {
    let cost = integration.auth.cost(&claimed, body.len());
    let (integration, body) = (Arc::clone(integration), body.clone());
    Ok(run(&app.proofs, cost, given_up, move || integration.auth.check(&claimed, &body)).await??)
}

/// Runs what costs much on a blocking thread, in one of these places, and what costs little at once. While it waits for a
/// place, its body may be given up for those of others.
async fn run<T: Send + 'static>(
    places: &Arc<Semaphore>,
    cost: usize,
    given_up: impl Future<Output = &'static str>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    if cost <= INLINE_BYTES {
        return Ok(work());
    }
    let place = tokio::select! {
        place = Arc::clone(places).acquire_owned() => place.map_err(|_| Problem::Internal)?,
        setting = given_up => return Err(Problem::NoRoom(setting)),
    };
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    });
    done.await.map_err(|_| Problem::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    /// Else a stranger's large bodies hold up everybody's requests, health checks included.
    #[tokio::test]
    async fn large_proofs_leave_the_reactor_and_are_few_at_a_time() {
        let places = Arc::new(Semaphore::new(1));
        let reactor = thread::current().id();
        let never = std::future::pending::<&'static str>;
        let on = |cost| run(&places, cost, never(), || thread::current().id());
        assert_eq!(on(INLINE_BYTES).await.unwrap(), reactor);
        assert_ne!(on(INLINE_BYTES + 1).await.unwrap(), reactor);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let all = (0..8).map(|_| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            run(&places, usize::MAX, never(), move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
            })
        });
        futures_util::future::join_all(all).await;
        assert_eq!(most.load(Ordering::SeqCst), 1);
        // A small one waits for none of them.
        let _taken = Arc::clone(&places).acquire_owned().await.unwrap();
        assert_eq!(on(0).await.unwrap(), reactor);
        // A large one that waits gives way when its body is given up.
        let given_up = run(&places, usize::MAX, std::future::ready("limits.x"), || ()).await;
        assert!(matches!(given_up, Err(Problem::NoRoom("limits.x"))));
    }
}
