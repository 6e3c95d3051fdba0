//! What the types of a route say about it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use warp::http::StatusCode;

use super::document::{
    DescribedOperation, MediaType, Parameter, ParameterPlace, Reference, RequestBody, Response, ResponseOrReference,
};
use super::examples::{Example, examples};
use super::headers::{self, ResponseHeader};
use crate::http::problem_code::ProblemCode;
use crate::http::problem_reply::ProblemAnswer;

/// The schemas of everything that is sent and answered.
#[derive(Debug)]
pub(in super::super) struct Schemas {
    /// How types are read.
    requests: SchemaGenerator,
    /// How types are written: what is always there is required.
    answers: SchemaGenerator,
    /// Schemas that are files.
    files: Map<String, Value>,
}

impl Default for Schemas {
    fn default() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|it| {
                it.definitions_path = "/components/schemas".into();
                it.meta_schema = None;
            })
        };
        Self {
            requests: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
            files: Map::new(),
        }
    }
}

impl Schemas {
    /// The error body.
    fn problem(&mut self) -> Schema {
        self.answers.subschema_for::<ProblemAnswer>()
    }

    /// The `components/schemas` of the description, by name.
    pub(super) fn components(mut self) -> BTreeMap<String, Value> {
        let (requests, answers) = (self.requests.take_definitions(true), self.answers.take_definitions(true));
        requests.into_iter().chain(answers).chain(self.files).collect()
    }
}

/// Collects what one route takes and answers.
#[derive(Debug)]
pub(in super::super) struct Describer<'a> {
    schemas: &'a mut Schemas,
    operation: DescribedOperation,
    /// By status.
    answers: BTreeMap<u16, Response>,
    /// Statuses of failures.
    fails: BTreeSet<u16>,
    /// Headers that every success may have.
    of_successes: Vec<ResponseHeader>,
    /// What every success may be instead.
    instead: Option<Schema>,
}

impl<'a> Describer<'a> {
    /// For the route with this id, tag and sentence.
    pub(in super::super) fn new(
        schemas: &'a mut Schemas,
        operation_id: String,
        tag: &'static str,
        about: &'static str,
    ) -> Self {
        let summary = about.trim().to_owned();
        let operation = DescribedOperation { operation_id, tags: vec![tag], summary, ..DescribedOperation::default() };
        Self {
            schemas,
            operation,
            answers: BTreeMap::new(),
            fails: BTreeSet::new(),
            of_successes: Vec::new(),
            instead: None,
        }
    }

    /// All that was said.
    pub(in super::super) fn done(mut self) -> DescribedOperation {
        for status in std::mem::take(&mut self.fails) {
            if let Some(answer) = self.answers.get_mut(&status) {
                add_failure(answer, status, self.schemas.problem());
            } else {
                let shared = ResponseOrReference::Shared(Reference::new("responses", &failure_name(status)));
                self.operation.responses.insert(status.to_string(), shared);
            }
        }
        for (status, mut answer) in self.answers {
            if status < 300 {
                self.of_successes.iter().for_each(|it| {
                    answer.headers.insert(it.name, Reference::new("headers", it.name));
                });
                if let (Some(content), Some(instead)) = (answer.content.get_mut("application/json"), &self.instead) {
                    content.schema = content.schema.take().map(|it| either(it, instead.clone()));
                }
            }
            self.operation.responses.insert(status.to_string(), ResponseOrReference::Own(answer));
        }
        self.operation
    }

    /// Adds a paragraph to the description.
    pub(in super::super) fn text(&mut self, about: &str) {
        let text = &mut self.operation.description;
        text.push_str(if text.is_empty() { "" } else { "\n\n" });
        text.push_str(about);
    }

