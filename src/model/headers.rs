//! The headers of a delivery that are stored with its event.

use hyper::header::{HeaderMap, HeaderValue};

/// Names (in lower case) and values; an empty value was secret.
pub type Headers = Vec<(String, String)>;

/// Headers whose values are stored: those that identify a delivery, its kind and the sending software. An
/// integration can add more. Any other header may contain a secret under an unknown name.
const KEPT: [&str; 37] = [
    "idempotency-key",
    "prefer",
    "traceparent",
    "user-agent",
    "x-correlation-id",
    "x-request-id",
    // Ids, kinds and times of deliveries.
    "i-twilio-idempotency-token",
    "linear-delivery",
    "linear-event",
    "svix-id",
    "svix-timestamp",
    "telnyx-timestamp",
    "webhook-id",
    "webhook-timestamp",
    "x-delivery-id",
    "x-event-id",
    "x-event-key",
    "x-event-type",
    "x-github-delivery",
    "x-github-event",
    "x-github-hook-id",
    "x-github-hook-installation-target-id",
    "x-github-hook-installation-target-type",
    "x-gitlab-event",
    "x-gitlab-event-uuid",
    "x-gitlab-webhook-uuid",
    "x-hook-uuid",
    "x-shopify-api-version",
    "x-shopify-event-id",
    "x-shopify-shop-domain",
    "x-shopify-topic",
    "x-shopify-triggered-at",
    "x-shopify-webhook-id",
    "x-slack-request-timestamp",
    "x-slack-retry-num",
    "x-slack-retry-reason",
    "x-zm-request-timestamp",
];

/// Headers that contain secrets and are never stored, even if an integration names them.
pub const SECRET_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-forwarded-authorization"];

/// Returns the headers to store. The values of `KEPT` and of `more` (lower case) are stored, and only the names of
/// others; headers of the connection are not stored.
#[must_use]
pub fn kept_headers(headers: &HeaderMap, more: &[String]) -> Headers {
    const OF_THE_CONNECTION: [&str; 7] =
        ["host", "connection", "content-length", "content-type", "accept", "accept-encoding", "transfer-encoding"];
    let kept = |name: &str| KEPT.contains(&name) || more.iter().any(|it| it == name);
    let value = |name: &str, value: &HeaderValue| {
        let plain = kept(name) && !SECRET_HEADERS.contains(&name);
        if plain { String::from_utf8_lossy(value.as_bytes()).into_owned() } else { String::new() }
    };
    let said = headers.iter().filter(|(name, _)| !OF_THE_CONNECTION.contains(&name.as_str()));
    said.map(|(name, it)| (name.as_str().to_owned(), value(name.as_str(), it))).collect()
}

/// Returns the content type as sent. If there are several, they are joined as a list (RFC 9110, section 5.3).
#[must_use]
pub fn content_type(headers: &HeaderMap) -> Option<String> {
    let sent: Vec<_> = headers.get_all("content-type").iter().filter_map(|it| it.to_str().ok()).collect();
    (!sent.is_empty()).then(|| sent.join(", "))
}

/// Returns the few headers that are stored for a rejected delivery, truncated, because unauthenticated senders can
/// send as many as they like.
#[must_use]
pub fn few_headers(headers: &HeaderMap) -> Headers {
    const FEW: [&str; 4] = ["user-agent", "x-request-id", "x-github-event", "x-shopify-topic"];
    const CHARACTERS: usize = 80;
    // One byte each.
    let shown = |it: &u8| if matches!(it, b' '..=b'~') { char::from(*it) } else { '?' };
    let cut = |it: &HeaderValue| it.as_bytes().iter().map(shown).take(CHARACTERS).collect();
    FEW.iter().filter_map(|name| Some(((*name).to_owned(), cut(headers.get(*name)?)))).collect()
}
