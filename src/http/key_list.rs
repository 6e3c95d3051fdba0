//! All API keys, or a page of them.

use schemars::JsonSchema;
use serde::Serialize;
use warp::http::StatusCode;

use super::answer::Answer;
use super::openapi::describer::Describer;
use super::problem::Problem;
use super::query::key_place::{KeyLimit, KeyListPlace};
use super::reply::{CursorPagination, TypedReply};
use crate::auth::ApiKey;

/// Number of keys on a page, if a request has a cursor only.
const LIMIT: usize = 50;

/// API keys.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ApiKeyList {
    /// Without `limit` and `cursor` all of them, oldest first. On pages, those that were not revoked come first, and of these
    /// the newest.
    data: Vec<ApiKey>,
    /// Only with `limit` or `cursor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pagination: Option<CursorPagination>,
}

impl ApiKeyList {
    /// Returns these keys, which are in the order of their creation, or a page of them.
    pub(super) fn of(mut keys: Vec<ApiKey>, limit: Option<KeyLimit>, cursor: Option<&KeyListPlace>) -> Self {
        if limit.is_none() && cursor.is_none() {
            return Self { data: keys, pagination: None };
        }
        let limit = limit.map_or(LIMIT, |it| it.0);
        keys.retain(|it| cursor.is_none_or(|after| KeyListPlace::of(it) > *after));
        keys.sort_by_cached_key(KeyListPlace::of);
        let has_more = keys.len() > limit;
        keys.truncate(limit);
        let next_cursor = keys.last().filter(|_| has_more).map(|it| KeyListPlace::of(it).to_string());
        Self { data: keys, pagination: Some(CursorPagination { limit, next_cursor }) }
    }
}

impl TypedReply for ApiKeyList {
    fn write(self) -> Result<Answer<Self>, Problem> {
        Answer::json(StatusCode::OK, &self)
    }

    fn describe(to: &mut Describer<'_>) {
        to.answers::<Self>(200, "All of them, or a page.", &[]);
    }
}
