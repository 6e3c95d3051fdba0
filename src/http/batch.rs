//! `POST /v1/tasks/batch`: many tasks in one request, each on its own.

use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use warp::http::StatusCode;

use super::answer::{Answer, Failed};
use super::call::Call;
use super::conflict::{ComparedBody, explained};
use super::openapi::describer::Describer;
use super::openapi::headers;
use super::problem::Problem;
use super::problem_reply::ProblemBody;
use super::query::routes::BatchQuery;
use super::query::values::OnError;
use super::repeat::{Once, Told};
use super::reply::TypedReply;
use super::request_headers::IdempotencyKey;
use super::task_body::BatchBody;
use super::tasks::reads_task;
use crate::auth::ApiKey;
use crate::format::payload;
use crate::integration::stop::Stop;
use crate::model::event::RawEvent;
use crate::model::ids::{EventId, new_id};
use crate::model::task::Task;
use crate::model::time::now;
use crate::pipeline;
use crate::pipeline::Receipt;
use crate::system::trace;

/// The content type of an item's event.
const ITEM_TYPE: &str = "application/json";
/// Most violations in a batch's response, all items together; each item shows at least one.
const SHOWN: usize = 1000;

/// What became of a batch.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BatchAnswer {
    /// One for each item, in the order in which they were sent.
    data: Vec<BatchItem>,
    /// How many there are of each kind.
    summary: BatchSummary,
    /// With the status 422: how many failed, and why the first one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// How many items were created.
#[derive(Debug, Serialize, JsonSchema)]
struct BatchSummary {
    /// Items that are tasks now.
    created: usize,
    /// Items that are not.
    failed: usize,
}

/// What became of one item.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "most items are tasks, and live until they are written")]
enum BatchItem {
    /// It is a task now.
    Created {
        /// Its place in the batch, from 0.
        index: usize,
        /// 201
        status: u16,
        /// The task.
        task: Option<Task>,
        /// The event that it became.
        event_id: EventId,
        /// The fields that were not sent as documented and were corrected.
        loosened: Vec<String>,
    },
    /// It is not.
    Failed {
        /// Its place in the batch, from 0.
        index: usize,
        /// The status that a request of its own would get.
        status: u16,
        /// Why.
        error: ProblemBody,
        /// The event that it became, in quarantine.
        event_id: EventId,
    },
}

/// `POST /v1/tasks/batch`
pub(super) async fn create(
    call: Call,
    key: Arc<ApiKey>,
    (repeat, query, BatchBody(body)): (IdempotencyKey, BatchQuery, BatchBody),
) -> Result<Answer<BatchAnswer>, Failed> {
    let once = Once::of(repeat, Some(&key.company_id), &key.id.0, "/v1/tasks/batch", &body);
    let items = match payload::split(call.header("content-type"), &body, &key.rules()) {
        Ok(items) => items,
        // Nothing is committed, so a repetition is looked up here.
        Err(error) => {
            return match once.before(&call).await {
                Ok(before) => before.ok_or(Failed::from(Stop::Decode(error))),
                Err(problem) => Err(explained(problem.into(), &call, &key.company_id, &[], reads_task(&key)).await),
            };
        }
    };
    match create_once(&call, &key, &once, &items, query.on_error).await {
        Err(failed) => {
            let sent: Vec<_> = items.iter().map(|body| ComparedBody { content_type: Some(ITEM_TYPE), body }).collect();
            Err(explained(failed, &call, &key.company_id, &sent, reads_task(&key)).await)
        }
        created => created,
    }
}

