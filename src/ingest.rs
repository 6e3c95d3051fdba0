//! The pipeline: one line for every way in. The state lives in types, so that no stage can be skipped:
//! [`RawEvent`] → [`Payload`] → [`CheckedPayload`] → [`Outcome`](crate::plugin::Outcome) → [`NewTask`] →
//! [`Task`](crate::task::Task).
//!
//! `ingest/checked.rs` is the part around the plugin, `ingest/outcome.rs` what is stored at the end and answered,
//! `ingest/stop.rs` why a line ends early, `ingest/stages.rs` how long each part took. `ingest/batch.rs` is many lines
//! with one end, `ingest/later.rs` a line after its answer, `ingest/redrive.rs` a replay, `ingest/attempt.rs` a quarantined
//! delivery that its sender tries again, `ingest/rehearsal.rs` a line without its end, and `ingest/noted.rs` what goes
//! through no line.

mod attempt;
mod batch;
mod checked;
mod later;
mod noted;
mod outcome;
mod redrive;
mod rehearsal;
mod stages;
mod stop;

use std::sync::Arc;

use crate::app::App;
use crate::event::{RawEvent, Stage};
use crate::integration::Integration;
use crate::payload::{self, DecodeError, Payload, Rules};
use crate::schema::{self, Schema};
use crate::store::{Commit, Committed, FirstAnswer, Idempotency, StoreError};
use crate::task::NewTask;

pub use attempt::{Attempted, attempt};
pub use batch::batch;
pub use checked::CheckedPayload;
pub(crate) use later::moved;
pub use later::{accept, panicked, work};
pub use noted::{duplicate, skip, unreadable};
use outcome::Ready;
pub use outcome::{Ended, Receipt, Told, refusal, rejected};
pub use redrive::{Asking, Existing, NotRedriven, Redriven, redrive};
pub use rehearsal::{Rehearsed, rehearse};
use stages::Stages;
pub use stop::{Failed, Stop};

/// `POST /v1/hooks/{integration}`: the whole line, plugin included. `tell` makes the answer, before the commit, so
/// that what is remembered of it is stored together with what was done; `refusal` is what is remembered where it is
/// quarantined.
///
/// # Errors
/// The stage that ended it; the event is then quarantined.
pub async fn hook<A>(
    app: &App,
    integration: &Integration,
    raw: RawEvent,
    refusal: Option<Idempotency>,
    tell: impl FnOnce(&Receipt) -> Told<A>,
) -> Result<Ended<A>, Stop> {
    let mut stages = Stages::start();
    let result = mapped_line(integration, &raw, &mut stages).await;
    rehearsal::beside(integration, &raw, &result);
    // A repetition was looked up before the plugin ran.
    let earlier = std::future::ready(Ok(None));
    let line = Line { integration: Some(integration), raw, stages, refusal };
    finish(app, line, result, tell, earlier).await
}

/// `POST /v1/tasks`: the same line with a built-in integration that has no plugin. `earlier` is the first answer to the
/// same request: it is looked up only where the request would fail, since otherwise the commit decides.
///
/// # Errors
/// The stage that ended it; the event is then quarantined.
pub async fn task<A>(
    app: &App,
    rules: &Rules,
    raw: RawEvent,
    tell: impl FnOnce(&Receipt) -> Told<A>,
    earlier: impl Future<Output = Result<Option<FirstAnswer>, StoreError>>,
) -> Result<Ended<A>, Stop> {
    let mut stages = Stages::start();
    let result = direct_line(rules, &raw, &mut stages);
    let line = Line { integration: None, raw, stages, refusal: None };
    finish(app, line, result, tell, earlier).await
}

async fn mapped_line(integration: &Integration, raw: &RawEvent, stages: &mut Stages) -> Result<Ready, Stop> {
    let payload = stages.end(Stage::Decode, integration.payload(raw))?;
    let checked = CheckedPayload::of(integration, raw, payload).await;
    let checked = stages.end(Stage::Schema, checked)?;
    let context = integration.context(raw.id, raw.received_at);
    let called = integration.plugin.map(Arc::clone(checked.text()), context).await;
    match stages.end(Stage::Plugin, called.result) {
        Ok(outcome) => stages.end(Stage::Task, checked.ready(outcome, called.log, &integration.rules)),
        Err(error) => Err(Failed::stop(error, called.log, integration, raw.id, &checked)),
    }
}

fn direct_line(rules: &Rules, raw: &RawEvent, stages: &mut Stages) -> Result<Ready, Stop> {
    let payload = stages.end(Stage::Decode, raw.decode(schema::task_create(), rules))?;
    let (task, loosened) = stages.end(Stage::Task, NewTask::parse(payload, rules)).map_err(Stop::Schema)?;
    Ok(Ready::one(task, loosened))
}

/// A line whose stages have run.
struct Line<'a> {
    integration: Option<&'a Integration>,
    raw: RawEvent,
    stages: Stages,
    /// What is remembered of it where it is quarantined.
    refusal: Option<Idempotency>,
}

/// One durable commit, whatever the outcome; then the answer.
async fn finish<A>(
    app: &App,
    Line { integration, raw, stages, refusal }: Line<'_>,
    result: Result<Ready, Stop>,
    tell: impl FnOnce(&Receipt) -> Told<A>,
    earlier: impl Future<Output = Result<Option<FirstAnswer>, StoreError>>,
) -> Result<Ended<A>, Stop> {
    let stop = match result {
        Ok(ready) => {
            let now = raw.received_at;
            let (ingested, receipt) = outcome::stored(integration, raw, ready, stages.done(), now);
            let Told { answer, remembered } = tell(&receipt);
            let commit = Commit { ingested: vec![ingested], idempotency: remembered };
            return Ok(outcome::committed(app, commit, answer, earlier).await?);
        }
        Err(stop) => stop,
    };
    if let Some(first) = earlier.await? {
        return Ok(Ended::Before(first));
    }
    // Where nothing was begun, the sender tries again, and that is a new delivery.
    if !stop.is_kept() {
        return Err(stop);
    }
    let ingested = vec![outcome::quarantined(integration, raw, &stop, stages.done())];
    // Stored before the answer, so that the event can be found with what the answer says.
    match app.store.commit(Commit { ingested, idempotency: refusal }).await? {
        Committed::Stored => Err(stop),
        Committed::Repeated(first) => Ok(Ended::Before(first)),
        Committed::Erased => Ok(Ended::Erased),
    }
}

impl RawEvent {
    /// The body as JSON, whatever it came as and was wrapped in.
    ///
    /// # Errors
    /// Where it is no JSON, no form, or several items.
    pub fn decode(&self, schema: &Schema, rules: &Rules) -> Result<Payload, DecodeError> {
        let payload = payload::decode(self.content_type.as_deref(), &self.body, rules)?;
        payload::unwrap_envelope(payload, schema.shape(), rules)
    }
}
