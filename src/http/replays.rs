//! `/v1/admin/replays`: replays of many events, as jobs of a server.

use std::sync::Arc;

use futures_util::FutureExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;
use warp::http::StatusCode;

use super::answer::{Answer, Failed};
use super::body::{Json, JsonBody};
use super::call::Call;
use super::call_body::charge_event;
use super::events::{EventAnswer, stored_body_limit};
use super::openapi::describer::Describer;
use super::openapi::examples::Example;
use super::path::{Path, ReplayJobId};
use super::problem::Problem;
use super::reader::CompanyAdmin;
use super::replay::replayed;
use super::reply::{List, Success, TypedReply};
use crate::model::audit::Action;
use crate::model::company::CompanyId;
use crate::model::event::EventStatus;
use crate::model::ids::{EventId, new_id};
use crate::model::time::now;
use crate::pipeline::Existing;
use crate::service::app::{Admin, App};
use crate::service::replays::{OneReplay, ReplayFilter, ReplayJob, ReplayJobReport, RunningJob, count, newest_now};

/// No job of this company has the id.
const NO_JOB: Problem =
    Problem::NotFound("no such replay; a server with a data directory knows a replay until that server restarts");

/// Largest number of events that can be expected: JSON's numbers are exact up to it (RFC 8259, section 6).
const MOST_EXPECTED: u64 = 9_007_199_254_740_991;

/// A whole number, which JSON Schema also sees in 3.0 (Draft 2020-12, section 4.2.3).
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Some(sent) = Option::<serde_json::Number>::deserialize(deserializer)? else { return Ok(None) };
    let of_float = || sent.as_f64().filter(|it| it.fract() == 0.0 && *it >= 0.0).map(|it| it as u64);
    let number = sent.as_u64().or_else(of_float).filter(|it| *it <= MOST_EXPECTED);
    let wrong = || serde::de::Error::custom(format!("expect must be a whole number of at most {MOST_EXPECTED}"));
    number.map(Some).ok_or_else(wrong)
}

/// Which events to replay.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplaysRequest {
    /// Which events.
    #[serde(default)]
    filter: ReplayFilter,
    /// What is done with the tasks that they created before.
    #[serde(default)]
    tasks: Existing,
    /// Only count the events, and show the newest of them.
    #[serde(default)]
    dry_run: bool,
    /// Only events with this id or a smaller one; `newest` of a preview. Those that have arrived until now if left out.
    newest: Option<EventId>,
    /// How many events match, as a preview has counted them: if it is another number now, nothing is replayed.
    #[schemars(range(max = MOST_EXPECTED))]
    #[serde(default, deserialize_with = "whole")]
    expect: Option<u64>,
}

impl JsonBody for ReplaysRequest {
    const ABOUT: &'static str = "Which events to replay.";
    const EXAMPLES: &'static [Example] = &[];
}

/// What would be replayed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ReplaysPreview {
    /// How many events match.
    matching: u64,
    /// Whether that is all of them: at most 10,000 are counted, for at most 5 seconds.
    is_exact: bool,
    /// How many of those counted would be replayed.
    to_replay: u64,
    /// How many of those to replay have tasks, which are updated.
    with_tasks: u64,
    /// How many of those counted have tasks that are left unchanged, so that they are not replayed.
    left: u64,
    /// How many of those counted cannot be replayed.
    not_replayable: u64,
    /// The newest id that may match; send it with the request that begins the replay.
    newest: EventId,
    /// The newest events that match, at most 20.
    events: Vec<EventAnswer>,
}

/// 200 with a preview, or 201 with a job.
pub(super) enum ReplaysAnswer {
    /// Nothing has begun.
    Preview(Box<ReplaysPreview>),
    /// The job has begun.
    Begun(Box<ReplayJobReport>),
}

/// `POST /v1/admin/replays`: the set of events is fixed when it begins.
pub(super) async fn begin(
    call: Call,
    CompanyAdmin { company, admin }: CompanyAdmin,
    Json { value: asked, .. }: Json<ReplaysRequest>,
) -> Result<ReplaysAnswer, Failed> {
    let app = &call.app;
    asked.filter.check().map_err(Problem::Invalid)?;
    let most = newest_now(now());
    let newest = asked.newest.map_or(most, |it| it.min(most));
    let leaves = asked.tasks == Existing::Leave;
    let counts = asked.dry_run || asked.expect.is_some();
    if counts {
        let found = {
            let _own = app.searches.begin(&company).ok_or(Problem::SearchesRunning)?;
            count(&*app.store, &app.memory, &company, &asked.filter, newest, leaves).await?
        };
        if let Some(expected) = asked.expect.filter(|it| *it != found.matching) {
            return Err(Problem::OtherEvents { expected, found: found.matching }.into());
        }
        if asked.dry_run {
            let events = found.first.into_iter().map(EventAnswer::without_body).collect();
            return Ok(ReplaysAnswer::Preview(Box::new(ReplaysPreview {
                matching: found.matching,
                is_exact: found.is_exact,
                to_replay: found.to_replay,
                with_tasks: found.with_tasks,
                left: found.left,
                not_replayable: found.not_replayable,
                newest,
                events,
            })));
        }
    }
    let job = ReplayJob::new(new_id(now()), company.clone(), asked.filter, asked.tasks, newest, admin.name());
    let whose = match &admin {
        Admin::Operator => "the operator",
        Admin::Company(..) => "this company",
    };
    let job = app.replays.begin(&*app.store, job).await?.ok_or(Problem::OperationRunning { whose })?;
    let begun = audit(&admin, &company, job.id, &format!("begun: {}", job.filter.words()));
    if let Err(error) = app.store.note(begun).await {
        app.replays.forget(&*app.store, &job).await;
        return Err(error.into());
    }
    app.replays.run(running(app, &job, &admin));
    Ok(ReplaysAnswer::Begun(Box::new(job.report())))
}

