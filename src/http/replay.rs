//! `POST /v1/events/{id}/replay`: an event once more through its line.

use serde::Deserialize;
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};
use super::events::{find_version, reader};
use super::hooks;
use super::repeat::Once;
use crate::app::now;
use crate::audit::Action;
use crate::ingest::{self, Asking, Existing, NotRedriven, Receipt, Stop};
use crate::integration::Found;
use crate::integration::load::direct;

/// What may be said of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    tasks: Existing,
}

/// `POST /v1/events/{id}/replay`
pub(super) async fn replay(mut call: Call, id: String) -> Result<Answer, Failed> {
    let (company, admin) = reader(&call)?.admin()?;
    let body = call.body().await?;
    let asked = if body.is_empty() { Ok(Asked::default()) } else { serde_json::from_slice(&body) };
    let asked = asked.map_err(|e| Problem::Invalid(format!("not a replay request: {e}")))?;
    let event = find_version(&call, &company, &id).await?;
    call.weigh(&event.event.body).await?;
    let named = event.event.id;
    let name = event.event.integration.clone();
    let integration = match call.app.registry.find(&name.0) {
        Found::Live(integration) if integration.company_id == company => Some(integration),
        // Its `[config]` is another company's.
        Found::Live(_) => return Err(Problem::IntegrationMoved(name).into()),
        _ if name == direct() => None,
        Found::Loading => return Err(Problem::Stop(Stop::Loading(name)).into()),
        Found::Unknown => return Err(Problem::UnknownIntegration { name: name.to_string() }.into()),
    };
    let raw = event.event.raw();
    let known = integration.as_ref().and_then(|it| it.delivery(&raw));
    let once = known.map(|id| Once::delivery(id, &raw.body, raw.received_at));
    let remembered = |receipt: &Receipt| once.as_ref()?.remember(&hooks::told(receipt, named).ok()?);
    // Stored in one commit with what the replay does.
    let audit = |detail: &str| admin.does(Action::EventReplayed, named).of(&company).with(detail);
    let asked = Asking { existing: asked.tasks, now: now(), audit: &audit };
    match ingest::redrive(&call.app, integration.as_deref(), event, asked, remembered).await {
        Ok(redriven) => Ok(Answer::json(StatusCode::OK, &redriven)?.for_event(named)),
        Err(NotRedriven::Refused(why)) => Err(Problem::NotReplayable(why).into()),
        Err(NotRedriven::Stop(stop)) => Err(Problem::Stop(stop).into()),
    }
}
