//! The last resort against a sled that hangs: it holds a lock of every sled in the process, so nothing in here can be
//! mended then, and a restart mends all of it.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::shared::Shared;

const LOOK: Duration = Duration::from_secs(5);
/// How long the view may have work to do and do none of it. Rebuilding moves on all the time; a disk that stalls for
/// longer than this is as good as broken.
const LIMIT: Duration = Duration::from_secs(300);
/// `EX_SOFTWARE` of sysexits.h: a service manager restarts the server.
const EXIT: i32 = 70;

/// Starts the thread; it ends with the store.
pub(super) fn start(shared: &Arc<Shared>) -> std::io::Result<()> {
    let shared = Arc::downgrade(shared);
    std::thread::Builder::new().name("store-watchdog".into()).spawn(move || watch(&shared)).map(drop)
}

fn watch(shared: &Weak<Shared>) {
    let (mut beat, mut since) = (0, Instant::now());
    loop {
        std::thread::sleep(LOOK);
        let Some(shared) = shared.upgrade() else { return };
        let now = shared.beat();
        if now != beat || !shared.is_behind() {
            (beat, since) = (now, Instant::now());
        } else if since.elapsed() > LIMIT {
            tracing::error!(
                "the database hangs; everything acknowledged is in the journal: the process ends, to be restarted"
            );
            std::process::exit(EXIT);
        }
    }
}
