//! `POST /v1/events/{id}/replay`: processes an event again.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use warp::http::StatusCode;

use super::answer::{Answer, Failed};
use super::body::{JsonBody, OptionalJson};
use super::call::Call;
use super::events::{body_limit, find};
use super::openapi::describer::Describer;
use super::openapi::examples::Example;
use super::openapi::headers;
use super::outcome_answer::told;
use super::path::Path;
use super::problem::Problem;
use super::reader::CompanyAdmin;
use super::repeat::Once;
use super::reply::TypedReply;
use crate::integration::load::direct;
use crate::integration::stop::Stop;
use crate::integration::{Found, Integration, Received};
use crate::model::audit::Action;
use crate::model::company::CompanyId;
use crate::model::ids::{EventId, IntegrationName};
use crate::model::time::now;
use crate::pipeline;
use crate::pipeline::{Asking, Existing, NotRedriven, PreparedReplay, Redriven};
use crate::service::app::{Admin, App};
use crate::store::Versioned;
use crate::system::trace;

/// How to replay.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ReplayRequest {
    /// What is done with the tasks that the event created before.
    tasks: Existing,
}

impl JsonBody for ReplayRequest {
    const ABOUT: &'static str = "How to replay; may be left out.";
    const EXAMPLES: &'static [Example] = &[];
}

/// 200 with the event, and how many tasks it created.
pub(super) struct Replayed(Redriven);

/// `POST /v1/events/{id}/replay`
pub(super) async fn replay(
    mut call: Call,
    CompanyAdmin { company, admin }: CompanyAdmin,
    (Path(id), OptionalJson(asked)): (Path<EventId>, OptionalJson<ReplayRequest>),
) -> Result<Replayed, Failed> {
    let event = find(&call, &company, id).await?;
    trace::link(event.event.trace.as_ref());
    let limit = body_limit(&call, &event.event);
    call.weigh_event(&event.event, limit).await?;
    Ok(Replayed(replayed(&call.app, &admin, event, asked.tasks).await?))
}

/// The integration that runs an event again: none for events of `POST /v1/tasks`.
pub(super) fn live_integration(
    app: &App,
    company: &CompanyId,
    name: &IntegrationName,
) -> Result<Option<Arc<Integration>>, Problem> {
    match app.registry.find(&name.0) {
        Found::Live(integration) if integration.company_id == *company => Ok(Some(integration)),
        // Its `[config]` belongs to another company.
        Found::Live(_) => Err(Problem::IntegrationMoved(name.clone())),
        _ if *name == direct() => Ok(None),
        Found::Loading => Err(Problem::Stop(Stop::Loading(name.clone()))),
        Found::Unknown => Err(Problem::UnknownIntegration { name: name.to_string() }),
    }
}

/// Replays an event whose memory is charged.
pub(super) async fn replayed(
    app: &App,
    admin: &Admin,
    event: Versioned,
    existing: Existing,
) -> Result<Redriven, Failed> {
    let (named, company) = (event.event.id, event.event.company_id.clone());
    let integration = live_integration(app, &company, &event.event.integration)?;
    let received = Received::new(event.event.raw());
    let known = integration.as_ref().and_then(|it| it.delivery(&received));
    let once = known.map(|id| Once::delivery(id, &received.raw().body, received.raw().received_at));
    // Stored in one commit with what the replay does.
    let audit = |detail: &str| admin.does(Action::EventReplayed, named).of(&company).with(detail);
    let asked = Asking { existing, now: now(), audit: &audit };
    match pipeline::redrive(&app.pipeline, integration.as_deref(), event, received, asked).await? {
        PreparedReplay::Done(redriven) => Ok(redriven),
        PreparedReplay::Ready(ready) => {
            let answers = integration.as_ref().map(|it| it.answers.clone()).unwrap_or_default();
            // The sender's next copy gets the response that this delivery would have got.
            let response = ready.receipt().and_then(|it| told(it, named, &answers).ok());
            let remembered = once.as_ref().zip(response).and_then(|(once, response)| once.remember(&response));
            Ok(ready.commit(remembered).await?)
        }
    }
}

impl TypedReply for Replayed {
    fn write(self) -> Result<Answer<Self>, Problem> {
        Ok(Answer::json(StatusCode::OK, &self.0)?.for_event(self.0.event.id))
    }

    fn describe(to: &mut Describer<'_>) {
        to.answers::<Redriven>(200, "What became of the event.", &[headers::EVENT_ID]);
    }
}

impl From<NotRedriven> for Failed {
    fn from(error: NotRedriven) -> Self {
        match error {
            NotRedriven::Refused(why) => Problem::NotReplayable(why).into(),
            NotRedriven::Stop(stop) => Problem::Stop(stop).into(),
        }
    }
}
