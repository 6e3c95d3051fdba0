//! `/v1/admin/learned-secrets`: secrets that senders have sent in a handshake, until an admin confirms them. No answer, log line
//! or audit entry has the secret itself.

use schemars::JsonSchema;
use serde::Serialize;

use super::answer::Failed;
use super::call::Call;
use super::path::Path;
use super::problem::Problem;
use super::reply::{List, NoContent, Success};
use crate::config::SecretsFile;
use crate::model::audit::Action;
use crate::model::company::CompanyId;
use crate::model::ids::{EventId, IntegrationName};
use crate::model::secret::Secret;
use crate::service::app::{Admin, App};
use crate::service::learned::LearnedSecret;

/// No secret of this company waits under this event.
const NO_SECRET: Problem = Problem::NotFound("no secret of this event waits for confirmation");

/// A secret that was confirmed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SecretConfirmed {
    /// The integration that uses it now.
    integration: IntegrationName,
    /// Its name in plugin.toml and in the secrets file.
    name: String,
    /// Whether the secret must also be entered at the sender, to finish its setup.
    enter_at_sender: bool,
}

/// `GET /v1/admin/learned-secrets`. The operator sees those of every company, an admin those of its own.
pub(super) async fn list(call: Call, admin: Admin, (): ()) -> Result<List<LearnedSecret>, Failed> {
    Ok(List { data: call.app.learned.list(admin.company()) })
}

/// `POST /v1/admin/learned-secrets/{id}/confirm`: writes the secret into the secrets file, and reloads its integration.
pub(super) async fn confirm(
    call: Call,
    admin: Admin,
    Path(event): Path<EventId>,
) -> Result<Success<SecretConfirmed>, Failed> {
    let app = &call.app;
    // One by one: two secrets must not get the same name.
    let _alone = app.confirming.lock().await;
    let (company, integration, secret) = waiting(app, &admin, event)?;
    let file = secrets_file(app)?;
    let name = free_name(app, &company, &integration)?;
    let written = (name.clone(), secret);
    on_disk(file, move |file| file.add(&written.0, &written.1)).await?;
    if let Err(problem) = go_live(app, &integration).await {
        let (file, unused) = (secrets_file(app)?, name);
        on_disk(file, move |file| file.unset(&unused).map(drop)).await?;
        drop(reload(app).await);
        return Err(problem.into());
    }
    let entry = admin.does(Action::SecretConfirmed, &integration).of(&company);
    app.store.note(entry.with(format!("event {event}, as {name}"))).await?;
    app.learned.remove(event).map_err(Problem::Operation)?;
    tracing::info!(%integration, name, "a learned secret was confirmed");
    let live = app.registry.get(&integration.0);
    let enter_at_sender = live.and_then(|it| it.sender.as_ref().map(|it| it.setup.enter_secret)).unwrap_or(false);
    Ok(Success(SecretConfirmed { integration, name, enter_at_sender }))
}

/// `DELETE /v1/admin/learned-secrets/{id}`: the secret is forgotten.
pub(super) async fn reject(call: Call, admin: Admin, Path(event): Path<EventId>) -> Result<NoContent, Failed> {
    let _alone = call.app.confirming.lock().await;
    let (company, integration, _) = waiting(&call.app, &admin, event)?;
    let entry = admin.does(Action::SecretRejected, &integration).of(&company);
    call.app.store.note(entry.with(format!("event {event}"))).await?;
    call.app.learned.remove(event).map_err(Problem::Operation)?;
    Ok(NoContent)
}

fn waiting(app: &App, admin: &Admin, event: EventId) -> Result<(CompanyId, IntegrationName, Secret), Problem> {
    app.learned.find(event).filter(|(company, ..)| admin.manages(company)).ok_or(NO_SECRET)
}

fn secrets_file(app: &App) -> Result<SecretsFile, Problem> {
    let path = app.senders.secrets_file().ok_or_else(|| {
        Problem::SecretPlace(
            "no secrets_file is configured: name one in hookmill.toml and restart the server; the secret waits until then".into(),
        )
    })?;
    Ok(SecretsFile::new(path))
}

/// The first name in plugin.toml under which no secret is set.
fn free_name(app: &App, company: &CompanyId, integration: &IntegrationName) -> Result<String, Problem> {
    let live = app.registry.get(&integration.0).filter(|it| it.company_id == *company);
    let live = live.ok_or_else(|| Problem::SecretPlace(format!("the integration {integration} is not live")))?;
    let senders = app.senders.get();
    let free = live.secrets.names.iter().find(|it| senders.secrets.get(it).is_none());
    free.cloned().ok_or_else(|| {
        let names = live.secrets.names.join(", ");
        Problem::SecretPlace(format!(
            "every name in `secret` of [auth] is set ({names}): add another name there, which the new secret gets"
        ))
    })
}

async fn on_disk(
    file: SecretsFile,
    change: impl FnOnce(&SecretsFile) -> Result<(), String> + Send + 'static,
) -> Result<(), Problem> {
    let changed = tokio::task::spawn_blocking(move || change(&file)).await;
    changed.map_err(|_| Problem::Internal)?.map_err(Problem::Operation)
}

async fn reload(app: &App) -> Result<crate::service::watch::Pass, Problem> {
    let watch = app.watch.as_ref().ok_or(Problem::NotFound("this server has no plugins folder"))?;
    watch.reload().await.map_err(Problem::Operation)
}

/// Reloads, and checks that the integration accepts its new secret.
async fn go_live(app: &App, integration: &IntegrationName) -> Result<(), Problem> {
    let pass = reload(app).await?;
    match pass.refused.get(&*integration.0) {
        None if pass.unread.is_empty() => Ok(()),
        None => Err(Problem::SecretPlace("the secrets file cannot be read; the server's log says why".into())),
        Some(_) => Err(Problem::SecretPlace(format!(
            "{integration} refuses this secret, so it was not set; the server's log says why"
        ))),
    }
}
