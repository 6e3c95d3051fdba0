//! `POST /v1/admin/plugins/{name}/test-delivery`: a delivery that the server signs with the integration's own secret, and sends to
//! itself. It passes the same checks as any other; only its event says that it is a test.

use bytes::Bytes;
use form_urlencoded::Serializer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use warp::http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::answer::Failed;
use super::body::{JsonBody, OptionalJson};
use super::call::Call;
use super::deliveries::SentDelivery;
use super::events::EventAnswer;
use super::hooks;
use super::openapi::examples::Example;
use super::path::{Path, SentName, UrlSecret};
use super::problem::Problem;
use super::reply::Success;
use crate::auth::sender::{ExampleDelivery, Sender, SignedRequest};
use crate::format::payload::received_type;
use crate::integration::{Integration, TestParts};
use crate::model::audit::Action;
use crate::model::ids::new_id;
use crate::model::origin::Origin;
use crate::model::time::now;
use crate::service::app::Admin;

/// What is sent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TestDeliveryRequest {
    /// The body, as text. The example of the sender's file if left out.
    body: Option<String>,
    /// Its content type. That of the sender's deliveries if left out.
    content_type: Option<String>,
}

impl JsonBody for TestDeliveryRequest {
    const ABOUT: &'static str = "What is sent; may be left out for a sender whose file has an example.";
    const EXAMPLES: &'static [Example] = &[];
}

/// What became of a test delivery.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TestDelivered {
    /// The status that the sender would have got.
    status: u16,
    /// The event, if it was stored.
    event: Option<EventAnswer>,
    /// Why it was not accepted, if so.
    message: Option<String>,
}

/// `POST /v1/admin/plugins/{name}/test-delivery`
pub(super) async fn send(
    call: Call,
    admin: Admin,
    (Path(SentName(name)), OptionalJson(asked)): (Path<SentName>, OptionalJson<TestDeliveryRequest>),
) -> Result<Success<TestDelivered>, Failed> {
    let live = call.app.registry.get(&name).filter(|it| admin.manages(&it.company_id));
    let integration = live.ok_or(Problem::NotFound("no such plugin is live"))?;
    let sent = SentTest::of(&integration, asked)?;
    let request = sent.signed(&integration)?;
    let audit = admin.does(Action::DeliveryTested, &integration.name).of(&integration.company_id);
    call.app.store.note(audit).await?;
    let inner = request.call(&call, &admin).begun(true)?;
    let name = Path(SentName(name));
    let answered = match request.segment {
        Some(secret) => hooks::receive_with_secret(inner, (), (name, Path(UrlSecret(secret)), SentDelivery)).await,
        None => hooks::receive(inner, (), (name, SentDelivery)).await,
    };
    let (status, id, message) = match answered {
        Ok(answer) => (answer.written.status, answer.event_id(), None),
        Err(Failed { problem, event_id }) => (problem.code().status(), event_id, Some(problem.to_string())),
    };
    let event = match id {
        Some(id) => call.app.store.event(&integration.company_id, id).await?.map(EventAnswer::without_body),
        None => None,
    };
    Ok(Success(TestDelivered { status: status.as_u16(), event, message }))
}

/// A test before it is signed.
struct SentTest {
    body: Vec<u8>,
    content_type: String,
    headers: Vec<(String, String)>,
}

/// A signed test.
struct SignedTest {
    path: String,
    /// The secret, if the sender has it in the URL.
    segment: Option<String>,
    query: String,
    headers: HeaderMap,
    body: Bytes,
}

impl SentTest {
    fn of(integration: &Integration, asked: TestDeliveryRequest) -> Result<Self, Problem> {
        let sender = integration.sender.as_deref();
        let example = sender.and_then(Sender::example_delivery);
        let ExampleDelivery { body, content_type, headers } = match (asked.body, example) {
            (Some(body), example) => ExampleDelivery { body, content_type: None, ..example.unwrap_or_default() },
            (None, Some(example)) => example,
            (None, None) => {
                let none = "body: no sender's file has an example for this integration, so the test needs a body";
                return Err(Problem::Invalid(none.into()));
            }
        };
        let usual = || sender.map_or("application/json", Sender::usual_type).to_owned();
        let content_type = asked.content_type.map(received_type).or(content_type).unwrap_or_else(usual);
        if HeaderValue::from_str(&content_type).is_err() {
            return Err(Problem::Invalid("content_type: must be a content type, such as application/json".into()));
        }
        let limit = integration.rules.body_bytes;
        if body.len() > limit {
            return Err(Problem::BodyTooLarge { limit });
        }
        Ok(Self { body: body.into_bytes(), content_type, headers })
    }

    fn signed(self, integration: &Integration) -> Result<SignedTest, Problem> {
        let (at, content_type) = (now(), self.content_type.as_str());
        let id = new_id(at).to_string();
        let signed = integration.sign(&TestParts { body: &self.body, content_type, id: &id, at });
        let SignedRequest { headers, query, segment, body } = signed.map_err(Problem::NoTest)?;
        let mut path = format!("/v1/hooks/{}", integration.name);
        if let Some(segment) = &segment {
            let escaped: String = form_urlencoded::byte_serialize(segment.as_bytes()).collect();
            path = format!("{path}/{}", escaped.replace('+', "%20"));
        }
        let mut sent = HeaderMap::new();
        let own =
            [("content-type".to_owned(), self.content_type), ("user-agent".to_owned(), "hookmill test".to_owned())];
        for (name, value) in self.headers.into_iter().chain(own).chain(headers) {
            let name = HeaderName::try_from(name).map_err(|_| Problem::Internal)?;
            sent.insert(name, HeaderValue::try_from(value).map_err(|_| Problem::Internal)?);
        }
        let query = Serializer::new(String::new()).extend_pairs(&query).finish();
        Ok(SignedTest { path, segment, query, headers: sent, body: body.unwrap_or(self.body).into() })
    }
}

impl SignedTest {
    fn call(&self, call: &Call, admin: &Admin) -> Call {
        let mut inner = call.inner(None, Method::POST, self.headers.clone(), &self.query, self.body.clone());
        inner.path_as_sent.clone_from(&self.path);
        inner.origin = Some(Origin::test(admin.name()));
        inner
    }
}
