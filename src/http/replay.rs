//! `POST /v1/events/{id}/replay`: an event once more through its line.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use uuid::Uuid;
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};
use super::events::{MISSING, find, reader};
use super::hooks;
use super::repeat::Once;
use crate::app::now;
use crate::audit::Action;
use crate::ingest::{self, Existing, NotRedriven, Receipt, Redriven, Stop};
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
    let _alone = Alone::with(&call.app.redriving, &id)?;
    let event = find(&call, &company, &id).await?;
    let named = event.id;
    let name = event.integration.clone();
    let integration = match call.app.registry.find(&name.0) {
        Found::Live(integration) => Some(integration),
        _ if name == direct() => None,
        Found::Loading => return Err(Problem::Stop(Stop::Loading(name)).into()),
        Found::Unknown => return Err(Problem::UnknownIntegration { name: name.to_string() }.into()),
    };
    let known = integration.as_ref().and_then(|it| it.delivery(&event.raw()));
    let once = known.map(|id| Once::delivery(id, &event.body));
    let remembered = |receipt: &Receipt| {
        let answer = hooks::answer(receipt, named).ok()?.for_event(named);
        once.as_ref()?.remember(&answer)
    };
    let redriven = ingest::redrive(&call.app, integration.as_deref(), event, asked.tasks, now(), remembered).await;
    let came = |it: &Redriven| format!("{} created, {} updated, {} left", it.created, it.updated, it.left);
    let detail = redriven.as_ref().map_or_else(|_| "not done".to_owned(), came);
    call.app.store.note(admin.does(Action::EventReplayed, named).of(&company).with(detail)).await?;
    match redriven {
        Ok(redriven) => Ok(Answer::json(StatusCode::OK, &redriven)?.for_event(named)),
        Err(NotRedriven::Refused(why)) => Err(Problem::NotReplayable(why).into()),
        Err(NotRedriven::Stop(stop)) => Err(Problem::Stop(stop).into()),
    }
}

/// An event that nobody else drives meanwhile: one server at a time has the store.
struct Alone<'a>(&'a Mutex<HashSet<Uuid>>, Uuid);

impl<'a> Alone<'a> {
    fn with(all: &'a Mutex<HashSet<Uuid>>, id: &str) -> Result<Self, Problem> {
        let id = Uuid::parse_str(id).map_err(|_| MISSING)?;
        let free = all.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        free.then(|| Self(all, id)).ok_or(Problem::NotReplayable("it is being driven through just now"))
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}
