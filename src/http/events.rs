//! `/v1/events`: received events and their results.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use warp::http::StatusCode;

use super::answer::{Answer, Failed};
use super::call::Call;
use super::openapi::describer::Describer;
use super::openapi::headers;
use super::path::{NO_EVENT, Path};
use super::problem::Problem;
use super::query::routes::EventListQuery;
use super::reader::{CompanyAdmin, Reader};
use super::reply::{Page, TypedReply};
use crate::auth::{AuthError, Scope};
use crate::format::schema::Violation;
use crate::integration::checked::CheckedPayload;
use crate::integration::stop::Stop;
use crate::model::audit::Action;
use crate::model::company::CompanyId;
use crate::model::event::{Event, Stage};
use crate::model::ids::EventId;
use crate::service::app::App;
use crate::service::search::PayloadQuery;
use crate::store::{EventFilter, Versioned};
use crate::system::log::{Field, know};

/// An event, as far as its reader may see it.
#[derive(Debug)]
pub(super) struct EventAnswer {
    event: Event,
    /// Its reader may see [`Event::INSIDE`].
    inside: bool,
    /// What was sent, for an admin who has asked for this event.
    sent: Option<Sent>,
}

impl EventAnswer {
    /// An event of a list, for an admin.
    pub(super) fn without_body(event: Event) -> Self {
        Self { event, inside: true, sent: None }
    }
}

/// What was sent.
#[derive(Debug, Serialize, JsonSchema)]
struct Sent {
    /// The body as text, without its content coding; only for admins.
    body: String,
    /// What the plugin would get, as the integration reads it today; null where it is not live, or cannot read it. Only for
    /// admins.
    payload: Value,
    /// What the schema that is live refuses in the payload, for an event that ended at its schema; only for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    violations: Option<Vec<Violation>>,
}

/// 200 with an event.
pub(super) struct EventFound(EventAnswer);

/// 200 with an event's body.
pub(super) struct RawBody(Event);

/// Where a list of events continues.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EventPagination {
    /// Most events of a page.
    limit: usize,
    /// Send it as `cursor` to get the next page; null on the last one. A page may be short, or empty, although more follow:
    /// the work of one request is limited.
    next_cursor: Option<String>,
    /// Only for a search in payloads: it covers events received since then, because older ones are not in the index, or not
    /// yet. Null if it covers all.
    #[serde(skip_serializing_if = "Option::is_none")]
    searched_since: Option<Option<DateTime<Utc>>>,
}

/// A page of events.
pub(super) type EventList = Page<EventAnswer, EventPagination>;

/// `GET /v1/events`: newest first.
pub(super) async fn list(call: Call, reader: Reader, query: EventListQuery) -> Result<EventList, Failed> {
    if (!query.reason.is_empty() || query.repeats.is_some()) && !reader.inside {
        return Err(AuthError::Scope(Scope::EventsRead).into());
    }
    let (after, limit) = (query.cursor, query.limit.0);
    if let Some(payload) = query.payload().map_err(Problem::from)? {
        let who = reader.admin()?;
        return search(&call, who, (payload, query.filter()), after, limit).await;
    }
    let _one_of_few = call.app.memory.page().await;
    let page = call.app.store.list_events(&reader.company, query.filter(), after, limit).await?;
    let inside = reader.inside;
    let data = page.events.into_iter().map(|event| EventAnswer { event, inside, sent: None }).collect();
    let next_cursor = page.next.map(|it| it.to_string());
    Ok(Page { data, pagination: EventPagination { limit, next_cursor, searched_since: None } })
}

/// What is in bodies is shown by what is found, so a search is audited as a read is, without its words.
async fn search(
    call: &Call,
    who: CompanyAdmin,
    asked: (PayloadQuery, EventFilter),
    after: Option<EventId>,
    limit: usize,
) -> Result<EventList, Failed> {
    if !call.app.search.is_on() {
        return Err(Problem::NotFound(NO_SEARCH).into());
    }
    let app = &call.app;
    let _own = app.searches.begin(&who.company).ok_or(Problem::SearchesRunning)?;
    let found = app.search.search(&*app.store, &app.memory, &who.company, asked, after, limit).await?;
    let entry = who.admin.does(Action::EventsSearched, &who.company).of(&who.company);
    call.app.store.note(entry.with(format!("{} events", found.events.len()))).await?;
    let next_cursor = found.next.map(|it| it.to_string());
    let pagination = EventPagination { limit, next_cursor, searched_since: Some(found.complete_since) };
    Ok(Page { data: found.events.into_iter().map(EventAnswer::without_body).collect(), pagination })
}

/// Why payloads cannot be searched.
const NO_SEARCH: &str = "payloads cannot be searched on this server: its setting console.search_events is 0";

