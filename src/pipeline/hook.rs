//! The pipeline of a delivery and of a task.

use std::sync::Arc;

use super::captured::captured;
use super::counted;
use super::outcome;
use super::outcome::{Receipt, Superseded};
use super::parts::Pipeline;
use super::prepared::{Prepared, ReadyRun};
use super::stages::{Stages, timed};
use crate::format::payload::Rules;
use crate::format::schema;
use crate::integration::checked::CheckedPayload;
use crate::integration::mapped::Ready;
use crate::integration::stop::{FailedCall, Stop};
use crate::integration::{Integration, Received};
use crate::metrics::integrations::DeliveryEnd;
use crate::model::event::{RawEvent, Stage};
use crate::model::task::NewTask;
use crate::store::{Commit, FirstAnswer, Idempotency, StoreError};

/// `POST /v1/hooks/{integration}`: the whole pipeline, including the plugin unless deliveries are only captured, up to the
/// commit. `refusal` is stored if the
/// event is quarantined, which happens here.
///
/// # Errors
/// The stage that failed; the event is then quarantined.
pub async fn hook<'a>(
    pipeline: &Pipeline,
    integration: &'a Integration,
    mut received: Received,
    refusal: Option<Idempotency>,
) -> Result<Prepared<'a>, Stop> {
    let mut stages = Stages::start();
    if integration.captures {
        let failed = |_: &Stop| integration.series().delivered(DeliveryEnd::Failed);
        let ingested = Box::new(captured(integration, received, stages).await.inspect_err(failed)?);
        return Ok(Prepared::Ready(ReadyRun { integration: Some(integration), ingested, receipt: Receipt::Captured }));
    }
    let result = mapped_line(integration, &mut received, &mut stages).await;
    let raw = received.into_raw();
    pipeline.observers.see(integration, &raw, &result);
    let run = StagedRun { integration: Some(integration), raw, stages };
    match result {
        Ok(ready) => Ok(run.ready(ready)),
        // Repetitions were looked up before the plugin ran.
        Err(stop) => run.quarantine(pipeline, stop, refusal).await,
    }
}

/// `POST /v1/tasks`: the same pipeline with a built-in integration that has no plugin. `earlier` is the stored response to
/// the same request: it is looked up only if the request would fail, because otherwise the commit decides.
///
/// # Errors
/// The stage that failed; the event is then quarantined.
pub async fn task(
    pipeline: &Pipeline,
    rules: &Rules,
    raw: RawEvent,
    earlier: impl Future<Output = Result<Option<FirstAnswer>, StoreError>>,
) -> Result<Prepared<'static>, Stop> {
    let mut stages = Stages::start();
    let result = direct_line(rules, &raw, &mut stages);
    let run = StagedRun { integration: None, raw, stages };
    match result {
        Ok(ready) => Ok(run.ready(ready)),
        Err(stop) => match earlier.await? {
            Some(first) => {
                counted::series(None).delivered(DeliveryEnd::Duplicate);
                Ok(Prepared::Superseded(Superseded::Before(first)))
            }
            None => run.quarantine(pipeline, stop, None).await,
        },
    }
}

pub(super) async fn mapped_line(
    integration: &Integration,
    received: &mut Received,
    stages: &mut Stages,
) -> Result<Ready, Stop> {
    let (payload, earlier) = received.take_payload(integration);
    stages.add(earlier);
    let payload = stages.end(Stage::Decode, payload)?;
    let raw = received.raw();
    let checked = CheckedPayload::of(integration, raw, payload).await;
    let checked = stages.end(Stage::Schema, checked)?;
    let context = integration.context(raw);
    let called = integration.map(Arc::clone(checked.text()), context).await;
    match stages.end(Stage::Plugin, called.result) {
        Ok(outcome) => stages.end(Stage::Task, checked.ready(outcome, called.log, integration, raw.received_at)),
        Err(error) => Err(FailedCall::stop(error, called.log, integration, raw.id, checked.text().len())),
    }
}

pub(super) fn direct_line(rules: &Rules, raw: &RawEvent, stages: &mut Stages) -> Result<Ready, Stop> {
    let payload = stages.end(Stage::Decode, raw.decode(schema::task_create(), rules))?;
    let (task, loosened) = stages.end(Stage::Task, NewTask::parse(payload, rules)).map_err(Stop::Schema)?;
    Ok(Ready::one(task, loosened))
}

/// A pipeline run whose stages have ended.
struct StagedRun<'a> {
    integration: Option<&'a Integration>,
    raw: RawEvent,
    stages: Stages,
}

impl<'a> StagedRun<'a> {
    fn ready(self, ready: Ready) -> Prepared<'a> {
        let (integration, now) = (self.integration, self.raw.received_at);
        let (ingested, receipt) = outcome::stored(integration, self.raw, ready, self.stages.done(), now);
        Prepared::Ready(ReadyRun { integration, ingested: Box::new(ingested), receipt })
    }

    /// Stores the event before its response is written, so that it can be found by the id in the response.
    async fn quarantine(
        self,
        pipeline: &Pipeline,
        stop: Stop,
        refusal: Option<Idempotency>,
    ) -> Result<Prepared<'a>, Stop> {
        // If processing did not begin, the sender retries with a new delivery.
        if !stop.is_kept() {
            counted::series(self.integration).delivered(DeliveryEnd::Failed);
            return Err(stop);
        }
        let ingested = outcome::quarantined(self.integration, self.raw, &stop, self.stages.done());
        let how = counted::as_stored(&ingested.event);
        let commit = Commit { ingested: vec![ingested], idempotency: refusal, lane: None, audit: None };
        let ended = timed(pipeline.store.commit(commit)).await.map(Superseded::of);
        counted::ended(self.integration, how, &ended);
        ended?.map_or(Err(stop), |it| Ok(Prepared::Superseded(it)))
    }
}
