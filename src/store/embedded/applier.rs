//! The one thread that brings durable groups into the view.
//!
//! It works beside the journal: while one group reaches the disk, the one before is applied. A view that fails is
//! built anew, in place, from the last snapshot and the journal.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::journal::group_ops;
use super::rebuild::{self, Built};
use super::shared::Shared;
use super::view::View;
use crate::store::StoreError;

/// Groups that may be durable and not yet in the view. Readers wait for them.
const BEHIND: usize = 8;
const RETRY: Duration = Duration::from_secs(1);

pub(super) enum Work {
    /// A group's bytes, and the sequence of its last record.
    Group(Vec<u8>, u64),
    /// Let a view that was built beside this one take its place.
    Swap(Box<Built>, Sender<Result<(), StoreError>>),
}

#[derive(Debug)]
pub(super) struct Applier {
    pub(super) work: Sender<Work>,
    pub(super) thread: JoinHandle<()>,
}

impl Applier {
    pub(super) fn start(view: View, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (work, receiver) = bounded(BEHIND);
        let thread =
            std::thread::Builder::new().name("store-applier".into()).spawn(move || run(view, &shared, &receiver))?;
        Ok(Self { work, thread })
    }
}

fn run(mut view: View, shared: &Shared, work: &Receiver<Work>) {
    while let Ok(work) = work.recv() {
        match work {
            Work::Group(bytes, last) => match view.apply(last, group_ops(&bytes), &shared.index, false) {
                Ok(()) => shared.set_applied(last),
                Err(error) => {
                    tracing::error!(cause = %error, "the view failed: it is built anew from the journal");
                    shared.view_failed(error);
                    // A sled that failed may wait for ever when it is dropped.
                    std::mem::forget(view.clone());
                    let Some(healed) = heal(shared, last) else { return };
                    view = healed;
                }
            },
            Work::Swap(built, done) => {
                let result = rebuild::take_over(shared, *built, view.meta.applied).map(|(built, old)| {
                    drop(std::mem::replace(&mut view, built));
                    rebuild::remove_old(&old);
                });
                let _gone = done.send(result);
            }
        }
    }
    if let Err(error) = view.flush() {
        tracing::warn!(cause = %error, "the view cannot be flushed: the next start replays the journal");
        std::mem::forget(view);
    }
}

/// Until it succeeds: the disk may be full now, and not later.
fn heal(shared: &Shared, last: u64) -> Option<View> {
    loop {
        match shared.room().and_then(|()| rebuild::anew(shared, last)) {
            Ok((view, old)) => {
                tracing::info!("the view is whole again");
                rebuild::remove_old(&old);
                return Some(view);
            }
            Err(error) => shared.view_failed(error),
        }
        // The store is being closed: the next start heals it.
        if shared.closing() {
            return None;
        }
        std::thread::sleep(RETRY);
    }
}
