//! Checks signatures over large bodies off the reactor, a few at a time. Strangers can send any number of them, and no other
//! request waits for them.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::problem::Problem;
use crate::auth::signature::FetchedKeys;
use crate::integration::{Claimed, Integration};
use crate::service::app::App;

/// Most bytes that one delivery hashes on the reactor: about 0.1 ms.
const INLINE_BYTES: usize = 64 * 1024;

/// Checks the body against the sender's signature or secret, with keys that are fetched if the sender publishes them.
/// Returns which secret matched.
pub(super) async fn check(
    app: &App,
    integration: &Arc<Integration>,
    claimed: Claimed,
    body: &Bytes,
    given_up: impl Future<Output = &'static str>,
) -> Result<Option<usize>, Problem> {
    let cost = integration.auth.cost(&claimed, body.len());
    let given_up = std::pin::pin!(given_up);
    let mut given_up = given_up;
    let (mut claimed, mut fetched) = (claimed, FetchedKeys::default());
    if integration.auth.may_want(&claimed) {
        let (of, sent) = (Arc::clone(integration), body.clone());
        let (wanted, same) =
            run(&app.proofs, cost, given_up.as_mut(), move || (of.auth.wanted(&claimed, &sent), claimed)).await?;
        claimed = same;
        fetched = tokio::select! {
            fetched = app.sender_keys.get(wanted?, integration) => fetched?,
            setting = given_up.as_mut() => return Err(Problem::NoRoom(setting)),
        };
    }
    let (integration, body) = (Arc::clone(integration), body.clone());
    Ok(run(&app.proofs, cost, given_up, move || integration.auth.check(&claimed, &body, &fetched)).await??)
}

/// Runs expensive work on a blocking thread, in one of these places, and cheap work at once. While it waits for a place, its
/// body may be dropped in favour of others.
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

    /// Otherwise a stranger's large bodies delay all requests, health checks included.
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
        // A small body does not wait.
        let _taken = Arc::clone(&places).acquire_owned().await.unwrap();
        assert_eq!(on(0).await.unwrap(), reactor);
        // A large body stops waiting when it is dropped.
        let given_up = run(&places, usize::MAX, std::future::ready("limits.x"), || ()).await;
        assert!(matches!(given_up, Err(Problem::NoRoom("limits.x"))));
    }
}
