//! The one thread that writes.
//!
//! It takes everything that waits (up to [`GROUP`]), applies it as one atomic batch, makes that batch durable,
//! and only then answers every caller. No timer: a lone writer goes at once, and load forms the groups.

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::store::StoreError;

/// Most changes in one group, and most that may wait.
const GROUP: usize = 1024;

/// One key and its new value.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// A change that waits for its group, and who waits for it.
struct Waiting {
    writes: Vec<Write>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Waiting>>,
    healthy: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(tree: sled::Tree, dir: &Path) -> std::io::Result<Self> {
        let (queue, waiting) = mpsc::channel(GROUP);
        let healthy = Arc::new(AtomicBool::new(true));
        let disk = Disk { tree, filesystem: File::open(dir)? };
        let health = Arc::clone(&healthy);
        let thread =
            std::thread::Builder::new().name("store-writer".into()).spawn(move || run(&disk, waiting, &health))?;
        Ok(Self { queue: Some(queue), healthy, thread: Some(thread) })
    }

    /// Waits for its place in the queue, then until the change is durable.
    pub(super) async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let (done, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(Waiting { writes, done }).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Writes what is still queued, and ends. Gives whether every write has reached the disk.
    pub(super) fn close(&mut self) -> bool {
        self.queue = None;
        self.thread.take().is_none_or(|thread| thread.join().is_ok()) && self.healthy.load(Ordering::Relaxed)
    }

    pub(super) fn ready(&self) -> Result<(), StoreError> {
        let open = self.queue.as_ref().is_some_and(|queue| !queue.is_closed());
        match (open, self.healthy.load(Ordering::Relaxed)) {
            (false, _) => Err(StoreError::Closed),
            (true, false) => Err(StoreError::Write("a write failed, and none is taken until a restart".into())),
            (true, true) => Ok(()),
        }
    }
}

fn run(disk: &Disk, mut waiting: mpsc::Receiver<Waiting>, healthy: &AtomicBool) {
    let mut group = Vec::with_capacity(GROUP);
    let mut broken = None;
    while waiting.blocking_recv_many(&mut group, GROUP) > 0 {
        let mut batch = sled::Batch::default();
        let mut callers = Vec::with_capacity(group.len());
        for Waiting { writes, done } in group.drain(..) {
            writes.into_iter().for_each(|write| batch.insert(write.key, write.value));
            callers.push(done);
        }
        // After a failed write sled takes no other, and waits forever when asked to.
        let outcome = broken.clone().map_or_else(|| disk.commit(batch), Err);
        if let Err(error) = &outcome
            && broken.is_none()
        {
            tracing::error!(cause = %error, changes = callers.len(), "a write failed: nothing is stored until a restart");
            healthy.store(false, Ordering::Relaxed);
            broken = Some(error.clone());
        }
        for done in callers {
            // A caller that has gone away misses its answer only; the change stands.
            let _gone = done.send(outcome.clone());
        }
    }
}

struct Disk {
    tree: sled::Tree,
    filesystem: File,
}

impl Disk {
    /// The journal's group goes first here: it becomes the truth, and the tree a view of it.
    fn commit(&self, batch: sled::Batch) -> Result<(), StoreError> {
        std::panic::catch_unwind(AssertUnwindSafe(|| self.apply(batch)))
            .unwrap_or_else(|_| Err(StoreError::Write("sled panicked".into())))
    }

    fn apply(&self, batch: sled::Batch) -> Result<(), StoreError> {
        let failed = |e: &dyn std::fmt::Display| StoreError::Write(e.to_string());
        self.tree.apply_batch(batch).map_err(|e| failed(&e))?;
        self.tree.flush().map_err(|e| failed(&e))?;
        // sled's flush leaves the file's metadata in memory (sync_file_range): a power cut then loses it all.
        rustix::fs::syncfs(&self.filesystem).map_err(|e| failed(&e))
    }
}
