//! The pipeline of a delivery and of a task.

use std::sync::Arc;

use super::counted;
use super::outcome;
use super::outcome::{Ended, Receipt, Told};
use super::parts::Pipeline;
use super::stages::{Stages, timed};
use crate::format::payload::{DecodeError, Payload, Rules};
use crate::format::schema::Schema;
use crate::format::{payload, schema};
use crate::integration::Integration;
use crate::integration::checked::CheckedPayload;
use crate::integration::mapped::Ready;
use crate::integration::stop::{FailedCall, Stop};
use crate::metrics::integrations::DeliveryEnd;
use crate::model::event::{RawEvent, Stage};
use crate::model::task::NewTask;
use crate::store::{Commit, FirstAnswer, Idempotency, StoreError};

/// `POST /v1/hooks/{integration}`: the whole pipeline, including the plugin. `tell` creates the response before the
/// commit, so that the stored response and the changes are in one commit; `refusal` is stored instead if the event
/// is quarantined.
///
/// # Errors
/// The stage that failed; the event is then quarantined.
pub async fn hook<A>(
    pipeline: &Pipeline,
    integration: &Integration,
    raw: RawEvent,
    refusal: Option<Idempotency>,
    tell: impl FnOnce(&Receipt) -> Told<A>,
) -> Result<Ended<A>, Stop> {
    let mut stages = Stages::start();
    let result = mapped_line(integration, &raw, &mut stages).await;
    pipeline.observers.see(integration, &raw, &result);
    // Repetitions were looked up before the plugin ran.
    let earlier = std::future::ready(Ok(None));
    let line = HookRun { integration: Some(integration), raw, stages, refusal };
    finish(pipeline, line, result, tell, earlier).await
}

/// `POST /v1/tasks`: the same pipeline with a built-in integration that has no plugin. `earlier` is the stored
/// response to the same request: it is looked up only if the request would fail, because otherwise the commit
/// decides.
///
/// # Errors
/// The stage that failed; the event is then quarantined.
pub async fn task<A>(
    pipeline: &Pipeline,
    rules: &Rules,
    raw: RawEvent,
    tell: impl FnOnce(&Receipt) -> Told<A>,
    earlier: impl Future<Output = Result<Option<FirstAnswer>, StoreError>>,
) -> Result<Ended<A>, Stop> {
    let mut stages = Stages::start();
    let result = direct_line(rules, &raw, &mut stages);
    let line = HookRun { integration: None, raw, stages, refusal: None };
    finish(pipeline, line, result, tell, earlier).await
}

pub(super) async fn mapped_line(integration: &Integration, raw: &RawEvent, stages: &mut Stages) -> Result<Ready, Stop> {
    let payload = stages.end(Stage::Decode, integration.payload(raw))?;
    let checked = CheckedPayload::of(integration, raw, payload).await;
    let checked = stages.end(Stage::Schema, checked)?;
    let context = integration.context(raw.id, raw.received_at);
    let called = integration.plugin.map(Arc::clone(checked.text()), context).await;
    match stages.end(Stage::Plugin, called.result) {
        Ok(outcome) => stages.end(Stage::Task, checked.ready(outcome, called.log, &integration.rules)),
        Err(error) => Err(FailedCall::stop(error, called.log, integration, raw.id, checked.text().len())),
    }
}

pub(super) fn direct_line(rules: &Rules, raw: &RawEvent, stages: &mut Stages) -> Result<Ready, Stop> {
    let payload = stages.end(Stage::Decode, raw.decode(schema::task_create(), rules))?;
    let (task, loosened) = stages.end(Stage::Task, NewTask::parse(payload, rules)).map_err(Stop::Schema)?;
    Ok(Ready::one(task, loosened))
}

/// A pipeline run whose stages are complete.
struct HookRun<'a> {
    integration: Option<&'a Integration>,
    raw: RawEvent,
    stages: Stages,
    /// Stored for repetitions if the event is quarantined.
    refusal: Option<Idempotency>,
}

/// Makes one durable commit, whatever the outcome, and returns the response.
async fn finish<A>(
    pipeline: &Pipeline,
    HookRun { integration, raw, stages, refusal }: HookRun<'_>,
    result: Result<Ready, Stop>,
    tell: impl FnOnce(&Receipt) -> Told<A>,
    earlier: impl Future<Output = Result<Option<FirstAnswer>, StoreError>>,
) -> Result<Ended<A>, Stop> {
    let stop = match result {
        Ok(ready) => {
            let now = raw.received_at;
            let (ingested, receipt) = outcome::stored(integration, raw, ready, stages.done(), now);
            let how = counted::as_stored(&ingested.event);
            let Told { answer, remembered } = tell(&receipt);
            let commit = Commit { ingested: vec![ingested], idempotency: remembered };
            let ended = outcome::committed(pipeline, commit, answer, earlier).await;
            counted::ended(integration, how, &ended);
            return Ok(ended?);
        }
        Err(stop) => stop,
    };
    if let Some(first) = earlier.await? {
        let before = Ok(Ended::Before(first));
        counted::ended(integration, DeliveryEnd::Duplicate, &before);
        return before;
    }
    // If processing did not begin, the sender retries with a new delivery.
    if !stop.is_kept() {
        counted::series(integration).delivered(DeliveryEnd::Failed);
        return Err(stop);
    }
    let ingested = outcome::quarantined(integration, raw, &stop, stages.done());
    let how = counted::as_stored(&ingested.event);
    // Stored before the response, so that the event can be found by the id in the response.
    let commit = Commit { ingested: vec![ingested], idempotency: refusal };
    let ended = timed(pipeline.store.commit(commit)).await.map(|it| Ended::of((), it));
    counted::ended(integration, how, &ended);
    match ended? {
        Ended::Now(()) => Err(stop),
        Ended::Before(first) => Ok(Ended::Before(first)),
        Ended::Erased => Ok(Ended::Erased),
    }
}

impl RawEvent {
    /// Decodes the body, and removes wrappers.
    ///
    /// # Errors
    /// Fails if it is not JSON or a form, or has several items.
    pub fn decode(&self, schema: &Schema, rules: &Rules) -> Result<Payload, DecodeError> {
        let payload = payload::decode(self.content_type.as_deref(), &self.body, rules)?;
        payload::unwrap_envelope(payload, schema.shape(), rules)
    }
}
