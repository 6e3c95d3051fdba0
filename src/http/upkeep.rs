//! `/v1/admin/store`: backups, sizes and space. Only for the operator, whose token is in the data directory: these operations
//! concern every company, and name paths on the server's machine.

use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::Failed;
use super::body::{Json, JsonBody};
use super::call::Call;
use super::openapi::examples::Example;
use super::problem::Problem;
use super::reply::Success;
use crate::model::audit::Action;
use crate::service::app::{Admin, App};
use crate::service::operations::Slot;
use crate::store::embedded::CheckReport;
use crate::store::{Embedded, Stats, Store, StoreError};

/// Where to back up to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BackupRequest {
    /// A new directory: an absolute path on the server's machine.
    dir: PathBuf,
}

impl JsonBody for BackupRequest {
    const ABOUT: &'static str = "Where to back up to.";
    const EXAMPLES: &'static [Example] = &[];
}

/// `GET /v1/admin/store`
pub(super) async fn stats(call: Call, (): (), (): ()) -> Result<Success<Stats>, Failed> {
    Ok(Success(call.app.store.stats().await?))
}

/// `POST /v1/admin/store/backup`: `{"dir": …}`, a new directory on the server's machine.
pub(super) async fn backup(
    call: Call,
    (): (),
    Json { value: asked, .. }: Json<BackupRequest>,
) -> Result<Success<CheckReport>, Failed> {
    if !asked.dir.is_absolute() {
        return Err(Problem::Invalid("dir: must be an absolute path".into()).into());
    }
    let target = asked.dir.display().to_string();
    let slot = begin(&call.app, &Admin::Operator, "backup").await?;
    let report = for_the_operator(on_files(&call.app, slot, move |files| files.backup(&asked.dir)).await)?;
    call.app.store.note(Admin::Operator.does(Action::StoreBackedUp, target)).await?;
    Ok(Success(report))
}

/// `POST /v1/admin/store/compact`
pub(super) async fn compact(call: Call, (): (), (): ()) -> Result<Success<Stats>, Failed> {
    let slot = begin(&call.app, &Admin::Operator, "compact").await?;
    for_the_operator(on_files(&call.app, slot, Embedded::compact).await)?;
    call.app.store.note(Admin::Operator.does(Action::StoreCompacted, "view")).await?;
    Ok(Success(call.app.store.stats().await?))
}

/// Keeps the disk's error in the message. It reveals paths and sizes, so everybody else gets a sentence without it.
pub(super) fn for_the_operator<T>(done: Result<Result<T, StoreError>, Failed>) -> Result<T, Failed> {
    match done? {
        Err(StoreError::Open { dir, cause }) => Err(Problem::Invalid(format!("dir: {dir}: {cause}")).into()),
        Err(
            error @ (StoreError::Write(_)
            | StoreError::Unstorable(_)
            | StoreError::NoSpace(_)
            | StoreError::Full { .. }),
        ) => Err(Problem::Operation(error.to_string()).into()),
        result => Ok(result?),
    }
}

/// A slot for a long operation, as soon as it is the caller's turn.
pub(super) async fn begin(app: &App, admin: &Admin, kind: &'static str) -> Result<Slot, Problem> {
    let whose = match admin {
        Admin::Operator => "the operator",
        Admin::Company(..) => "this company",
    };
    app.operations.begin(admin.owner(kind)).await.ok_or(Problem::OperationRunning { whose })
}

/// Runs the work in its slot.
pub(super) async fn operate<T: Send + 'static>(
    app: &App,
    slot: Slot,
    work: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<Result<T, StoreError>, Failed> {
    let store = Arc::clone(&app.store);
    slot.run(move || work(&*store)).await.ok_or_else(|| Problem::Internal.into())
}

/// The same on the store's files, which not every backend has.
async fn on_files<T: Send + 'static>(
    app: &App,
    slot: Slot,
    work: impl FnOnce(&Embedded) -> Result<T, StoreError> + Send + 'static,
) -> Result<Result<T, StoreError>, Failed> {
    const NO_FILES: &str = "this server's store keeps no files; use the tools of its database";
    let files = app.files.clone().ok_or(Problem::NotFound(NO_FILES))?;
    slot.run(move || work(&files)).await.ok_or_else(|| Problem::Internal.into())
}
