//! The thread that applies durable groups to the read view.
//!
//! It runs in parallel with the writer: while one group is synced to disk, the previous one is applied. A read view
//! that fails, in this thread or for a reader, is rebuilt in place from the last snapshot and the journal.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::journal::group_ops;
use super::rebuild::{self, Built};
use super::shared::SharedStore;
use super::view::View;
use super::view_dir;
use crate::metrics::store::{Rebuild, STORE};
use crate::store::error::StoreError;

/// Maximum number of durable groups that are not in the read view yet. Readers wait for them.
const BEHIND: usize = 8;
const RETRY: Duration = Duration::from_secs(1);

pub(super) enum ApplierWork {
    /// A group's bytes, and the sequence of its last record.
    Group(Vec<u8>, u64),
    /// Replaces the current read view with one that was built in the background.
    Swap(Box<Built>, Sender<Result<(), StoreError>>),
}

#[derive(Debug)]
pub(super) struct Applier {
    pub(super) work: Sender<ApplierWork>,
    pub(super) thread: JoinHandle<()>,
}

impl Applier {
    /// Starts the thread. `broken` wakes it after a call of [`SharedStore::view_failed`].
    pub(super) fn start(view: View, broken: Receiver<()>, shared: Arc<SharedStore>) -> std::io::Result<Self> {
        let (work, receiver) = bounded(BEHIND);
        let thread = std::thread::Builder::new()
            .name("store-applier".into())
            .spawn(move || run(view, &shared, &receiver, &broken))?;
        Ok(Self { work, thread })
    }
}

fn run(mut view: View, shared: &SharedStore, work: &Receiver<ApplierWork>, broken: &Receiver<()>) {
    loop {
        select! {
            recv(work) -> next => match next {
                Ok(next) => apply(&mut view, shared, next),
                Err(_) => break,
            },
            recv(broken) -> _ => {}
        }
        if let Some(cause) = shared.view_error() {
            tracing::error!(%cause, "the read view failed and is being rebuilt from the journal");
            let Some(healed) = heal(&view, shared, work) else { return view.abandon() };
            std::mem::replace(&mut view, healed).discard(shared.take_readable());
        }
    }
    if let Err(error) = view.flush() {
        tracing::warn!(cause = %error, "the read view cannot be flushed; the next start replays the journal");
        view.abandon();
    }
}

fn apply(view: &mut View, shared: &SharedStore, work: ApplierWork) {
    match work {
        // A rebuild has already read this group from the journal.
        ApplierWork::Group(_, last) if last <= view.meta.applied => {}
        ApplierWork::Group(bytes, last) => {
            let started = Instant::now();
            let applied = view.apply(last, group_ops(&bytes), &shared.index, false);
            STORE.apply.took(started.elapsed());
            match applied {
                Ok(()) => shared.set_applied(last),
                Err(error) => drop(shared.view_failed(error)),
            }
        }
        ApplierWork::Swap(built, done) => {
            let result = rebuild::take_over(shared, *built, view.meta.applied).map(|(built, old)| {
                STORE.rebuilt(Rebuild::Compact);
                drop(std::mem::replace(view, built));
                view_dir::remove_old(old.as_deref());
            });
            let _gone = done.send(result);
        }
    }
}

/// Rebuilds a failed read view and retries until it succeeds: a full disk, for example, may be temporary.
fn heal(failed: &View, shared: &SharedStore, work: &Receiver<ApplierWork>) -> Option<View> {
    loop {
        shared.tick();
        // Discard queued work, so that no caller waits for a failed view. The groups are in the journal, and the
        // rebuild reads them from there.
        for next in work.try_iter() {
            if let ApplierWork::Swap(built, done) = next {
                built.give_up();
                let _gone = done.send(Err(shared.view_error().unwrap_or(StoreError::Closed)));
            }
        }
        if shared.room_for_view().is_err() {
            // There is no room for two views, and the failed one is of no use.
            failed.give_back();
        }
        match shared.room_for_view().and_then(|()| rebuild::replace_failed(shared)) {
            Ok((view, old)) => {
                STORE.rebuilt(Rebuild::Failure);
                tracing::info!("the read view has been rebuilt");
                view_dir::remove_old(old.as_deref());
                return Some(view);
            }
            Err(StoreError::Journal(damages)) => {
                // As at a start: an incomplete read view is not served. After a restart, the admin can accept the
                // loss.
                shared.found_damage(damages.clone());
                shared.not_healed(StoreError::Journal(damages));
                return None;
            }
            Err(error) => shared.not_healed(error),
        }
        // The store is being closed; the next start rebuilds the view.
        if shared.closing() {
            return None;
        }
        std::thread::sleep(RETRY);
    }
}