/// Creates the tasks, unless this is a repetition.
async fn create_once(
    call: &Call,
    key: &ApiKey,
    once: &Once,
    items: &[Bytes],
    on_error: Option<OnError>,
) -> Result<Answer<BatchAnswer>, Failed> {
    let received_at = now();
    let event = |body| RawEvent {
        id: EventId(new_id(received_at)),
        received_at,
        company_id: key.company_id.clone(),
        content_type: Some(ITEM_TYPE.into()),
        headers: Vec::new(),
        query: Vec::new(),
        path: String::new(),
        body,
        redacted: Vec::new(),
        trace: trace::context(),
        origin: None,
    };
    let events: Vec<_> = items.iter().cloned().map(event).collect();
    let ids: Vec<_> = events.iter().map(|it| it.id).collect();
    let mut batch = pipeline::batch(&key.rules(), events).await;
    let Told { answer, remembered } = told(once, &ids, batch.take_results(), on_error);
    let superseded = batch.commit(&call.app.pipeline, remembered, once.stored(call)).await?;
    Ok(once.ended(answer, superseded)?)
}

/// Writes the response. A batch that created nothing is not remembered: a corrected one may be sent under the same key.
fn told(
    once: &Once,
    ids: &[EventId],
    results: Vec<Result<Receipt, Stop>>,
    on_error: Option<OnError>,
) -> Told<Result<Answer<BatchAnswer>, Problem>> {
    let created = results.iter().filter(|it| it.is_ok()).count();
    let failed = results.len() - created;
    let summary = BatchSummary { created, failed };
    let mut shown = SHOWN;
    let data: Vec<_> =
        results.into_iter().zip(ids).enumerate().map(|(index, (it, id))| item(index, *id, it, &mut shown)).collect();
    let status = match on_error.filter(|_| failed > 0) {
        None => StatusCode::OK,
        Some(OnError::MultiStatus) => StatusCode::MULTI_STATUS,
        Some(OnError::Fail) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let message = (status == StatusCode::UNPROCESSABLE_ENTITY).then(|| message(&data, &summary));
    let answer = BatchAnswer { data, summary, message }.write().map(|it| it.status(status));
    if created == 0 { Told { answer, remembered: None } } else { once.tell(answer) }
}

/// What the n8n editor shows of a batch with the status 422.
fn message(data: &[BatchItem], BatchSummary { created, failed }: &BatchSummary) -> String {
    let first = data.iter().find_map(|it| match it {
        BatchItem::Failed { index, error, .. } => Some(format!("; item {index}: {}", error.message())),
        BatchItem::Created { .. } => None,
    });
    let items = if *failed == 1 { "item" } else { "items" };
    format!("{failed} {items} failed, {created} created; send only the failed ones again{}", first.unwrap_or_default())
}

/// One item's result. `shown` is how many violations may still be shown, beyond the first one of each item.
fn item(index: usize, event_id: EventId, result: Result<Receipt, Stop>, shown: &mut usize) -> BatchItem {
    let problem = match result {
        Ok(Receipt::Created { tasks, loosened }) => {
            let loosened = loosened.iter().map(str::to_owned).collect();
            let (status, task) = (StatusCode::CREATED.as_u16(), tasks.into_iter().next());
            return BatchItem::Created { index, status, task, event_id, loosened };
        }
        // Only integrations skip and capture.
        Ok(Receipt::Skipped { .. } | Receipt::Captured) => Problem::Internal,
        Err(Stop::Schema(violations)) => {
            let violations = violations.at_most(*shown.max(&mut 1));
            *shown = shown.saturating_sub(violations.len());
            Problem::from(violations)
        }
        Err(stop) => Problem::Stop(stop),
    };
    BatchItem::Failed { index, status: problem.status().as_u16(), error: problem.body(), event_id }
}

impl TypedReply for BatchAnswer {
    fn write(self) -> Result<Answer<Self>, Problem> {
        Answer::json(StatusCode::OK, &self)
    }

    fn describe(to: &mut Describer<'_>) {
        to.answers::<Self>(200, "What became of each item.", &[]);
        to.answers::<Self>(207, "The same, with `on_error=multi-status`, if an item failed.", &[]);
        to.answers::<Self>(
            422,
            "The same, with `on_error=fail`, if an item failed.",
            &[headers::REPLAYED, headers::LOOSENED],
        );
    }
}
