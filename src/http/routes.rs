//! Every route, on one screen. The router and the API description (`openapi.json`) both come from this table.
//!
//! A row says: method, URL, who may call it, the handler with what it takes, what it answers, and with which statuses; behind
//! a semicolon, with which others it may fail. The doc comment is its sentence in the description. A route marked `long` may
//! take hours. Types add the failures that they cause: access 401, 403 and 429, a path parameter 404, a query 422, a body 400,
//! 408, 413, 415 and 422, `Idempotency-Key` and `If-Match` 409 and 422. Every route may fail with 400, 431, 500 and 503.

use std::sync::LazyLock;

use warp::http::Method;

use super::access::{AdminOfCompany, AnyAdmin, AnyKey, AnyReader, Anyone, HookSender, Operator, Probe, key};
use super::route::{Route, Statuses};
use super::{
    admin, audit, batch, comparisons, console, console_link, dry_run, erase, event_copy, event_files, events, feed,
    health, hooks, learned_secrets, me, metrics, nodes, openapi_file, overview, plugin_fixtures, plugins, provenance,
    replay, replays, scripts, senders, settings, tasks, test_delivery, trial, upkeep,
};

use super::admin::{CreateKey, KeyCreated};
use super::batch::BatchAnswer;
use super::body::{Json, OptionalJson};
use super::console_link::ConsoleLink;
use super::deliveries::{Delivered, SentDelivery};
use super::dry_run::DryRunRequest;
use super::erase::{EraseRequest, ErasureAnswer};
use super::event_copy::{CopyRequest, EventCopied};
use super::event_files::FileBytes;
use super::events::{EventFound, EventList, RawBody};
use super::feed::ChangesAnswer;
use super::health::{Liveness, Readiness};
use super::hooks::HookPath;
use super::key_list::ApiKeyList;
use super::learned_secrets::SecretConfirmed;
use super::me::IdentityAnswer;
use super::metrics::{MetricsText, Scraper};
use super::nodes::ServerAnswer;
use super::openapi_file::Description;
use super::overview::OverviewAnswer;
use super::path::{ComparisonId, FileNumber, Path, ReplayJobId, SentDigest, SentKeyId, SentName, UrlSecret};
use super::plugin_answer::PluginAnswer;
use super::plugin_fixtures::{FixtureCreated, FixtureState, NewFixtureRequest};
use super::provenance::ProvenanceFound;
use super::query::routes::{
    AuditQuery, BatchQuery, EventListQuery, KeyListQuery, OverviewQuery, ShadowQuery, TaskChangesQuery, TaskListQuery,
};
use super::replay::{ReplayRequest, Replayed};
use super::replays::{ReplaysAnswer, ReplaysRequest};
use super::reply::{Created, List, NoContent, Page, Pagination, Success};
use super::request_headers::{IdempotencyKey, IfMatch};
use super::scripts::{ScriptAnswer, ScriptChange};
use super::senders::{SenderAnswer, SenderDetailsAnswer};
use super::task_body::{BatchBody, NewTaskBody, TaskChangeBody};
use super::tasks::{TaskCreated, TaskFound};
use super::test_delivery::{TestDelivered, TestDeliveryRequest};
use super::trial::TrialRequest;
use super::upkeep::BackupRequest;
use crate::auth::Scope::{Admin, TasksRead, TasksWrite};
use crate::config::ShownSetting;
use crate::model::audit::Entry;
use crate::model::ids::{EventId, TaskId};
use crate::model::task::Task;
use crate::service::dry_run::{ComparisonReport, Report, ShadowReport};
use crate::service::learned::LearnedSecret;
use crate::service::replays::ReplayJobReport;
use crate::service::scripts::{SavedScript, ScriptVersion, VersionText};
use crate::service::trial::Trial;
use crate::service::watch::Pass;
use crate::store::Stats;
use crate::store::embedded::CheckReport as BackupReport;

/// What a handler takes: nothing, one thing or several.
macro_rules! input {
    ($input:ty) => { $input };
    ($($input:ty),*) => { ($($input),*) };
}

