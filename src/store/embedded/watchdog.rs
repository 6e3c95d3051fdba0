//! The watchdog: the last resort if sled hangs. sled then holds a lock of every sled in the process, so nothing can
//! be repaired in this process, but a restart repairs everything.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::shared::SharedStore;

const LOOK: Duration = Duration::from_secs(5);
/// How long the view may make no progress while it has work to do. A rebuild makes progress all the time; a disk
/// that stalls for longer is considered broken.
const LIMIT: Duration = Duration::from_secs(300);
/// `EX_SOFTWARE` of sysexits.h: a service manager restarts the server.
const EXIT: i32 = 70;

/// The thread that watches a store. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub(super) fn start(shared: &Arc<SharedStore>) -> std::io::Result<Self> {
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let shared = Arc::downgrade(shared);
        let thread =
            std::thread::Builder::new().name("store-watchdog".into()).spawn(move || watch(&shared, &stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop = None;
        if self.thread.take().is_some_and(|it| it.join().is_err()) {
            tracing::error!("the watchdog panicked");
        }
    }
}

fn watch(shared: &Weak<SharedStore>, stopped: &Receiver<()>) {
    let (mut beat, mut since) = (0, Instant::now());
    while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        let Some(shared) = shared.upgrade() else { return };
        let now = shared.beat();
        if now != beat || !shared.is_behind() {
            (beat, since) = (now, Instant::now());
        } else if since.elapsed() > LIMIT {
            tracing::error!(
                "the read view hangs; all acknowledged changes are in the journal; the process exits so that it can be restarted"
            );
            std::process::exit(EXIT);
        }
    }
}
