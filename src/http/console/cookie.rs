//! The cookie of a session (RFC 6265).

use crate::http::call::Call;
use crate::service::sessions::LIMITS;

/// Its name; behind TLS it has a prefix with which browsers refuse it from a page without TLS.
const NAME: &str = "hookmill";
const SECURE: &str = "__Secure-hookmill";

fn name(call: &Call) -> &'static str {
    if is_encrypted(call) { SECURE } else { NAME }
}

/// The token in the request's cookie.
pub(super) fn token(call: &Call) -> Option<String> {
    let wanted = name(call);
    let values = call.headers.get_all("cookie").iter().filter_map(|it| it.to_str().ok());
    let mut pairs = values.flat_map(|it| it.split(';')).filter_map(|it| it.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, it)| it.to_owned()).filter(|it| is_token(it))
}

/// Whether it can be a token: 32 bytes in base64url. Nothing else is looked up.
fn is_token(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'))
}

/// `Set-Cookie` for a new session. It ends with the browser; the server knows when it is too old.
pub(super) fn set(call: &Call, token: &str) -> String {
    with(call, token, LIMITS.absolute.num_seconds())
}

/// `Set-Cookie` that removes it.
pub(super) fn unset(call: &Call) -> String {
    with(call, "", 0)
}

fn with(call: &Call, token: &str, seconds: i64) -> String {
    let secure = if is_encrypted(call) { "; Secure" } else { "" };
    format!("{}={token}; Path=/console; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", name(call))
}

/// Whether the browser's connection is encrypted: a trusted proxy says so.
fn is_encrypted(call: &Call) -> bool {
    call.app.proxies.trust(call.exchange.wire.address())
        && call
            .header("x-forwarded-proto")
            .is_some_and(|it| it.split(',').next_back().is_some_and(|it| it.trim() == "https"))
}
