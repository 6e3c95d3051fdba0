//! The console's client of the API: a request is answered in the process, with the rights of the visitor.

use std::sync::Arc;

use bytes::Bytes;
use form_urlencoded::Serializer;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use serde_json::Value;
use warp::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use warp::reply::Response;

use super::page_failure::PageFailure;
use crate::auth::AuthError;
use crate::http::call::Call;
use crate::http::key_holder::KeyHolder;
use crate::http::problem::Problem;
use crate::model::company::CompanyId;

/// Routes that take `company_id`, which the operator must name.
const OF_A_COMPANY: [&str; 4] = ["/v1/events", "/v1/admin/audit", "/v1/admin/overview", "/v1/admin/replays"];

/// Answers a request of the API: its method, its path, and the request.
pub(in crate::http) type ApiFn = fn(Method, String, Call) -> BoxFuture<'static, Response>;

/// Calls routes of the API.
#[derive(Clone)]
pub(super) struct ApiClient {
    api: ApiFn,
    call: Arc<Call>,
    holder: Option<KeyHolder>,
    company: Option<CompanyId>,
}

impl ApiClient {
    pub(super) fn new(api: ApiFn, call: Arc<Call>, holder: Option<KeyHolder>, company: Option<CompanyId>) -> Self {
        Self { api, call, holder, company }
    }

    /// The answer of GET. The path is the route's, with its query.
    pub(super) async fn get(&self, path: &str) -> Result<Value, PageFailure> {
        json(self.send(Method::GET, path, &[], Bytes::new()).await?)
    }

    /// The answer of POST with a JSON body.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, PageFailure> {
        self.post_with(path, &[], body).await
    }

    /// The same with headers, such as `Idempotency-Key`.
    pub(super) async fn post_with(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &Value,
    ) -> Result<Value, PageFailure> {
        json(self.send(Method::POST, path, headers, body.to_string().into()).await?)
    }

    /// The answer of POST with a body that is JSON already.
    pub(super) async fn post_text(&self, path: &str, body: String) -> Result<Value, PageFailure> {
        json(self.send(Method::POST, path, &[], body.into()).await?)
    }

    /// The answer of PUT with a JSON body.
    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<Value, PageFailure> {
        json(self.send(Method::PUT, path, &[], body.to_string().into()).await?)
    }

    /// DELETE.
    pub(super) async fn delete(&self, path: &str) -> Result<(), PageFailure> {
        self.send(Method::DELETE, path, &[], Bytes::new()).await.map(drop)
    }

    /// The answer of GET as bytes.
    pub(super) async fn bytes(&self, path: &str) -> Result<(HeaderMap, Bytes), PageFailure> {
        self.send(Method::GET, path, &[], Bytes::new()).await.map(|(_, headers, body)| (headers, body))
    }

    /// One request. `readyz` answers 503 with a document: that is no failure.
    async fn send(
        &self,
        method: Method,
        target: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<(StatusCode, HeaderMap, Bytes), PageFailure> {
        let target = self.with_company(target);
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let Some(holder) = self.holder.clone() else {
            return Err(PageFailure::of(Problem::from(AuthError::NoKey), path));
        };
        let mut sent = HeaderMap::new();
        if !body.is_empty() {
            sent.insert("content-type", HeaderValue::from_static("application/json"));
        }
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                sent.insert(HeaderName::from_static(name), value);
            }
        }
        let call = self.call.on_behalf(holder, method.clone(), sent, query, body);
        let mut response = (self.api)(method, path.to_owned(), call).await;
        if !response.status().is_success()
            && (path != "/readyz" || response.status() != StatusCode::SERVICE_UNAVAILABLE)
        {
            return Err(PageFailure::unwritten(&mut response, path));
        }
        let (parts, body) = response.into_parts();
        let failed = |_| PageFailure::of(Problem::Internal, path);
        Ok((parts.status, parts.headers, body.collect().await.map_err(failed)?.to_bytes()))
    }

    /// Names the operator's company, where the route needs it and the path does not name one.
    fn with_company(&self, target: &str) -> String {
        let path = target.split('?').next().unwrap_or_default();
        let needs = OF_A_COMPANY
            .iter()
            .any(|it| path.strip_prefix(it).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        match (&self.holder, &self.company) {
            (Some(KeyHolder::Operator), Some(company)) if needs && !target.contains("company_id=") => {
                let pair = Serializer::new(String::new()).append_pair("company_id", company.as_str()).finish();
                format!("{target}{}{pair}", if target.contains('?') { '&' } else { '?' })
            }
            _ => target.to_owned(),
        }
    }
}

/// A path of the API with a query; parameters without a value are left out.
pub(super) fn target<'a>(path: &str, query: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> String {
    let pairs = query.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let query = Serializer::new(String::new()).extend_pairs(pairs).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// Numbers stay as they are: none of the pages calculates with those of a payload.
fn json((status, _, body): (StatusCode, HeaderMap, Bytes)) -> Result<Value, PageFailure> {
    if status == StatusCode::NO_CONTENT {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&body).map_err(|_| PageFailure::of(Problem::Internal, "/console"))
}
