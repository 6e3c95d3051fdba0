//! Reads a data directory from end to end and checks that it is consistent.

use std::path::Path;
use std::sync::PoisonError;

use super::backend::Embedded;
use super::data_dir::{journal_dir, refuse_unfinished, snapshot_dir};
use super::journal::Survey;
use super::options::StoreOptions;
use super::report::CheckReport;
use super::view::View;
use super::{rebuild, snapshot, view_dir};
use crate::store::dir_lock::DirLock;
use crate::store::error::StoreError;

/// Reads everything and checks checksums, sequences, event indexes, and that the read view matches the journal.
///
/// # Errors
/// Fails if a server holds the directory, or if it cannot be read.
pub fn check(dir: &Path) -> Result<CheckReport, StoreError> {
    let failed = |e: std::io::Error| StoreError::Read(format!("{}: {e}", dir.display()));
    if !view_dir::has_journal(dir) {
        let cause = "it is not a data directory: it contains no journal".into();
        return Err(StoreError::Open { dir: dir.display().to_string(), cause });
    }
    refuse_unfinished(dir)?;
    let _held = DirLock::take(dir)?;
    let mut report = CheckReport::default();
    let path = view_dir::current(dir).filter(|it| it.exists());
    let view = path.map(|path| View::open(&path));
    let applied = view.as_ref().and_then(|it| it.as_ref().ok()).map_or(0, |it| it.meta.applied);
    let mut survey = Survey::of(&journal_dir(dir), applied).map_err(failed)?;
    (report.records, report.events, report.sequence) = (survey.records, survey.events, survey.last());
    report.damages = survey.damages().iter().map(ToString::to_string).collect();
    report.repairable.extend(survey.torn.iter().map(|it| format!("{it} (never acknowledged)")));
    let wrong = survey.wrong_indexes();
    report.repairable.extend(wrong.iter().map(|it| format!("{}: does not match its segment", name(it))));
    let reaches = survey.first() == 1 && report.damages.is_empty();
    check_snapshot(dir, reaches, &mut report).map_err(failed)?;
    match view {
        None => {}
        Some(Ok(view)) => {
            report.view_entries = Some(view.meta.keys);
            if let Err(error) = view.read_all() {
                report.repairable.push(error.to_string());
            } else if view.meta.applied > survey.last() {
                report.repairable.push("the read view has more changes than the journal".into());
            } else if report.damages.is_empty() {
                compare(dir, &view, &mut report);
            }
        }
        Some(Err(error)) => report.note("the read view cannot be opened", &error),
    }
    Ok(report)
}

/// Checks the newest snapshot. With `reaches`, the journal has every change, so a damaged snapshot loses nothing.
fn check_snapshot(dir: &Path, reaches: bool, report: &mut CheckReport) -> std::io::Result<()> {
    let Some(newest) = snapshot::newest(&snapshot_dir(dir))? else { return Ok(()) };
    match snapshot::read(&newest, &mut |_| Ok(())) {
        Ok(entries) => report.snapshot_entries = entries,
        Err(error) if reaches => report.repairable.push(error.to_string()),
        Err(error) => report.damages.push(error.to_string()),
    }
    Ok(())
}

/// Replays the journal into a temporary view and compares the sums.
fn compare(dir: &Path, view: &View, report: &mut CheckReport) {
    match rebuild::agrees(dir, view) {
        Ok(true) => {}
        Ok(false) => report.repairable.push("the read view does not match the snapshot and the journal".into()),
        Err(error) => report.note("the read view cannot be compared with the journal", &error),
    }
}

/// Repairs what can be repaired without loss: rebuilds the read view and the event indexes from the journal.
///
/// # Errors
/// Fails as opening the store does.
pub fn repair(dir: &Path, options: &StoreOptions) -> Result<(), StoreError> {
    let newest = snapshot::newest(&snapshot_dir(dir)).map_err(|e| StoreError::Read(e.to_string()))?;
    let damaged = newest.is_some_and(|it| snapshot::read(&it, &mut |_| Ok(())).is_err());
    // The old view is kept until a new one exists. If the newest snapshot is damaged, the old view may have data
    // that nothing else has: then it stays in use, and a new snapshot of it replaces the damaged one.
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
