//! The thread that verifies the closed segments of the journal after a start.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::journal::{Unverified, verify};
use super::shared::{Shared, journal_dir};

/// How often a pause looks whether the store is being closed.
const LOOK: Duration = Duration::from_millis(20);

/// Starts the thread; it ends when everything is verified, or with the store.
pub(super) fn start(shared: &Arc<Shared>, unverified: Vec<Unverified>) -> std::io::Result<JoinHandle<()>> {
    let (dir, salt, shared) = (journal_dir(&shared.dir), shared.salt, Arc::downgrade(shared));
    std::thread::Builder::new().name("store-verify".into()).spawn(move || {
        if unverified.is_empty() {
            return;
        }
        let started = Instant::now();
        let found = verify(&dir, &unverified, salt, &|pause| rest(&shared, pause));
        let Some(shared) = shared.upgrade() else { return };
        match found {
            Ok(damages) if damages.is_empty() => {
                tracing::info!(
                    segments = unverified.len(),
                    millis = started.elapsed().as_millis(),
                    "the journal's closed segments are verified"
                );
            }
            Ok(damages) => shared.found_damage(damages),
            Err(error) => tracing::warn!(cause = %error, "the journal's closed segments cannot be verified"),
        }
    })
}

/// Whether to end.
fn rest(shared: &Weak<Shared>, pause: Duration) -> bool {
    let started = Instant::now();
    loop {
        if shared.upgrade().is_none_or(|it| it.closing()) {
            return true;
        }
        if started.elapsed() >= pause {
            return false;
        }
        std::thread::sleep(LOOK.min(pause));
    }
}
