//! The parts of an OpenAPI 3.1 document that are used here (<https://spec.openapis.org/oas/v3.1.1>).

use std::collections::BTreeMap;

use schemars::Schema;
use serde::Serialize;
use serde_json::{Map, Value};

/// An operation: what one route takes and answers.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct DescribedOperation {
    pub(super) operation_id: String,
    pub(super) tags: Vec<&'static str>,
    pub(super) summary: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) description: String,
    /// Alternatives; an empty one needs no key, an empty list is open to everybody.
    pub(super) security: Vec<BTreeMap<&'static str, Vec<&'static str>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) parameters: Vec<Parameter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_body: Option<RequestBody>,
    /// By status.
    pub(super) responses: BTreeMap<String, ResponseOrReference>,
}

impl DescribedOperation {
    /// The statuses of responses that are not failures alone.
    #[cfg(test)]
    pub(in super::super) fn own_statuses(&self) -> Vec<u16> {
        let own = self.responses.iter().filter(|(_, it)| matches!(it, ResponseOrReference::Own(_)));
        own.filter_map(|(status, _)| status.parse().ok()).collect()
    }
}

/// A parameter in the path, the query or the headers.
#[derive(Debug, Clone, Serialize)]
pub(in super::super) struct Parameter {
    pub(super) name: &'static str,
    #[serde(rename = "in")]
    pub(super) place: ParameterPlace,
    pub(super) required: bool,
    pub(super) description: String,
    pub(super) schema: Schema,
}

/// Where a parameter is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum ParameterPlace {
    Path,
    Query,
    Header,
}

/// What a request carries.
#[derive(Debug, Clone, Serialize)]
pub(in super::super) struct RequestBody {
    pub(super) description: &'static str,
    pub(super) required: bool,
    /// By media type, in the order in which they are documented.
    pub(super) content: Map<String, Value>,
}

/// Content of one media type.
#[derive(Debug, Clone, Default, Serialize)]
pub(in super::super) struct MediaType {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<Schema>,
    /// By name.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) examples: Map<String, Value>,
}

/// A response of one status.
#[derive(Debug, Clone, Default, Serialize)]
pub(in super::super) struct Response {
    pub(super) description: String,
    /// References to `components/headers`, by name.
    pub(super) headers: BTreeMap<&'static str, Reference>,
    /// By media type.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) content: BTreeMap<&'static str, MediaType>,
}

/// A response, or a reference to one that many operations have.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(in super::super) enum ResponseOrReference {
    Own(Response),
    Shared(Reference),
}

/// A reference to a component.
#[derive(Debug, Clone, Serialize)]
pub(in super::super) struct Reference {
    #[serde(rename = "$ref")]
    to: String,
}

impl Reference {
    /// A reference such as `headers`, `ETag`.
    pub(super) fn new(kind: &str, name: &str) -> Self {
        Self { to: format!("#/components/{kind}/{name}") }
    }
}
