//! The thread that verifies the closed segments of the journal after a start.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::data_dir::journal_dir;
use super::journal::{Unverified, verify};
use super::shared::SharedStore;

/// How often a pause checks whether the store is being closed.
const LOOK: Duration = Duration::from_millis(20);

/// Starts the thread. It ends when everything is verified, or with the store.
pub(super) fn start(shared: &Arc<SharedStore>, unverified: Vec<Unverified>) -> std::io::Result<JoinHandle<()>> {
    shared.unverified.store(unverified.len() as u64, Ordering::Release);
    let weak = Arc::downgrade(shared);
    let (dir, salt, segments) = (journal_dir(&shared.dir), shared.salt, Arc::clone(&shared.segments));
    std::thread::Builder::new().name("store-verify".into()).spawn(move || {
        let started = Instant::now();
        verify(&dir, &unverified, (&segments, salt), &mut |damages, took| {
            if let Some(shared) = weak.upgrade() {
                shared.found_damage(damages);
                shared.unverified.fetch_sub(1, Ordering::Release);
            }
            // Requests need the disk too, so the thread pauses as long as it has read.
            rest(&weak, took)
        });
        if !unverified.is_empty() && weak.upgrade().is_some_and(|it| !it.closing()) {
            tracing::info!(
                segments = unverified.len(),
                millis = started.elapsed().as_millis(),
                "the journal's closed segments have been read"
            );
        }
    })
}

/// Pauses; returns whether to continue.
fn rest(shared: &Weak<SharedStore>, pause: Duration) -> bool {
    let started = Instant::now();
    loop {
        if shared.upgrade().is_none_or(|it| it.closing()) {
            return false;
        }
        if started.elapsed() >= pause {
            return true;
        }
        std::thread::sleep(LOOK.min(pause));
    }
}
