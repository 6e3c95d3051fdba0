//! `/v1/admin/store`: backups, sizes, space. For the operator alone, whose token is in the data directory: these
//! concern every company, and name paths of the server's machine.

use std::path::PathBuf;

use serde::Deserialize;
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};
use crate::app::{Admin, App};
use crate::audit::Action;
use crate::auth::{AuthError, Scope};
use crate::operations::Slot;
use crate::store::{Embedded, StoreError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Backup {
    dir: PathBuf,
}

/// `GET /v1/admin/store`
pub(super) async fn stats(call: Call) -> Result<Answer, Failed> {
    operator(&call)?;
    Ok(Answer::json(StatusCode::OK, &call.app.store.stats().await?)?)
}

/// `POST /v1/admin/store/backup`: `{"dir": …}`, a new directory on the server's machine.
pub(super) async fn backup(mut call: Call) -> Result<Answer, Failed> {
    operator(&call)?;
    let body = call.body().await?;
    let asked: Backup =
        serde_json::from_slice(&body).map_err(|e| Problem::Invalid(format!("not a backup request: {e}")))?;
    if !asked.dir.is_absolute() {
        return Err(Problem::Invalid("dir: an absolute path is needed".into()).into());
    }
    let target = asked.dir.display().to_string();
    let slot = begin(&call.app, &Admin::Operator, "backup").await?;
    let report = for_the_operator(operate(&call.app, slot, move |store| store.backup(&asked.dir)).await)?;
    call.app.store.note(Admin::Operator.does(Action::StoreBackedUp, target)).await?;
    Ok(Answer::json(StatusCode::OK, &report)?)
}

/// `POST /v1/admin/store/compact`
pub(super) async fn compact(call: Call) -> Result<Answer, Failed> {
    operator(&call)?;
    let slot = begin(&call.app, &Admin::Operator, "compact").await?;
    for_the_operator(operate(&call.app, slot, Embedded::compact).await)?;
    call.app.store.note(Admin::Operator.does(Action::StoreCompacted, "view")).await?;
    Ok(Answer::json(StatusCode::OK, &call.app.store.stats().await?)?)
}

pub(super) fn operator(call: &Call) -> Result<(), Problem> {
    match call.admin()? {
        Admin::Operator => Ok(()),
        Admin::Company(..) => Err(AuthError::Scope(Scope::Admin).into()),
    }
}

/// With what the disk said, which tells of the machine: paths, sizes, other users. Everybody else gets a sentence without it,
/// and the log has the rest.
pub(super) fn for_the_operator<T>(done: Result<Result<T, StoreError>, Failed>) -> Result<T, Failed> {
    match done? {
        Err(StoreError::Open { dir, cause }) => Err(Problem::Invalid(format!("dir: {dir}: {cause}")).into()),
        Err(error @ (StoreError::Write(_) | StoreError::NoSpace(_) | StoreError::Full { .. })) => {
            Err(Problem::Operation(error.to_string()).into())
        }
        result => Ok(result?),
    }
}

/// A slot for an operation that takes long, as soon as it is the caller's turn.
pub(super) async fn begin(app: &App, admin: &Admin, kind: &'static str) -> Result<Slot, Problem> {
    let whose = match admin {
        Admin::Operator => "the operator",
        Admin::Company(..) => "this company",
    };
    app.operations.begin(admin.owner(kind)).await.ok_or(Problem::OperationRunning { whose })
}

/// Does the work in its slot.
pub(super) async fn operate<T: Send + 'static>(
    app: &App,
    slot: Slot,
    work: impl FnOnce(&Embedded) -> Result<T, StoreError> + Send + 'static,
) -> Result<Result<T, StoreError>, Failed> {
    let store = app.embedded.clone().ok_or(Problem::NotFound("this server's store is not an embedded one"))?;
    slot.run(move || work(&store)).await.ok_or_else(|| Problem::Internal.into())
}
