//! Response headers: their names and what they say.

use serde_json::{Map, Value, json};

/// A response header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct ResponseHeader {
    pub(in super::super) name: &'static str,
    about: &'static str,
    example: &'static str,
}

macro_rules! headers {
    ($($(#[doc = $about:literal])+ $constant:ident = $name:literal, $example:literal;)*) => {
        $($(#[doc = $about])+ pub(in super::super) const $constant: ResponseHeader =
            ResponseHeader { name: $name, about: concat!($($about),+), example: $example };)*

        /// Every header.
        pub(super) const ALL: &[ResponseHeader] = &[$($constant),*];
    };
}

headers! {
    /// The request's id, which the server's log has as well.
    REQUEST_ID = "X-Request-Id", "019ac6d0-0000-7000-8000-000000000000";
    /// The event that the request became.
    EVENT_ID = "X-Event-Id", "019ac6d0-0000-7000-8000-000000000000";
    /// The fields that were not sent as documented and were corrected, separated by commas.
    LOOSENED = "X-Loosened", "deadline,tags";
    /// The URL of what was created.
    LOCATION = "Location", "/v1/tasks/019ac6d0-0000-7000-8000-000000000000";
    /// The task's version, for `If-Match`.
    ETAG = "ETag", "\"1\"";
    /// After how many seconds to try again.
    RETRY_AFTER = "Retry-After", "1";
    /// `true` if this is the first response to the same request, sent again.
    REPLAYED = "Idempotent-Replayed", "true";
    /// `respond-async` if the delivery was accepted before it was processed.
    PREFERENCE_APPLIED = "Preference-Applied", "respond-async";
    /// How many requests are left, and in how many seconds there are more.
    RATE_LIMIT = "RateLimit", "\"key\";r=0;t=12";
    /// How many requests are allowed in a number of seconds.
    RATE_LIMIT_POLICY = "RateLimit-Policy", "\"key\";q=600;w=60";
    /// `Basic` if the integration's senders have a user name and a password.
    WWW_AUTHENTICATE = "WWW-Authenticate", "Basic realm=\"hookmill\", charset=\"UTF-8\"";
    /// `attachment`: the body may be anything, so browsers save it instead of showing it.
    CONTENT_DISPOSITION = "Content-Disposition", "attachment";
}

/// The `components/headers` of the description.
pub(super) fn components() -> Map<String, Value> {
    let header = |it: &ResponseHeader| json!({ "description": it.about.trim(), "schema": { "type": "string" }, "example": it.example });
    ALL.iter().map(|it| (it.name.to_owned(), header(it))).collect()
}