    /// One way to authenticate: a scheme, and the scopes that it needs.
    pub(in super::super) fn security(&mut self, scheme: &'static str, scopes: &[&'static str]) {
        self.operation.security.push(BTreeMap::from([(scheme, scopes.to_vec())]));
    }

    /// A way to authenticate that the description cannot name.
    pub(in super::super) fn other_security(&mut self) {
        self.operation.security.push(BTreeMap::new());
    }

    /// A parameter that is read as a `T`.
    pub(in super::super) fn parameter<T: JsonSchema>(
        &mut self,
        place: ParameterPlace,
        name: &'static str,
        about: &str,
    ) {
        let schema = self.schemas.requests.subschema_for::<T>();
        self.parameter_of(place, name, about, schema);
    }

    /// A parameter with a schema of its own.
    pub(in super::super) fn header(&mut self, place: ParameterPlace, name: &'static str, about: &str, schema: Value) {
        self.parameter_of(place, name, about, Schema::try_from(schema).unwrap_or_default());
    }

    fn parameter_of(&mut self, place: ParameterPlace, name: &'static str, about: &str, schema: Schema) {
        let required = place == ParameterPlace::Path;
        let description = about.trim().to_owned();
        self.operation.parameters.push(Parameter { name, place, required, description, schema });
    }

    /// The schema of a type that is read.
    pub(in super::super) fn request_schema<T: JsonSchema>(&mut self) -> Schema {
        self.schemas.requests.subschema_for::<T>()
    }

    /// A schema that is a file: its name, and its text.
    pub(in super::super) fn file_schema(&mut self, name: &'static str, text: &str) -> Schema {
        let mut schema: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        schema.retain(|name, _| !name.starts_with('$'));
        schema.values_mut().for_each(refuse_nul);
        self.schemas.files.insert(name.to_owned(), schema.into());
        Schema::new_ref(format!("#/components/schemas/{name}"))
    }

    /// The same, for an object that must have one of these fields.
    pub(in super::super) fn file_schema_with_one(&mut self, name: &'static str, text: &str, fields: &[&str]) -> Schema {
        let schema = self.file_schema(name, text);
        let one: Vec<_> = fields.iter().map(|it| json!({ "required": [it] })).collect();
        if let Some(file) = self.schemas.files.get_mut(name).and_then(Value::as_object_mut) {
            file.insert("anyOf".into(), one.into());
        }
        schema
    }

    /// Successful responses may have this header.
    pub(in super::super) fn every_success_may_have(&mut self, header: ResponseHeader) {
        self.of_successes.push(header);
    }

    /// Successful responses may be a `T` instead.
    pub(in super::super) fn every_success_may_be<T: JsonSchema>(&mut self) {
        self.instead = Some(self.schemas.answers.subschema_for::<T>());
    }

    /// Content of the request's body; the first media type is the usual one.
    pub(in super::super) fn content(&mut self, media_type: &'static str, schema: Schema, all: &[Example]) {
        let Some(body) = &mut self.operation.request_body else { return };
        let content = MediaType { schema: Some(schema), examples: examples(all) };
        body.content.insert(media_type.to_owned(), serde_json::to_value(content).unwrap_or_default());
    }

    /// The request has a body.
    pub(in super::super) fn body(&mut self, required: bool, description: &'static str) {
        self.operation.request_body = Some(RequestBody { description, required, content: Map::new() });
        self.fails(&[400, 408, 413, 415, 422]);
    }

    /// A JSON answer. A second one of the same status is an alternative.
    pub(in super::super) fn answers<T: JsonSchema>(&mut self, status: u16, about: &str, more: &[ResponseHeader]) {
        let schema = self.schemas.answers.subschema_for::<T>();
        self.answer(status, about, "application/json", Some(schema), more);
    }

    /// An answer of any media type.
    pub(in super::super) fn answer(
        &mut self,
        status: u16,
        about: &str,
        media_type: &'static str,
        schema: Option<Schema>,
        more: &[ResponseHeader],
    ) {
        let response = self.answers.entry(status).or_default();
        let sentence = about.trim();
        if !response.description.contains(sentence) {
            response.description.push_str(if response.description.is_empty() { "" } else { " " });
            response.description.push_str(sentence);
        }
        for header in [headers::REQUEST_ID].iter().chain(more) {
            response.headers.insert(header.name, Reference::new("headers", header.name));
        }
        let content = response.content.entry(media_type).or_default();
        content.schema = match (content.schema.take(), schema) {
            (Some(one), Some(other)) => Some(either(one, other)),
            (one, other) => one.or(other),
        };
    }

    /// An answer without a body.
    pub(in super::super) fn answers_nothing(&mut self, status: u16, about: &str) {
        let headers = BTreeMap::from([(headers::REQUEST_ID.name, Reference::new("headers", headers::REQUEST_ID.name))]);
        let response = Response { description: about.to_owned(), headers, content: BTreeMap::new() };
        self.answers.insert(status, response);
    }

    /// It may fail with these statuses.
    pub(in super::super) fn fails(&mut self, statuses: &[u16]) {
        self.fails.extend(statuses);
    }
}

/// Text with a NUL cannot be stored. It is rejected before the schema is checked, so the schema file does not say so.
fn refuse_nul(schema: &mut Value) {
    let is_text = |it: &Value| it == "string" || it.as_array().is_some_and(|all| all.iter().any(|it| it == "string"));
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(refuse_nul);
            if fields.get("type").is_some_and(is_text) && !fields.contains_key("format") {
                fields.insert("pattern".into(), r"^[^\u0000]*$".into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(refuse_nul),
        _ => {}
    }
}

/// The response of every failure of this status: the `components/responses` of the description.
pub(super) fn failure(status: u16, schemas: &mut Schemas) -> (String, Response) {
    let mut response = Response::default();
    add_failure(&mut response, status, schemas.problem());
    (failure_name(status), response)
}

fn add_failure(response: &mut Response, status: u16, problem: Schema) {
    let codes = ProblemCode::ALL.iter().filter(|it| it.status() == status);
    let about: Vec<_> = codes.map(|it| format!("- `{}`: {}", it.name(), it.about())).collect();
    response.description.push_str(if response.description.is_empty() { "" } else { "\n\n" });
    response.description.push_str("A problem; `detail.code` is one of\n");
    response.description.push_str(&about.join("\n"));
    for header in [headers::REQUEST_ID].iter().chain(headers_of(status)) {
        response.headers.insert(header.name, Reference::new("headers", header.name));
    }
    let content = response.content.entry("application/json").or_default();
    content.schema = Some(match content.schema.take() {
        Some(own) => either(own, problem),
        None => problem,
    });
}

/// `NotFound`
fn failure_name(status: u16) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|it| it.canonical_reason()).unwrap_or_default();
    reason.split(' ').collect()
}

/// The headers of a failure, in addition to the request's id.
fn headers_of(status: u16) -> &'static [ResponseHeader] {
    match status {
        401 => &[headers::EVENT_ID, headers::WWW_AUTHENTICATE],
        429 => &[headers::EVENT_ID, headers::RETRY_AFTER, headers::RATE_LIMIT, headers::RATE_LIMIT_POLICY],
        503 => &[headers::EVENT_ID, headers::RETRY_AFTER],
        _ => &[headers::EVENT_ID],
    }
}

/// A value of one of two schemas.
fn either(mut one: Schema, other: Schema) -> Schema {
    if one == other {
        return one;
    }
    match one.get_mut("anyOf").and_then(Value::as_array_mut) {
        Some(all) => {
            if !all.contains(other.as_value()) {
                all.push(other.to_value());
            }
            one
        }
        None => Schema::try_from(json!({ "anyOf": [one, other] })).unwrap_or_default(),
    }
}
