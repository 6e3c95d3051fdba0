//! The start: the directory's lock, the journal, and a complete read view.
//!
//! Only the end of the journal is read, and what the read view has not applied yet, so the start does not take
//! longer with more events. Closed segments are verified in the background (`verify.rs`). If an earlier
//! verification has found damage, or with `--accept-loss`, everything is read first.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};

use super::backend::Embedded;
use super::data_dir::{journal_dir, refuse_unfinished, snapshot_dir};
use super::decide::Stored;
use super::index::Index;
use super::journal::{Accepted, Opened, Survey, known_damaged, sync_dir};
use super::options::StoreOptions;
use super::private::{create_private_dir, make_private};
use super::recent::Recent;
use super::shared::{Parts, SharedStore};
use super::source::Source;
use super::view::View;
use super::watchdog::Watchdog;
use super::writer::Writer;
use super::{lineage, rebuild, snapshot, verify, view_dir};
use crate::metrics::store::{Rebuild, STORE};
use crate::store::dir_lock::DirLock;
use crate::store::error::StoreError;

impl Embedded {
    /// Opens `dir` and holds its lock until dropped. Creates the directory if it does not exist.
    ///
    /// A read view that is missing, behind, damaged or hanging is rebuilt from the journal, and this is logged.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process holds the directory, [`StoreError::Journal`] if acknowledged
    /// changes are damaged and no admin has accepted that, [`StoreError::Open`] if the directory cannot be read.
    pub fn open(dir: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        Self::open_with(dir, options, false)
    }

    /// Opens `dir`. With `force_rebuild`, always rebuilds the read view.
    pub(super) fn open_with(dir: &Path, options: &StoreOptions, force_rebuild: bool) -> Result<Self, StoreError> {
        let failed = |cause: &dyn std::fmt::Display| StoreError::Open {
            dir: dir.display().to_string(),
            cause: cause.to_string(),
        };
        if !crate::system::clock::is_set() {
            return Err(failed(&"the system clock shows a time before 1970; set it and start again"));
        }
        create_private_dir(dir).map_err(|e| failed(&e))?;
        refuse_unfinished(dir)?;
        let lock = Arc::new(DirLock::take(dir)?);
        make_private(dir, options.group_access).map_err(|e| failed(&e))?;
        if dir.join("sled").exists() {
            return Err(failed(&"it was created by a version before the first release; start with a new directory"));
        }
        for part in [journal_dir(dir), snapshot_dir(dir)] {
            create_private_dir(&part).map_err(|e| failed(&e))?;
        }
        sync_dir(dir).map_err(|e| failed(&e))?;
        let view = match view_dir::current(dir).filter(|it| it.exists() && !force_rebuild) {
            Some(path) => View::open(&path),
            None => Err(failed(&"there is none")),
        };
        let applied = view.as_ref().map_or(0, |it| it.meta.applied);
        let journal = journal_dir(dir);
        let everything = options.accept_loss || known_damaged(&journal);
        let (survey, read) = std::thread::scope(|scope| {
            let survey = scope
                .spawn(|| if everything { Survey::of(&journal, applied) } else { Survey::quick(&journal, applied) });
            let read = view.and_then(|view| view.read_all().map(|index| (view, index)));
            (survey.join(), read)
        });
        let survey = survey.map_err(|_| failed(&"reading the journal panicked"))?.map_err(|e| failed(&e))?;
        if options.accept_loss && survey.has_lost() {
            // First, so that no start after this one can accept cursors from before the loss.
            lineage::end(dir).map_err(|e| failed(&e))?;
        }
        let opened = survey.open(&journal, options.segment_bytes, options.accept_loss)?;
        log_findings(&opened);
        let fresh = opened.journal.last() == 0;
        let (view, index) = whole_view(dir, read, &opened, fresh)?;
        view_dir::remove_strays(dir).map_err(|e| failed(&e))?;
        start(dir, options, opened, view, index, lock).map_err(|e| failed(&e))
    }
}

