//! `/healthz` and `/readyz`, for load balancers and admins. Without a key they return counts and words only.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use warp::http::StatusCode;

use super::answer::{Answer, Failed};
use super::call::Call;
use super::openapi::describer::Describer;
use super::problem::Problem;
use super::reply::{Success, TypedReply};
use crate::auth::sender::Trust;
use crate::model::ids::IntegrationName;
use crate::model::time::now;
use crate::service::app::Admin;

/// The process answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Liveness {
    /// Always `ok`.
    status: &'static str,
}

/// Whether deliveries can be accepted.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Readiness {
    status: ReadyState,
    /// `ok`, or what is wrong with the store, in a word.
    store: &'static str,
    /// How many integrations are live.
    integrations: usize,
    /// How many plugin folders are being loaded.
    loading_plugins: usize,
    /// How many plugin folders were refused.
    refused_plugins: usize,
    /// How many live integrations have weak proofs: a secret in the URL, or a signature that does not cover the body.
    weak_integrations: usize,
    /// How many plugins are not the same on all servers that share the database; only with a database.
    #[serde(skip_serializing_if = "Option::is_none")]
    differing_plugins: Option<usize>,
    /// How many queued events cannot be read.
    unreadable_events: u64,
    /// Names, for the operator, and for each admin those of its company.
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<ReadyNames>,
    /// What is wrong with the store; only for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_error: Option<Option<String>>,
}

/// Whether deliveries can be accepted, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ReadyState {
    /// They can.
    Ready,
    /// The plugins that were there at the start are being loaded.
    Loading,
    /// The store accepts no writes.
    NotReady,
}

/// The names behind the counts.
#[derive(Debug, Serialize, JsonSchema)]
struct ReadyNames {
    integrations: Vec<IntegrationName>,
    loading_plugins: Vec<String>,
    refused_plugins: Vec<String>,
    weak_integrations: Vec<IntegrationName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    differing_plugins: Option<Vec<String>>,
}

/// `GET /healthz`: the process answers.
pub(super) async fn live(_: Call, (): (), (): ()) -> Result<Success<Liveness>, Failed> {
    Ok(Success(Liveness { status: "ok" }))
}

/// `GET /readyz`: 200 if deliveries can be accepted. 503 if the store accepts no writes, or if the plugins that were present at
/// the start are still being loaded. Refused plugins, and those that differ between servers, are counted, and do not cause 503. The
/// operator, and each admin for its
/// company, also gets names.
pub(super) async fn ready(call: Call, (): (), (): ()) -> Result<Readiness, Failed> {
    call.unambiguous()?;
    // It reads from the disk: a hanging disk must not delay /healthz.
    let app = Arc::clone(&call.app);
    let asked = tokio::task::spawn_blocking(move || app.store.ready()).await;
    let store = asked.map_err(|_| Problem::Internal)?;
    let registry = &call.app.registry;
    let status = match (&store, registry.is_starting()) {
        (Err(_), _) => ReadyState::NotReady,
        (Ok(()), true) => ReadyState::Loading,
        (Ok(()), false) => ReadyState::Ready,
    };
    // In this order: a folder becomes live or refused before it stops being "loading".
    let (loading, live, refused) = (registry.loading(), registry.list(), registry.refused());
    let differing = call.app.store.cluster().is_some().then(|| call.app.nodes.differing());
    let mut shown = Readiness {
        status,
        store: store.as_ref().map_or_else(|error| error.word(), |()| "ok"),
        integrations: live.len(),
        loading_plugins: loading.len(),
        refused_plugins: refused.len(),
        weak_integrations: live.iter().filter(|it| it.trust == Trust::Weak).count(),
        differing_plugins: differing.as_ref().map(|it| it.len()),
        unreadable_events: call.app.queue.unreadable(),
        names: None,
        store_error: None,
    };
    // An invalid key is treated like none, so that a probe cannot be used to guess keys.
    if let Ok(admin) = call.sent_admin(now()) {
        let operator = admin == Admin::Operator;
        let mine = live.iter().filter(|it| admin.manages(&it.company_id)).map(|it| it.name.clone());
        let mine: Vec<_> = mine.collect();
        let weak = live.iter().filter(|it| admin.manages(&it.company_id) && it.trust == Trust::Weak);
        // The company of a folder that was never live is unknown.
        let seen = |name: &&String| operator || mine.iter().any(|it| *it.0 == ***name);
        shown.names = Some(ReadyNames {
            loading_plugins: loading.iter().filter(seen).cloned().collect(),
            refused_plugins: refused.keys().filter(seen).cloned().collect(),
            weak_integrations: weak.map(|it| it.name.clone()).collect(),
            differing_plugins: differing.map(|it| it.keys().filter(seen).cloned().collect()),
            integrations: mine,
        });
        shown.store_error = operator.then(|| store.err().map(|error| error.to_string()));
    }
    Ok(shown)
}

impl TypedReply for Readiness {
    fn write(self) -> Result<Answer<Self>, Problem> {
        let is_ready = self.status == ReadyState::Ready;
        Answer::json(if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &self)
    }

    fn describe(to: &mut Describer<'_>) {
        to.answers::<Self>(200, "Deliveries can be accepted.", &[]);
        to.answers::<Self>(503, "Deliveries cannot be accepted yet.", &[]);
    }
}