macro_rules! routes {
    ($(#[doc = $about:literal] $method:ident $path:literal $access:expr => $($handler:ident)::+($($input:ty),*) -> $reply:ty, [$($ok:literal)+ $(; $($fails:literal)+)?] $($long:ident)?;)*) => {
        /// Every route, in the order of the documentation.
        pub(super) fn routes() -> Vec<Route> {
            vec![$(Route::new::<input!($($input),*), $reply, _, _, _, _>(
                Method::$method, $path, stringify!($($handler)::+), $about, Statuses(&[$($ok),+], &[$($($fails),+)?]), $access, $($handler)::+,
            )$(.$long())?),*]
        }
    };
}

routes! {
    /// Creates a task.
    POST "/v1/tasks" key(TasksWrite) => tasks::create(IdempotencyKey, NewTaskBody) -> TaskCreated, [201];
    /// Lists tasks.
    GET "/v1/tasks" key(TasksRead) => tasks::list(TaskListQuery) -> Page<Task, Pagination>, [200];
    /// Creates many tasks, each on its own.
    POST "/v1/tasks/batch" key(TasksWrite) => batch::create(IdempotencyKey, BatchQuery, BatchBody) -> BatchAnswer, [200 207 422];
    /// Lists every change of tasks in order, with deletions, for clients that cannot receive webhooks.
    GET "/v1/tasks/changes" key(TasksRead) => feed::changes(TaskChangesQuery) -> Success<ChangesAnswer>, [200];
    /// Shows a task.
    GET "/v1/tasks/{id}" key(TasksRead) => tasks::show(Path<TaskId>) -> TaskFound, [200];
    /// Changes a task.
    PATCH "/v1/tasks/{id}" key(TasksWrite) => tasks::change(Path<TaskId>, IfMatch, TaskChangeBody) -> TaskFound, [200];
    /// Deletes a task.
    DELETE "/v1/tasks/{id}" key(TasksWrite) => tasks::delete(Path<TaskId>, IfMatch) -> NoContent, [204];
    /// Shows which event, plugin and schema a task was made from.
    GET "/v1/tasks/{id}/provenance" key(Admin) => provenance::show(Path<TaskId>) -> ProvenanceFound, [200];
    /// Takes a delivery for an integration.
    POST "/v1/hooks/{name}" HookSender => hooks::receive(Path<SentName>, SentDelivery) -> Delivered, [200 201 202 204];
    /// Answers a sender's question whether this URL accepts its deliveries.
    GET "/v1/hooks/{name}" HookSender => hooks::ask(Path<SentName>, SentDelivery) -> Delivered, [200 201 202 204; 405];
    /// Takes a delivery from a sender that can prove itself only by a secret in the URL.
    POST "/v1/hooks/{name}/{secret}" HookSender => hooks::receive_with_secret(Path<SentName>, Path<UrlSecret>, SentDelivery) -> Delivered, [200 201 202 204];
    /// Answers a sender's question, where the URL has a secret.
    GET "/v1/hooks/{name}/{secret}" HookSender => hooks::ask_with_secret(Path<SentName>, Path<UrlSecret>, SentDelivery) -> Delivered, [200 201 202 204; 405];
    /// Takes a delivery whose URL says more after the integration's name, or after the secret.
    POST "/v1/hooks/{name}/{secret}/{path}" HookSender => hooks::receive_at_path(Path<SentName>, HookPath, SentDelivery) -> Delivered, [200 201 202 204];
    /// Answers a sender's question, where the URL says more after the integration's name.
    GET "/v1/hooks/{name}/{secret}/{path}" HookSender => hooks::ask_at_path(Path<SentName>, HookPath, SentDelivery) -> Delivered, [200 201 202 204; 405];
    /// Lists events: what arrived, and what became of it. With the scope `admin`, `text`, `pointer` and `value` search in what was sent.
    GET "/v1/events" AnyReader => events::list(EventListQuery) -> EventList, [200; 404];
    /// Erases what was sent about a patient.
    POST "/v1/events/erase" AdminOfCompany => erase::erase(Json<EraseRequest>) -> Success<ErasureAnswer>, [200; 404 429] long;
    /// Shows an event; with the scope `admin` also what was sent.
    GET "/v1/events/{id}" AnyReader => events::show(Path<EventId>) -> EventFound, [200];
    /// Shows an event's body, byte for byte.
    GET "/v1/events/{id}/raw" AdminOfCompany => events::raw(Path<EventId>) -> RawBody, [200];
    /// Shows a file that was sent with an event.
    GET "/v1/events/{id}/files/{n}" AdminOfCompany => event_files::show(Path<EventId>, Path<FileNumber>) -> FileBytes, [200];
    /// Processes an event again.
    POST "/v1/events/{id}/replay" AdminOfCompany => replay::replay(Path<EventId>, OptionalJson<ReplayRequest>) -> Replayed, [200; 409 502];
    /// Makes a new event of a stored one with another body, as its integration would process it now.
    POST "/v1/events/{id}/copy" AdminOfCompany => event_copy::copy(Path<EventId>, IdempotencyKey, Json<CopyRequest>) -> EventCopied, [200 201; 404 409 502];
    /// Creates an API key. The response is the only place that has the key itself.
    POST "/v1/admin/keys" AnyAdmin => admin::create_key(IdempotencyKey, Json<CreateKey>) -> Created<KeyCreated>, [201];
    /// Lists API keys.
    GET "/v1/admin/keys" AnyAdmin => admin::list_keys(KeyListQuery) -> ApiKeyList, [200];
    /// Revokes an API key.
    DELETE "/v1/admin/keys/{id}" AnyAdmin => admin::revoke_key(Path<SentKeyId>) -> NoContent, [204];
    /// Lists who did what.
    GET "/v1/admin/audit" AnyAdmin => audit::list(AuditQuery) -> Page<Entry>, [200];
    /// Makes a link that logs the operator in to the console, once.
    POST "/v1/admin/console-links" Operator => console_link::create() -> Created<ConsoleLink>, [201; 404];
    /// Lists plugins, and how their calls go.
    GET "/v1/admin/plugins" AnyAdmin => plugins::list() -> List<PluginAnswer>, [200];
    /// Reads secrets, sender files and the plugins folder again now.
    POST "/v1/admin/plugins/reload" AnyAdmin => plugins::reload() -> Success<Pass>, [200; 404];
    /// Runs a plugin that is not live over stored events, and compares.
    POST "/v1/admin/plugins/diff" Operator => dry_run::diff(Json<DryRunRequest>) -> Success<Report>, [200; 404 429] long;
    /// Begins the same in the background.
    POST "/v1/admin/comparisons" Operator => comparisons::begin(Json<DryRunRequest>) -> Created<ComparisonReport>, [201; 404 429];
    /// Lists dry runs in the background, newest first: the one that runs, and the last few that have ended.
    GET "/v1/admin/comparisons" Operator => comparisons::list() -> List<ComparisonReport>, [200];
    /// Shows how far a dry run in the background is, and its result.
    GET "/v1/admin/comparisons/{id}" Operator => comparisons::show(Path<ComparisonId>) -> Success<ComparisonReport>, [200];
    /// Stops a dry run in the background after the event that it runs; the result has the events until then.
    POST "/v1/admin/comparisons/{id}/stop" Operator => comparisons::stop(Path<ComparisonId>) -> Success<ComparisonReport>, [200];
    /// Shows how a plugin's shadow compares with it.
    GET "/v1/admin/plugins/{name}/shadow" AnyAdmin => plugins::shadow(Path<SentName>, ShadowQuery) -> Success<ShadowReport>, [200; 409];
    /// Sends a test delivery to an integration, signed with its own secret, and shows what became of it.
    POST "/v1/admin/plugins/{name}/test-delivery" AnyAdmin => test_delivery::send(Path<SentName>, OptionalJson<TestDeliveryRequest>) -> Success<TestDelivered>, [200; 409];
    /// Lists the senders that the server knows.
    GET "/v1/admin/senders" AnyAdmin => senders::list() -> List<SenderAnswer>, [200];
    /// Shows how to connect a sender.
    GET "/v1/admin/senders/{name}" AnyAdmin => senders::show(Path<SentName>) -> Success<SenderDetailsAnswer>, [200];
    /// Runs a payload or a stored event through a plugin, and stores nothing.
    POST "/v1/admin/plugins/{name}/try" AnyAdmin => trial::run(Path<SentName>, Json<TrialRequest>) -> Success<Trial>, [200];
    /// Runs the fixtures of a plugin, and shows which ones it passes.
    GET "/v1/admin/plugins/{name}/fixtures" AnyAdmin => plugin_fixtures::list(Path<SentName>) -> List<FixtureState>, [200];
    /// Saves a payload and what becomes of it as a fixture of a plugin.
    POST "/v1/admin/plugins/{name}/fixtures" AnyAdmin => plugin_fixtures::create(Path<SentName>, Json<NewFixtureRequest>) -> Created<FixtureCreated>, [201; 409];
    /// Shows the script of a plugin.
    GET "/v1/admin/plugins/{name}/script" AnyAdmin => scripts::show(Path<SentName>) -> Success<ScriptAnswer>, [200];
    /// Changes the script of a plugin, if the new version passes the plugin's fixtures.
    PUT "/v1/admin/plugins/{name}/script" AnyAdmin => scripts::change(Path<SentName>, Json<ScriptChange>) -> Success<SavedScript>, [200; 409];
    /// Lists the versions of a script.
    GET "/v1/admin/plugins/{name}/script/versions" AnyAdmin => scripts::versions(Path<SentName>) -> List<ScriptVersion>, [200];
    /// Shows a version of a script.
    GET "/v1/admin/plugins/{name}/script/versions/{digest}" AnyAdmin => scripts::version(Path<SentName>, Path<SentDigest>) -> Success<VersionText>, [200];
    /// Makes an earlier version of a script the current one, if it passes the plugin's fixtures.
    POST "/v1/admin/plugins/{name}/script/versions/{digest}/restore" AnyAdmin => scripts::restore(Path<SentName>, Path<SentDigest>) -> Success<SavedScript>, [200; 409 422];
    /// Lists secrets that senders have sent in a handshake, and that wait for an admin; not the secrets themselves.
    GET "/v1/admin/learned-secrets" AnyAdmin => learned_secrets::list() -> List<LearnedSecret>, [200];
    /// Sets a secret that a sender has sent in a handshake.
    POST "/v1/admin/learned-secrets/{id}/confirm" AnyAdmin => learned_secrets::confirm(Path<EventId>) -> Success<SecretConfirmed>, [200; 409];
    /// Forgets a secret that a sender has sent in a handshake.
    DELETE "/v1/admin/learned-secrets/{id}" AnyAdmin => learned_secrets::reject(Path<EventId>) -> NoContent, [204];
    /// Shows what needs attention, counts over time, and the state of every integration.
    GET "/v1/admin/overview" AnyAdmin => overview::show(OverviewQuery) -> Success<OverviewAnswer>, [200];
    /// Shows the settings, without secrets.
    GET "/v1/admin/settings" Operator => settings::show() -> List<ShownSetting>, [200];
    /// Lists the servers on the store.
    GET "/v1/admin/nodes" Operator => nodes::list() -> List<ServerAnswer>, [200];
    /// Replays events that match a filter, one after another, in the background; or counts them.
    POST "/v1/admin/replays" AdminOfCompany => replays::begin(Json<ReplaysRequest>) -> ReplaysAnswer, [200 201; 409 429];
    /// Lists replays of many events on this server, newest first.
    GET "/v1/admin/replays" AdminOfCompany => replays::list() -> List<ReplayJobReport>, [200];
    /// Shows how far a replay of many events is.
    GET "/v1/admin/replays/{id}" AdminOfCompany => replays::show(Path<ReplayJobId>) -> Success<ReplayJobReport>, [200];
    /// Stops a replay of many events after the event that it is replaying.
    POST "/v1/admin/replays/{id}/stop" AdminOfCompany => replays::stop(Path<ReplayJobId>) -> Success<ReplayJobReport>, [200];
    /// Shows counts and sizes of the store.
    GET "/v1/admin/store" Operator => upkeep::stats() -> Success<Stats>, [200];
    /// Backs the store up into a new directory on the server's machine.
    POST "/v1/admin/store/backup" Operator => upkeep::backup(Json<BackupRequest>) -> Success<BackupReport>, [200; 404 429] long;
    /// Rebuilds the read view, so that it takes less space.
    POST "/v1/admin/store/compact" Operator => upkeep::compact() -> Success<Stats>, [200; 404 429] long;
    /// Shows who the credentials belong to: a test of credentials.
    GET "/v1/me" AnyKey => me::show() -> Success<IdentityAnswer>, [200];
    /// Says that the process answers.
    GET "/healthz" Probe => health::live() -> Success<Liveness>, [200];
    /// Says whether deliveries can be accepted.
    GET "/readyz" Probe => health::ready() -> Readiness, [200 503];
    /// Shows metrics for Prometheus.
    GET "/metrics" Scraper => metrics::show() -> MetricsText, [200; 404];
    /// Shows this description.
    GET "/openapi.json" Anyone => openapi_file::show() -> Description, [200];
}

/// Routes that take as long as they take; their callers are admins.
static LONG: LazyLock<Vec<&str>> =
    LazyLock::new(|| routes().iter().filter(|it| it.is_long).map(|it| it.path).collect());

/// Whether a request of this URL may take hours.
pub(super) fn takes_long(path: &str) -> bool {
    LONG.contains(&path) || console::takes_long(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::openapi::describer::Schemas;

    /// Else the table and the types say different things.
    #[test]
    fn a_route_answers_with_the_statuses_of_its_row() {
        let mut schemas = Schemas::default();
        for route in routes() {
            assert_eq!(
                route.operation(&mut schemas).own_statuses(),
                route.statuses.0,
                "{} {}",
                route.method,
                route.path
            );
        }
    }
}
