//! `/healthz` and `/readyz`, for load balancers and admins. Without a key they give counts and words only.

use std::sync::Arc;

use serde_json::json;
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};
use crate::app::{Admin, now};

/// `GET /healthz`: the process answers.
pub(super) async fn live(_: Call) -> Result<Answer, Failed> {
    Ok(Answer::json(StatusCode::OK, &json!({ "status": "ok" }))?)
}

/// `GET /readyz`: 200 where deliveries can be taken, else 503: the store takes no writes, or the plugins that were there at
/// the start are still being loaded. Refused plugins are counted, and do not make it unready. Only counts and words are for
/// everybody; the operator, and each admin for its own company, also gets names.
pub(super) async fn ready(call: Call) -> Result<Answer, Failed> {
    call.unambiguous()?;
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
    let (loading, live, refused) = (registry.loading(), registry.list(), registry.refused());
    let mut shown = json!({
        "status": word,
        "store": store.as_ref().map_or_else(|error| error.word(), |()| "ok"),
        "integrations": live.len(),
        "loading_plugins": loading.len(),
        "refused_plugins": refused.len(),
        "unreadable_events": call.app.queue.unreadable(),
    });
    // A key that is good for nothing here is as good as none: a probe is no place to guess keys.
    if let Ok(admin) = call.app.admin(call.header("x-api-key"), now()) {
        let operator = admin == Admin::Operator;
        let mine: Vec<_> = live.iter().filter(|it| admin.manages(&it.company_id)).map(|it| &it.name).collect();
        // Of a folder that has never been live, the company is not known.
        let seen = |name: &&String| operator || mine.iter().any(|it| *it.0 == ***name);
        shown["names"] = json!({
            "integrations": mine,
            "loading_plugins": loading.iter().filter(seen).collect::<Vec<_>>(),
            "refused_plugins": refused.keys().filter(seen).collect::<Vec<_>>(),
        });
        if operator {
            shown["store_error"] = store.err().map(|error| error.to_string()).into();
        }
    }
    Ok(Answer::json(status, &shown)?)
}
