//! `/healthz` and `/readyz`, for load balancers and admins. No key: they say nothing about data.

use std::sync::Arc;

use serde_json::json;
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};

/// `GET /healthz`: the process answers.
pub(super) async fn live(_: Call) -> Result<Answer, Failed> {
    Ok(Answer::json(StatusCode::OK, &json!({ "status": "ok" }))?)
}

/// `GET /readyz`: 200 where tasks can be taken, else 503. Refused plugins are named, and do not make it unready.
pub(super) async fn ready(call: Call) -> Result<Answer, Failed> {
    // It reads: a disk or a database that hangs must not hold up those who only ask whether we live.
    let app = Arc::clone(&call.app);
    let asked = tokio::task::spawn_blocking(move || app.store.ready()).await;
    let store = asked.map_err(|_| Problem::Internal)?;
    let status = if store.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let refused: Vec<_> = call.app.registry.refused().keys().cloned().collect();
    let live: Vec<_> = call.app.registry.list().iter().map(|it| it.name.clone()).collect();
    Ok(Answer::json(
        status,
        &json!({
            "status": if store.is_ok() { "ready" } else { "not_ready" },
            "store": store.map_or_else(|error| error.to_string(), |()| "ok".into()),
            "integrations": live,
            "refused_plugins": refused,
        }),
    )?)
}
