//! `POST /v1/admin/console-links`: a link that logs the operator in to the console.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::Failed;
use super::call::Call;
use super::problem::Problem;
use super::reply::Created;
use crate::model::audit::{Action, Entry, OPERATOR};
use crate::model::time::now;
use crate::service::sessions::LINK;

/// A link that logs the operator in once.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ConsoleLink {
    /// Its path on this server. It is as good as a password until it is used or expires.
    path: String,
    /// When it can no longer be used.
    #[serde(serialize_with = "crate::model::time::utc")]
    expires_at: DateTime<Utc>,
}

/// `POST /v1/admin/console-links`
pub(super) async fn create(call: Call, (): (), (): ()) -> Result<Created<ConsoleLink>, Failed> {
    let app = &call.app;
    if !app.config.console.enabled {
        return Err(Problem::NotFound("this server has no console (console.enabled)").into());
    }
    let now = now();
    app.store.note(Entry::new(OPERATOR, Action::ConsoleLink, "console", now)).await?;
    let token = app.sessions.begin(&*app.store, OPERATOR, true, now).await?;
    Ok(Created(ConsoleLink { path: format!("/console/login/{token}"), expires_at: now + LINK }))
}