fn log_findings(opened: &Opened) {
    if let Some(torn) = &opened.torn {
        tracing::warn!(place = %torn, "the journal's last group was cut off by a crash; it was never acknowledged");
    }
    for damage in &opened.lost {
        tracing::error!(place = %damage, "acknowledged changes are lost; --accept-loss was given");
    }
}

/// Returns the existing read view, updated from the journal, or a rebuilt one.
fn whole_view(
    dir: &Path,
    read: Result<(View, Index), StoreError>,
    opened: &Opened,
    fresh: bool,
) -> Result<(View, Index), StoreError> {
    let (segments, last) = (opened.journal.segments(), opened.journal.last());
    let entries = AtomicU64::new(0);
    let accepted = Accepted::read(&journal_dir(dir));
    let source =
        Source { snapshot: None, segments, salt: opened.journal.salt(), accepted: &accepted, entries: &entries };
    let oldest = segments.oldest().map_or(1, |(_, first)| first);
    let cause = match read {
        // The view may be intact, but without free space it can be neither checked nor rebuilt.
        Err(error @ StoreError::NoSpace(_)) => return Err(error),
        Ok((view, _)) if view.meta.applied > last => "it has more changes than the journal".to_owned(),
        Ok((view, _)) if view.meta.applied + 1 < oldest => "it is older than the journal".to_owned(),
        Ok((mut view, index)) => {
            let index = RwLock::new(index);
            match source.catch_up(&mut view, &index, last, false) {
                Ok(()) => return Ok((view, index.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))),
                // A rebuilt view could not have more than the journal.
                Err(error @ (StoreError::NoSpace(_) | StoreError::Journal(_))) => {
                    view.abandon();
                    return Err(error);
                }
                Err(error) => error.to_string(),
            }
        }
        Err(error) => error.to_string(),
    };
    if !fresh {
        tracing::warn!(cause, changes = last, "the read view is incomplete and is being rebuilt from the journal");
    }
    let built = rebuild::at_start(dir, source, last)?;
    if !fresh {
        STORE.rebuilt(Rebuild::Start);
        tracing::info!("the read view has been rebuilt");
    }
    Ok(built)
}

fn start(
    dir: &Path,
    options: &StoreOptions,
    opened: Opened,
    view: View,
    mut index: Index,
    lock: Arc<DirLock>,
) -> std::io::Result<Embedded> {
    // One message is enough to wake the applier.
    let (broken, found_broken) = crossbeam_channel::bounded(1);
    let rows = index.next_rows().map(|(company, row)| (company.clone(), row)).collect();
    let stored = Stored { rows, recent: Recent::default() };
    let shared = Arc::new(SharedStore::new(Parts {
        dir: dir.to_owned(),
        options: options.clone(),
        segments: Arc::clone(opened.journal.segments()),
        salt: opened.journal.salt(),
        lineage: lineage::of(dir)?,
        accepted: Accepted::read(&journal_dir(dir)),
        names: index.take_names(),
        index,
        tree: view.tree.clone(),
        applied: view.meta.applied,
        snapshot: snapshot::newest(&snapshot_dir(dir))?,
        broken,
    })?);
    let watchdog = Watchdog::start(&shared)?;
    // Also where a start that accepted the loss did not come to its end.
    let after_loss = shared.lacks_snapshot_of_loss();
    let verifier = verify::start(&shared, opened.unverified)?;
    let writer = Writer::start(opened.journal, view, found_broken, stored, &shared)?;
    if after_loss {
        // The journal alone no longer yields the view.
        let taken = shared.take_snapshot(shared.applied());
        taken.map_err(|e| std::io::Error::other(e.to_string()))?;
    }
    Ok(Embedded { shared, writer, verifier: Some(verifier), _watchdog: watchdog, lock })
}
