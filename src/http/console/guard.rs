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

/// Largest form that is kept for somebody whose session has ended, in bytes.
pub(super) const KEPT: usize = 256 * 1024;
/// Largest form of somebody who has not logged in, in bytes: a key, and a form that was kept.
const STRANGERS: usize = KEPT + 32 * 1024;
/// Fields of a login next to those that were kept.
const OF_LOGIN: usize = 8;
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

/// A form that one of our pages has sent.
pub(super) enum SentForm {
    /// With the token of the session.
    Own(Vec<(String, String)>),
    /// Of an earlier session.
    Earlier(Vec<(String, String)>),
}

/// Reads a form, if the request has one, and checks that one of our pages has sent it.
pub(super) async fn form(
    call: &mut Call,
    session: Option<&VisitorSession>,
    admits: Admits,
) -> Result<SentForm, PageFailure> {
    if call.exchange.method != Method::POST {
        return Ok(SentForm::Own(Vec::new()));
    }
    if !is_own(call) {
        return Err(foreign());
    }
    // A payload in a form is percent-encoded, with three bytes for one.
    let limit = match admits {
        Admits::Anyone => STRANGERS,
        Admits::Visitors => call.app.config.limits.body_bytes.saturating_mul(3),
    };
    if admits == Admits::Anyone {
        return read(call, limit, FIELDS + OF_LOGIN).await.map(SentForm::Own);
    }
    let fields = read(call, limit, FIELDS).await?;
    let expected = session.map(VisitorSession::form_token).unwrap_or_default();
    let is_same = bool::from(subtle::ConstantTimeEq::ct_eq(token(&fields).as_bytes(), expected.as_bytes()));
    if is_same && !expected.is_empty() {
        Ok(SentForm::Own(fields))
    } else if !token(&fields).is_empty() && is_surely_own(call) {
        Ok(SentForm::Earlier(fields))
    } else {
        Err(foreign())
    }
}

/// Reads the form of somebody whose session has ended; none if it is not surely one of ours.
///
/// # Errors
/// Fails if it is too large to be kept.
pub(super) async fn form_to_keep(call: &mut Call) -> Result<Option<Vec<(String, String)>>, PageFailure> {
    if !is_surely_own(call) {
        return Ok(None);
    }
    let fields = read(call, KEPT, FIELDS).await?;
    Ok(Some(fields).filter(|it| !token(it).is_empty()))
}

async fn read(call: &mut Call, limit: usize, most: usize) -> Result<Vec<(String, String)>, PageFailure> {
    let body = call.body_within(limit).await.map_err(refused)?;
    if memchr::memchr_iter(b'&', &body).nth(most).is_some() {
        let message = format!("A form has at most {FIELDS} fields.");
        return Err(PageFailure::own(StatusCode::UNPROCESSABLE_ENTITY, "too_many_fields", message));
    }
    Ok(parse(&body).into_owned().collect())
}

fn token(fields: &[(String, String)]) -> &str {
    fields.iter().find(|(name, _)| name == FIELD).map_or("", |(_, it)| it)
}

/// The failure of a form that is not the session's.
pub(super) fn foreign() -> PageFailure {
    let message = "This form is not of your current session: you have logged in or out since, or another site has sent it. Nothing was changed. Open the page again.";
    PageFailure::own(StatusCode::FORBIDDEN, "foreign_form", message)
}

/// Whether a browser says so itself, so that a form is not only taken for ours because nothing is known.
pub(super) fn is_surely_own(call: &Call) -> bool {
    (call.header("sec-fetch-site").is_some() || call.header("origin").is_some()) && is_own(call)
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
