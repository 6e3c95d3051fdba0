//! What protects visitors: requests that other sites make are refused, and browsers run nothing but our files.

use form_urlencoded::parse;
use warp::http::uri::Authority;
use warp::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::page_failure::{PageFailure, refused};
use super::session::{FIELD, VisitorSession};
use crate::http::call::Call;

/// Who may see a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admits {
    /// Also people who have not logged in.
    Anyone,
    /// People who have logged in; what they see is up to the API.
    Visitors,
}

/// Largest form of somebody who has not logged in, in bytes.
const STRANGERS: usize = 16 * 1024;
/// Most fields of a form.
const FIELDS: usize = 1000;

/// Headers of every response of the console. Nothing is loaded from elsewhere, nothing inline runs, and no text becomes
/// markup (Content Security Policy Level 3; Trusted Types).
const HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// Adds the headers that protect a page.
pub(super) fn protect(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

/// Reads a form, if the request has one, and checks that one of our pages has sent it.
pub(super) async fn form(
    call: &mut Call,
    session: Option<&VisitorSession>,
    admits: Admits,
) -> Result<Vec<(String, String)>, PageFailure> {
    if call.exchange.method != Method::POST {
        return Ok(Vec::new());
    }
    if !is_own(call) {
        return Err(foreign());
    }
    // A payload in a form is percent-encoded, with three bytes for one.
    let limit = match admits {
        Admits::Anyone => STRANGERS,
        Admits::Visitors => call.app.config.limits.body_bytes.saturating_mul(3),
    };
    let body = call.body_within(limit).await.map_err(refused)?;
    if memchr::memchr_iter(b'&', &body).nth(FIELDS).is_some() {
        let message = format!("A form has at most {FIELDS} fields.");
        return Err(PageFailure::own(StatusCode::UNPROCESSABLE_ENTITY, "too_many_fields", message));
    }
    let fields: Vec<(String, String)> = parse(&body).into_owned().collect();
    if admits == Admits::Anyone {
        return Ok(fields);
    }
    let expected = session.map(VisitorSession::form_token).unwrap_or_default();
    let sent = fields.iter().find(|(name, _)| name == FIELD).map_or("", |(_, it)| it);
    let is_same = bool::from(subtle::ConstantTimeEq::ct_eq(sent.as_bytes(), expected.as_bytes()));
    if is_same && !expected.is_empty() { Ok(fields) } else { Err(foreign()) }
}

fn foreign() -> PageFailure {
    let message = "This form is not of your current session: you have logged in or out since, or another site has sent it. Nothing was changed. Open the page again.";
    PageFailure::own(StatusCode::FORBIDDEN, "foreign_form", message)
}

/// Whether a browser says that one of our own pages makes the request. Browsers send `Sec-Fetch-Site` (Fetch Metadata) on
/// encrypted connections and to this machine, and `Origin` with every form.
fn is_own(call: &Call) -> bool {
    if let Some(site) = call.header("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = call.header("origin") else { return true };
    let Some((_, origin)) = origin.split_once("://") else { return false };
    let proxied = call.app.proxies.trust(call.exchange.wire.address());
    let hosts = [call.header("host"), call.header("x-forwarded-host").filter(|_| proxied)];
    hosts.into_iter().flatten().any(|it| same_host(it, origin))
}

fn same_host(one: &str, other: &str) -> bool {
    let host = |it: &str| it.parse::<Authority>().ok().map(|it| it.as_str().to_ascii_lowercase());
    host(one).is_some_and(|it| Some(it) == host(other))
}
