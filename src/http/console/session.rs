//! The session of a request, and its visitor.

use warp::http::StatusCode;

use super::cookie;
use super::page_failure::{PageFailure, refused};
use crate::http::call::Call;
use crate::http::key_holder::KeyHolder;
use crate::http::problem::Problem;
use crate::model::audit::OPERATOR;
use crate::model::time::now;
use crate::service::app::App;
use crate::service::sessions::form_token;
use crate::system::log::{Field, know};

/// The field of a form with the session's form token.
pub(super) const FIELD: &str = "form_token";

/// The header of requests that a page makes by itself.
const REFRESH: &str = "x-hookmill-refresh";

/// A session, and who has it.
#[derive(Clone)]
pub(super) struct VisitorSession {
    pub(super) holder: KeyHolder,
    pub(super) token: String,
}

impl VisitorSession {
    /// The value that its forms carry.
    pub(super) fn form_token(&self) -> String {
        form_token(&self.token)
    }
}

/// The session of a request; none if there is none, or if it or its key is no longer valid.
pub(super) async fn found(call: &Call) -> Result<Option<VisitorSession>, Problem> {
    let Some(token) = cookie::token(call).filter(|it| it.len() <= 64) else { return Ok(None) };
    let app = &call.app;
    let session = if is_by_itself(call) {
        app.sessions.peek(&*app.store, &token, now()).await?
    } else {
        app.sessions.seen(&*app.store, &token, now()).await?
    };
    let Some(session) = session else { return Ok(None) };
    let Some(holder) = holder(call, &session.holder) else { return Ok(None) };
    let company = match &holder {
        KeyHolder::Key(key) => Some(&key.company_id),
        KeyHolder::Operator => None,
    };
    know(Field::Key, session.holder.clone());
    call.exchange.wire.prove(company);
    Ok(Some(VisitorSession { holder, token }))
}

/// Whether a page makes the request by itself, so that it does not count as use of the session: one that loads itself again,
/// or an `EventSource`, whose requests have this type (HTML, section 9.2).
fn is_by_itself(call: &Call) -> bool {
    call.header(REFRESH).is_some() || call.header("accept") == Some("text/event-stream")
}

/// The key or the operator that a session names, as they are now.
pub(super) fn holder(call: &Call, name: &str) -> Option<KeyHolder> {
    if name == OPERATOR {
        return call.app.operator_token.is_some().then_some(KeyHolder::Operator);
    }
    call.app.keys.by_id(name, now()).map(KeyHolder::Key)
}

/// Checks a key, or the operator's token, that somebody logs in with, and returns the name for the session.
pub(super) fn log_in(call: &Call, sent: &str) -> Result<String, PageFailure> {
    let now = now();
    attempt(call)?;
    if let Ok(admin @ crate::service::app::Admin::Operator) = call.app.admin(Some(sent), now) {
        return Ok(admin.name().to_owned());
    }
    let key = call.app.keys.check(Some(sent), now).map_err(|it| refused(it.into()))?;
    Ok(key.id.0.clone())
}

/// Counts an attempt to log in, and refuses it if there were too many.
pub(super) fn attempt(call: &Call) -> Result<(), PageFailure> {
    call.app.sessions.attempt(call.peer(), now()).map_err(|wait| {
        let seconds = ((wait.num_milliseconds() + 999) / 1000).max(1);
        let message = format!("Too many attempts to log in from your address. Try again in {seconds} s.");
        PageFailure::own(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message)
    })
}

/// Whether a session that was found before is still valid: it was not ended, and its key was not revoked. It does not count as use.
pub(super) async fn is_valid(app: &App, session: &VisitorSession) -> bool {
    let holder = match &session.holder {
        KeyHolder::Operator => app.operator_token.is_some(),
        KeyHolder::Key(key) => app.keys.by_id(&key.id.0, now()).is_some(),
    };
    holder && matches!(app.sessions.peek(&*app.store, &session.token, now()).await, Ok(Some(_)))
}
