//! The one thread that brings durable groups into the view.
//!
//! It works beside the journal: while one group reaches the disk, the one before is applied. A view that fails, as
//! this thread or a reader finds, is built anew, in place, from the last snapshot and the journal.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

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
    /// `broken` wakes it when somebody has told [`Shared::view_failed`].
    pub(super) fn start(view: View, broken: Receiver<()>, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (work, receiver) = bounded(BEHIND);
        let thread = std::thread::Builder::new()
            .name("store-applier".into())
            .spawn(move || run(view, &shared, &receiver, &broken))?;
        Ok(Self { work, thread })
    }
}

fn run(mut view: View, shared: &Shared, work: &Receiver<Work>, broken: &Receiver<()>) {
    loop {
        select! {
            recv(work) -> next => match next {
                Ok(next) => apply(&mut view, shared, next),
                Err(_) => break,
            },
            recv(broken) -> _ => {}
        }
        if let Some(cause) = shared.view_error() {
            tracing::error!(%cause, "the read view failed: it is rebuilt from the journal");
            let Some(healed) = heal(&view, shared, work) else { return view.abandon() };
            std::mem::replace(&mut view, healed).discard(shared.take_readable());
        }
    }
    if let Err(error) = view.flush() {
        tracing::warn!(cause = %error, "the view cannot be flushed: the next start replays the journal");
        view.abandon();
    }
}

fn apply(view: &mut View, shared: &Shared, work: Work) {
    match work {
        // A rebuild had it from the journal.
        Work::Group(_, last) if last <= view.meta.applied => {}
        Work::Group(bytes, last) => match view.apply(last, group_ops(&bytes), &shared.index, false) {
            Ok(()) => shared.set_applied(last),
            Err(error) => drop(shared.view_failed(error)),
        },
        Work::Swap(built, done) => {
            let result = rebuild::take_over(shared, *built, view.meta.applied).map(|(built, old)| {
                drop(std::mem::replace(view, built));
                rebuild::remove_old(old.as_deref());
            });
            let _gone = done.send(result);
        }
    }
}

/// Until it succeeds: the disk may be full now, and not later.
fn heal(failed: &View, shared: &Shared, work: &Receiver<Work>) -> Option<View> {
    loop {
        shared.tick();
        // Nobody waits behind a view that has failed: what is here is in the journal, and comes from there.
        for next in work.try_iter() {
            if let Work::Swap(built, done) = next {
                built.give_up();
                let _gone = done.send(Err(shared.view_error().unwrap_or(StoreError::Closed)));
            }
        }
        if shared.room_for_view().is_err() {
            // There is no room for two, and this one is of no use.
            failed.give_back();
        }
        match shared.room_for_view().and_then(|()| rebuild::anew(shared)) {
            Ok((view, old)) => {
                tracing::info!("the read view is whole again");
                rebuild::remove_old(old.as_deref());
                return Some(view);
            }
            Err(StoreError::Journal(damages)) => {
                // As at a start: what cannot be made whole is not served. A restart says the same, or accepts the loss.
                shared.found_damage(damages.clone());
                shared.not_healed(StoreError::Journal(damages));
                return None;
            }
            Err(error) => shared.not_healed(error),
        }
        // The store is being closed: the next start heals it.
        if shared.closing() {
            return None;
        }
        std::thread::sleep(RETRY);
    }
}