/// `GET /v1/admin/replays`: newest first.
pub(super) async fn list(call: Call, who: CompanyAdmin, (): ()) -> Result<List<ReplayJobReport>, Failed> {
    Ok(List { data: call.app.replays.of(&*call.app.store, &who.company).await? })
}

/// `GET /v1/admin/replays/{id}`
pub(super) async fn show(
    call: Call,
    who: CompanyAdmin,
    Path(ReplayJobId(id)): Path<ReplayJobId>,
) -> Result<Success<ReplayJobReport>, Failed> {
    Ok(Success(call.app.replays.find(&*call.app.store, &who.company, id).await?.ok_or(NO_JOB)?))
}

/// `POST /v1/admin/replays/{id}/stop`: the job ends after the event that it is replaying.
pub(super) async fn stop(
    call: Call,
    who: CompanyAdmin,
    Path(ReplayJobId(id)): Path<ReplayJobId>,
) -> Result<Success<ReplayJobReport>, Failed> {
    let stopped = call.app.replays.stop_one(&*call.app.store, &who.company, id, who.admin.name()).await?;
    Ok(Success(stopped.ok_or(NO_JOB)?))
}

fn audit(admin: &Admin, company: &CompanyId, job: Uuid, detail: &str) -> crate::model::audit::Entry {
    admin.does(Action::EventsReplayed, job).of(company).with(detail)
}

/// Everything that the job needs: it replays as the one who has begun it, as long as that is allowed.
fn running(app: &Arc<App>, job: &Arc<ReplayJob>, admin: &Admin) -> RunningJob {
    let parts = (Arc::clone(app), job.company.clone(), admin.clone(), job.existing);
    let replay = move |id| {
        let (app, company, admin, existing) = parts.clone();
        async move { one(&app, &company, &admin, id, existing).await }.boxed()
    };
    let (keys_of, asking) = (Arc::clone(app), admin.clone());
    let may = move || match &asking {
        Admin::Operator => true,
        Admin::Company(_, id) => keys_of.keys.list().iter().any(|it| it.id == *id && it.is_good(now())),
    };
    let (who, company, id) = (admin.clone(), job.company.clone(), job.id);
    let note = move |detail: &str| audit(&who, &company, id, detail);
    RunningJob {
        app: Arc::clone(app),
        job: Arc::clone(job),
        replay: Box::new(replay),
        may: Box::new(may),
        audit: Box::new(note),
    }
}

/// Replays one event of a job.
async fn one(app: &Arc<App>, company: &CompanyId, admin: &Admin, id: EventId, existing: Existing) -> OneReplay {
    let found = match app.store.versioned(company, id).await {
        Ok(Some(found)) => found,
        Ok(None) => return OneReplay::Failed(Problem::NotFound("").code().name().into()),
        Err(error) => return ended(&error.into()),
    };
    let limit = stored_body_limit(app, &found.event);
    let _charge = match charge_event(app, &found.event, limit).await {
        Ok(charge) => charge,
        Err(problem) => return ended(&problem),
    };
    match replayed(app, admin, found, existing).await {
        Ok(it) if it.event.status == EventStatus::Quarantined => {
            OneReplay::Failed(it.event.reason.map_or_else(|| "quarantined".into(), |it| it.code))
        }
        Ok(it) => OneReplay::Done { created: it.created, updated: it.updated },
        Err(failed) => ended(&failed.problem),
    }
}

fn ended(problem: &Problem) -> OneReplay {
    let code = problem.code();
    if code.status() == StatusCode::SERVICE_UNAVAILABLE {
        OneReplay::Busy(code.name().into())
    } else {
        OneReplay::Failed(code.name().into())
    }
}

impl TypedReply for ReplaysAnswer {
    fn write(self) -> Result<Answer<Self>, Problem> {
        match self {
            Self::Preview(preview) => Answer::json(StatusCode::OK, &preview),
            Self::Begun(job) => Answer::json(StatusCode::CREATED, &job),
        }
    }

    fn describe(to: &mut Describer<'_>) {
        to.answers::<ReplaysPreview>(200, "With `dry_run`: what would be replayed.", &[]);
        to.answers::<ReplayJobReport>(201, "The replay has begun.", &[]);
    }
}
