//! `POST /v1/events/{id}/copy`: an event with another body, made by an admin from a stored one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use warp::http::StatusCode;

use super::answer::{Answer, Failed, with_loosened};
use super::body::{Json, JsonBody};
use super::call::Call;
use super::events::{EventAnswer, body_limit, find};
use super::openapi::describer::Describer;
use super::openapi::examples::Example;
use super::openapi::headers;
use super::path::Path;
use super::problem::Problem;
use super::reader::CompanyAdmin;
use super::repeat::{Once, Telling};
use super::replay::live_integration;
use super::reply::TypedReply;
use super::request_headers::IdempotencyKey;
use crate::format::payload::{CODING_HEADER, Loosened, received_type};
use crate::model::audit::Action;
use crate::model::event::{Event, RawEvent};
use crate::model::ids::{EventId, new_id};
use crate::model::origin::Origin;
use crate::model::task::Task;
use crate::model::time::now;
use crate::pipeline;
use crate::pipeline::{CopiedEvent, Superseded};
use crate::store::{Commit, Ingested};
use crate::system::log::{Field, know};
use crate::system::trace;

/// Most characters of a content type.
const TYPE_CHARACTERS: usize = 256;

/// The copy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CopyRequest {
    /// The body, as text. It has no content coding.
    body: String,
    /// Its content type; that of the copied event if left out.
    #[schemars(length(max = 256), extend("pattern" = "^[ -~]*/[ -~]*$"))]
    content_type: Option<String>,
    /// Only say what would become of it.
    #[serde(default)]
    dry_run: bool,
}

impl JsonBody for CopyRequest {
    const ABOUT: &'static str = "The copy.";
    const EXAMPLES: &'static [Example] = &[];
}

/// A copy of an event, and its tasks.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EventCopyAnswer {
    /// The new event.
    event: EventAnswer,
    /// The tasks that it created.
    tasks: Vec<Task>,
    /// Nothing was stored.
    dry_run: bool,
}

/// 201 with the new event, or 200 with what it would be.
pub(super) struct EventCopied {
    id: EventId,
    answer: EventCopyAnswer,
}

/// `POST /v1/events/{id}/copy`: the copied event never changes, and the copy is not compared with its delivery id.
pub(super) async fn copy(
    mut call: Call,
    CompanyAdmin { company, admin }: CompanyAdmin,
    (Path(id), repeat, Json { value: asked, bytes }): (Path<EventId>, IdempotencyKey, Json<CopyRequest>),
) -> Result<Answer<EventCopied>, Failed> {
    let once = Once::of(repeat, Some(&company), admin.name(), &format!("/v1/events/{id}/copy"), &bytes);
    if let Some(answer) = once.before(&call).await? {
        return Ok(answer);
    }
    let original = find(&call, &company, id).await?.event;
    let limit = body_limit(&call, &original);
    if asked.body.len() > limit {
        return Err(Problem::BodyTooLarge { limit }.into());
    }
    if asked.content_type.as_ref().is_some_and(|it| !is_type(it)) {
        let wrong = format!("content_type: must be a content type of at most {TYPE_CHARACTERS} visible characters");
        return Err(Problem::Invalid(wrong).into());
    }
    let integration = live_integration(&call.app, &company, &original.integration)?;
    trace::link(original.trace.as_ref());
    let raw = edited(&original, asked.body, asked.content_type, Origin::copy(id, admin.name()));
    know(Field::Event, raw.id);
    call.weigh_raw(&raw, limit).await?;
    let CopiedEvent { ingested, loosened } =
        pipeline::copied(integration.as_deref(), raw).await.map_err(Problem::from)?;
    let copy = ingested.event.id;
    let answer = told(&ingested, asked.dry_run, &loosened);
    if asked.dry_run {
        return Ok(answer?);
    }
    let remembered = answer.as_ref().ok().and_then(|it| once.remember(it));
    let audit = admin.does(Action::EventCopied, copy).of(&company).with(format!("copy of {id}"));
    let commit = Commit { ingested: vec![ingested], idempotency: remembered, lane: None, audit: Some(audit) };
    let committed = call.app.store.commit(commit).await?;
    Ok(once.ended(answer, Superseded::of(committed))?)
}

/// The copy's answer.
fn told(ingested: &Ingested, dry_run: bool, loosened: &Loosened) -> Telling<EventCopied> {
    let Ingested { event, tasks } = ingested.clone();
    let (id, event) = (event.id, EventAnswer::without_body(event));
    let answer = EventCopied { id, answer: EventCopyAnswer { event, tasks, dry_run } }.write()?;
    Ok(with_loosened(answer, loosened))
}

/// Whether a text can be a content type.
fn is_type(text: &str) -> bool {
    text.len() <= TYPE_CHARACTERS && text.contains('/') && text.bytes().all(|it| (b' '..=b'~').contains(&it))
}

/// The delivery of a copy: that of the original with another body, which is UTF-8 without a coding.
fn edited(original: &Event, body: String, content_type: Option<String>, origin: Origin) -> RawEvent {
    let (sent, at) = (original.raw(), now());
    let content_type = content_type.map(received_type).or(sent.content_type);
    RawEvent {
        id: EventId(new_id(at)),
        received_at: at,
        content_type: content_type.map(|it| in_utf8(&it)),
        headers: sent.headers.into_iter().filter(|(name, _)| name != CODING_HEADER).collect(),
        body: body.into(),
        redacted: Vec::new(),
        trace: trace::context(),
        origin: Some(origin),
        ..sent
    }
}

/// A content type with the charset that the copy has.
fn in_utf8(content_type: &str) -> String {
    let is_charset = |it: &&str| it.trim_start().to_ascii_lowercase().starts_with("charset");
    if !content_type.split(';').skip(1).any(|it| is_charset(&it)) {
        return content_type.to_owned();
    }
    let kept: Vec<_> = content_type.split(';').filter(|it| !is_charset(it)).collect();
    format!("{}; charset=utf-8", kept.join(";"))
}

impl TypedReply for EventCopied {
    fn write(self) -> Result<Answer<Self>, Problem> {
        let is_stored = !self.answer.dry_run;
        let answer = Answer::json(if is_stored { StatusCode::CREATED } else { StatusCode::OK }, &self.answer)?;
        Ok(if is_stored { answer.for_event(self.id) } else { answer })
    }

    fn describe(to: &mut Describer<'_>) {
        let of = [headers::EVENT_ID, headers::LOOSENED, headers::REPLAYED];
        to.answers::<EventCopyAnswer>(
            201,
            "The new event, and the tasks that it created. It may be in quarantine.",
            &of,
        );
        to.answers::<EventCopyAnswer>(200, "What a copy would become; its ids are not stored.", &[headers::LOOSENED]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a body that was edited as text is read in the charset of the original.
    #[test]
    fn a_copy_is_utf_8() {
        assert_eq!(in_utf8("application/json"), "application/json");
        assert_eq!(in_utf8("text/plain; charset=latin1; x=1"), "text/plain; x=1; charset=utf-8");
        assert_eq!(in_utf8("text/xml;Charset=\"utf-16\""), "text/xml; charset=utf-8");
    }
}
