//! What a delivery carries, and what its sender is answered.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use warp::http::StatusCode;

use super::answer::Answer;
use super::call::Call;
use super::input::Input;
use super::openapi::describer::Describer;
use super::openapi::document::ParameterPlace;
use super::openapi::examples::example;
use super::openapi::headers;
use super::problem::Problem;
use super::reply::{List, TypedReply};
use super::request_headers::IdempotencyKey;
use crate::model::ids::EventId;
use crate::model::task::Task;

/// A delivery: its headers, query and body are the sender's. The handler reads them, as how depends on the integration.
pub(super) struct SentDelivery;

impl Input for SentDelivery {
    const ANY_QUERY: bool = true;

    async fn read(call: &mut Call) -> Result<Self, Problem> {
        IdempotencyKey::note(call);
        Ok(Self)
    }

    fn describe(to: &mut Describer<'_>) {
        IdempotencyKey::described(to);
        let about = "`respond-async`: answer 202 as soon as the delivery is durable, and process it then.";
        to.header(ParameterPlace::Header, "Prefer", about, json!({"type": "string", "examples": ["respond-async"]}));
        to.body(true, "Whatever the sender sends: JSON or a form. The integration's input.schema.json checks it.");
        let any = |text| schemars::Schema::try_from(json!({"description": text})).unwrap_or_default();
        let examples =
            [example!("calendly", "A booking, for the integration calendly.", "payloads/calendly-created.json")];
        to.content("application/json", any("Any JSON."), &examples);
        to.content("application/x-www-form-urlencoded", any("Any form."), &[]);
        to.content("multipart/form-data", any("Any form; its text parts are read."), &[]);
        to.text("Any query parameters are accepted: senders append their own.");
        to.text("A delivery that fails is in quarantine: its event says why, and can be replayed.");
        to.fails(&[404, 414, 502]);
    }
}

/// What the sender of a delivery is answered; `outcome_answer.rs` writes tasks.
pub(super) enum Delivered {
    /// 200: nothing was created.
    Skipped(Skipped),
    /// 202: the delivery is durable, and will be processed, or was captured.
    Queued(Queued),
}

/// Nothing was created.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Skipped {
    /// Always true.
    skipped: bool,
    /// Why.
    reason: String,
    /// The event.
    event_id: EventId,
}

/// The delivery is durable, and will be processed, or is captured until it is replayed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Queued {
    /// The event; look it up to see what became of it.
    event_id: EventId,
    /// `queued`, or `captured` if the integration only captures deliveries.
    status: &'static str,
}

impl Delivered {
    /// Nothing was created.
    pub(super) fn skipped(reason: &str, event_id: EventId) -> Self {
        Self::Skipped(Skipped { skipped: true, reason: reason.to_owned(), event_id })
    }

    /// The delivery is durable.
    pub(super) fn queued(event_id: EventId) -> Self {
        Self::Queued(Queued { event_id, status: "queued" })
    }

    /// The delivery is durable, and is not mapped.
    pub(super) fn captured(event_id: EventId) -> Self {
        Self::Queued(Queued { event_id, status: "captured" })
    }

    /// The patient's data was erased meanwhile. 200, because the sender cannot fix that and must not retry.
    pub(super) fn erased(event_id: EventId) -> Self {
        Self::skipped("what was sent about this patient was erased while this delivery was being processed", event_id)
    }
}

/// What a sender's file or `[answer]` of plugin.toml describes instead of a task: a JSON object of ids and fixed text, or
/// the answer to a sender's question.
#[derive(Debug)]
struct DescribedObject;

impl JsonSchema for DescribedObject {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DescribedAnswer".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let about = "What the sender's file, or `[answer]` of plugin.toml, describes: ids and fixed text, or data of the sender's own question.";
        schemars::json_schema!({ "description": about, "type": "object", "not": { "required": ["created_by_id"] } })
    }
}

/// Describes the answers in another form than hookmill's own.
fn describe_forms(to: &mut Describer<'_>) {
    let event = [headers::EVENT_ID, headers::REPLAYED];
    for status in [200, 201, 202, 204] {
        let about = "An answer that the sender's file describes.";
        if status != 204 {
            to.answers::<DescribedObject>(status, about, &event);
            to.answer(status, about, "text/plain; charset=utf-8", None, &event);
            to.answer(status, about, "text/xml; charset=utf-8", None, &event);
        } else {
            to.answer(status, about, "application/json", None, &event);
        }
    }
}

impl TypedReply for Delivered {
    fn write(self) -> Result<Answer<Self>, Problem> {
        match self {
            Self::Skipped(skipped) => Ok(Answer::json(StatusCode::OK, &skipped)?.for_event(skipped.event_id)),
            Self::Queued(queued) => {
                let answer = Answer::json(StatusCode::ACCEPTED, &queued)?
                    .for_event(queued.event_id)
                    .with("location", &format!("/v1/events/{}", queued.event_id));
                let is_later = queued.status == "queued";
                Ok(if is_later { answer.with("preference-applied", "respond-async") } else { answer })
            }
        }
    }

    fn describe(to: &mut Describer<'_>) {
        describe_forms(to);
        let created = [headers::EVENT_ID, headers::LOOSENED, headers::LOCATION, headers::ETAG];
        to.answers::<Task>(201, "One task was created.", &created);
        to.answers::<List<Task>>(201, "Several tasks were created.", &created);
        let event = [headers::EVENT_ID];
        to.answers::<Skipped>(200, "Nothing was created.", &event);
        to.text("Senders with a file (`[auth] sender`) are answered what it says: another status of success, only ids, text or XML; so are their questions whether this URL accepts deliveries.");
        let again =
            [headers::EVENT_ID, headers::LOOSENED, headers::LOCATION, headers::ETAG, headers::PREFERENCE_APPLIED];
        to.answers::<Task>(200, "The delivery arrived before; this is the first response.", &again);
        to.answers::<List<Task>>(200, "", &again);
        to.answers::<Queued>(200, "", &again);
        let queued = [headers::EVENT_ID, headers::LOCATION, headers::PREFERENCE_APPLIED];
        to.answers::<Queued>(202, "The delivery is durable, and will be processed, or is captured.", &queued);
    }
}