/// `GET /v1/events/{id}`; with the scope `events:read` also headers, log and reason, with `admin` what was sent as well.
pub(super) async fn show(mut call: Call, reader: Reader, Path(id): Path<EventId>) -> Result<EventFound, Failed> {
    let event = find(&call, &reader.company, id).await?.event;
    let limit = body_limit(&call, &event);
    call.weigh_event(&event, limit).await?;
    let mut sent = None;
    if let Some(admin) = reader.admin.filter(|_| event.no_body().is_none()) {
        call.app.store.note(admin.does(Action::EventRead, event.id).of(&event.company_id)).await?;
        let body = String::from_utf8_lossy(&event.raw().content(limit)).into_owned();
        let violations = violations(&call, &event).await;
        sent = Some(Sent { body, payload: payload(&call, &event), violations });
    }
    Ok(EventFound(EventAnswer { event, inside: reader.inside, sent }))
}

/// `GET /v1/events/{id}/raw`: the body, byte for byte.
pub(super) async fn raw(call: Call, who: CompanyAdmin, Path(id): Path<EventId>) -> Result<RawBody, Failed> {
    let event = find(&call, &who.company, id).await?.event;
    if let Some(why) = event.no_body() {
        return Err(Problem::NotFound(why.sentence()).into());
    }
    call.app.store.note(who.admin.does(Action::EventRead, event.id).of(&who.company)).await?;
    Ok(RawBody(event))
}

/// The largest content of an event's body, once its coding is removed.
pub(super) fn body_limit(call: &Call, event: &Event) -> usize {
    stored_body_limit(&call.app, event)
}

/// The same without a request.
pub(super) fn stored_body_limit(app: &App, event: &Event) -> usize {
    let own = app.registry.get(&event.integration.0).filter(|it| it.company_id == event.company_id);
    own.map_or(app.config.limits.body_bytes, |it| it.rules.body_bytes)
}

/// An event, with the version that a change must name.
pub(super) async fn find(call: &Call, company: &CompanyId, id: EventId) -> Result<Versioned, Problem> {
    know(Field::Event, id);
    call.app.store.versioned(company, id).await?.ok_or(NO_EVENT)
}

/// What the plugin would get, as its integration reads it today; null where that is not live, or cannot read it.
fn payload(call: &Call, event: &Event) -> Value {
    let integration = call.app.registry.get(&event.integration.0);
    let own = integration.filter(|it| it.company_id == event.company_id);
    own.and_then(|it| it.payload(&event.raw()).ok()).map_or(Value::Null, |payload| payload.value)
}

/// What the live schema refuses in the payload of an event that ended at its schema.
async fn violations(call: &Call, event: &Event) -> Option<Vec<Violation>> {
    event.reason.as_ref().filter(|it| it.stage == Stage::Schema.name())?;
    let integration = call.app.registry.get(&event.integration.0).filter(|it| it.company_id == event.company_id)?;
    let raw = event.raw();
    let payload = integration.payload(&raw).ok()?;
    match CheckedPayload::of(&integration, &raw, payload).await {
        Ok(_) => Some(Vec::new()),
        Err(Stop::Schema(violations)) => Some(violations.to_vec()),
        Err(_) => None,
    }
}

/// An event has its fields in one place: this leaves some of them out.
impl Serialize for EventAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        let fields = |it: &Event| serde_json::to_value(it).map_err(S::Error::custom);
        let mut fields: Map<String, Value> = serde_json::from_value(fields(&self.event)?).map_err(S::Error::custom)?;
        if !self.inside {
            fields.retain(|name, _| !Event::INSIDE.contains(&name.as_str()));
        }
        if let Some(sent) = &self.sent {
            fields.insert("body".into(), sent.body.as_str().into());
            fields.insert("payload".into(), sent.payload.clone());
            if let Some(violations) = &sent.violations {
                fields.insert("violations".into(), serde_json::to_value(violations).map_err(S::Error::custom)?);
            }
        }
        fields.serialize(serializer)
    }
}

/// The event's, with the fields that not every reader sees.
impl JsonSchema for EventAnswer {
    fn schema_name() -> Cow<'static, str> {
        "Event".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Event::json_schema(generator);
        let sent = Sent::json_schema(generator);
        if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|name| !Event::INSIDE.iter().any(|it| name == it));
        }
        let more = sent.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.extend(more);
        }
        schema
    }
}

impl TypedReply for EventFound {
    fn write(self) -> Result<Answer<Self>, Problem> {
        Ok(Answer::json(StatusCode::OK, &self.0)?.for_event(self.0.event.id))
    }

    fn describe(to: &mut Describer<'_>) {
        to.answers::<EventAnswer>(200, "The event.", &[headers::EVENT_ID]);
    }
}

/// It may be anything, so a browser never shows it.
impl TypedReply for RawBody {
    fn write(self) -> Result<Answer<Self>, Problem> {
        let answer = Answer::bytes("application/octet-stream", self.0.body.to_vec()).for_event(self.0.id);
        Ok(answer.with("content-disposition", "attachment").with("x-content-type-options", "nosniff"))
    }

    fn describe(to: &mut Describer<'_>) {
        let headers = [headers::EVENT_ID, headers::CONTENT_DISPOSITION];
        to.answer(200, "The body, byte for byte.", "application/octet-stream", None, &headers);
    }
}
