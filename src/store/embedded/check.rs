//! Reads a data directory from end to end, and says whether everything fits together.

use std::path::Path;
use std::sync::PoisonError;

use serde::Serialize;

use super::journal::Survey;
use super::lock::DirLock;
use super::shared::{journal_dir, snapshot_dir};
use super::upkeep::UNFINISHED;
use super::view::View;
use super::{Embedded, Options, rebuild, snapshot};
use crate::store::StoreError;

/// What was read, and what is wrong.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Report {
    /// Records of the journal.
    pub records: u64,
    /// Events in it.
    pub events: u64,
    /// The sequence of its last record.
    pub sequence: u64,
    /// Entries of the newest snapshot.
    pub snapshot_entries: u64,
    /// Entries of the view; none where the directory has no view.
    pub view_entries: Option<u64>,
    /// What cannot be got back from this directory: sentences.
    pub damages: Vec<String>,
    /// What a start or `--repair` mends without loss: sentences.
    pub repairable: Vec<String>,
    /// What could not be looked at, for want of space: sentences.
    pub unchecked: Vec<String>,
}

/// Reads everything: checksums, sequences, event indexes, and that the view is what the journal says.
///
/// # Errors
/// Where a server holds the directory, or it cannot be read.
pub fn check(dir: &Path) -> Result<Report, StoreError> {
    let failed = |e: std::io::Error| StoreError::Read(format!("{}: {e}", dir.display()));
    if !rebuild::has_journal(dir) {
        let cause = "it is no data directory: there is no journal in it".into();
        return Err(StoreError::Open { dir: dir.display().to_string(), cause });
    }
    refuse_unfinished(dir)?;
    let _held = DirLock::take(dir)?;
    let mut report = Report::default();
    let path = rebuild::current(dir).filter(|it| it.exists());
    let view = path.map(|path| View::open(&path));
    let applied = view.as_ref().and_then(|it| it.as_ref().ok()).map_or(0, |it| it.meta.applied);
    let mut survey = Survey::of(&journal_dir(dir), applied).map_err(failed)?;
    (report.records, report.events, report.sequence) = (survey.records, survey.events, survey.last());
    report.damages = survey.damages().iter().map(ToString::to_string).collect();
    report.repairable.extend(survey.torn.iter().map(|it| format!("{it} (never acknowledged)")));
    let wrong = survey.wrong_indexes();
    report.repairable.extend(wrong.iter().map(|it| format!("{}: does not fit its segment", name(it))));
    let reaches = survey.first() == 1 && report.damages.is_empty();
    check_snapshot(dir, reaches, &mut report).map_err(failed)?;
    match view {
        None => {}
        Some(Ok(view)) => {
            report.view_entries = Some(view.meta.keys);
            if let Err(error) = view.read_all() {
                report.repairable.push(error.to_string());
            } else if view.meta.applied > survey.last() {
                report.repairable.push("the view has seen more than the journal holds".into());
            } else if report.damages.is_empty() {
                compare(dir, &view, &mut report);
            }
        }
        Some(Err(error)) => report.note("the view cannot be opened", &error),
    }
    Ok(report)
}

/// A backup that was interrupted has no say on what is lost.
pub(super) fn refuse_unfinished(dir: &Path) -> Result<(), StoreError> {
    if !dir.join(UNFINISHED).exists() {
        return Ok(());
    }
    let cause = "a backup into it was interrupted, so it is not whole; delete it, and take another".into();
    Err(StoreError::Open { dir: dir.display().to_string(), cause })
}

/// `reaches`: the journal has every change, so that a snapshot is no more than a short cut.
fn check_snapshot(dir: &Path, reaches: bool, report: &mut Report) -> std::io::Result<()> {
    let Some(newest) = snapshot::newest(&snapshot_dir(dir))? else { return Ok(()) };
    match snapshot::read(&newest, &mut |_| Ok(())) {
        Ok(entries) => report.snapshot_entries = entries,
        Err(error) if reaches => report.repairable.push(error.to_string()),
        Err(error) => report.damages.push(error.to_string()),
    }
    Ok(())
}

/// The journal, replayed into a view of its own, has to come to the same sum.
fn compare(dir: &Path, view: &View, report: &mut Report) {
    match rebuild::agrees(dir, view) {
        Ok(true) => {}
        Ok(false) => report.repairable.push("the view is not what snapshot and journal come to".into()),
        Err(error) => report.note("the view cannot be compared with the journal", &error),
    }
}

impl Report {
    fn note(&mut self, what: &str, error: &StoreError) {
        let full = matches!(error, StoreError::Full { .. } | StoreError::NoSpace(_));
        let list = if full { &mut self.unchecked } else { &mut self.repairable };
        list.push(format!("{what}: {error}"));
    }
}

/// Mends what can be: the view and the event indexes are made anew from the journal.
///
/// # Errors
/// As opening the store.
pub fn repair(dir: &Path, options: &Options) -> Result<(), StoreError> {
    let newest = snapshot::newest(&snapshot_dir(dir)).map_err(|e| StoreError::Read(e.to_string()))?;
    let damaged = newest.is_some_and(|it| snapshot::read(&it, &mut |_| Ok(())).is_err());
    // The old view stays where it is until there is a new one. Beside a damaged snapshot it may have what nothing else
    // has: then it is kept, and a snapshot of it takes the place of that one.
    let store = Embedded::open_with(dir, options, !damaged)?;
    if damaged {
        *store.shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = None;
        store.shared.take_snapshot(store.shared.acked())?;
    }
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
