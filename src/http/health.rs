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

/// `GET /readyz`: 200 where deliveries can be taken, else 503: the store takes no writes, or the plugins that were there at
/// the start are still being loaded. Refused plugins are named, and do not make it unready.
pub(super) async fn ready(call: Call) -> Result<Answer, Failed> {
    // It reads: a disk or a database that hangs must not hold up those who only ask whether we live.
    let app = Arc::clone(&call.app);
    let asked = tokio::task::spawn_blocking(move || app.store.ready()).await;
    let store = asked.map_err(|_| Problem::Internal)?;
    let registry = &call.app.registry;
    let (status, word) = match (&store, registry.is_starting()) {
        (Err(_), _) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
        (Ok(()), true) => (StatusCode::SERVICE_UNAVAILABLE, "loading"),
        (Ok(()), false) => (StatusCode::OK, "ready"),
    };
    // In this order: what is loaded is live, or refused, before it is no longer loading.
    let loading = registry.loading();
    let live: Vec<_> = registry.list().iter().map(|it| it.name.clone()).collect();
    let refused: Vec<_> = registry.refused().keys().cloned().collect();
    Ok(Answer::json(
        status,
        &json!({
            "status": word,
            "store": store.map_or_else(|error| error.to_string(), |()| "ok".into()),
            "integrations": live,
            "loading_plugins": loading,
            "refused_plugins": refused,
            "unreadable_events": call.app.queue.unreadable(),
        }),
    )?)
}
