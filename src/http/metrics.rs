//! `GET /metrics`, in the text format of Prometheus.
//!
//! Its labels name the integrations of every company, so no company's key opens it. On the main address it needs
//! `HOOKMILL_METRICS_TOKEN` or the operator token; on its own address it needs one of them if the former is set.

use subtle::ConstantTimeEq as _;

use super::access::Access;
use super::answer::{Answer, Failed};
use super::call::Call;
use super::openapi::describer::Describer;
use super::problem::Problem;
use super::reply::TypedReply;
use crate::auth::AuthError;
use crate::auth::key;
use crate::metrics::CONTENT_TYPE;
use crate::model::secret::Secret;
use crate::service::scrape;

/// Path of the metrics.
pub(super) const PATH: &str = "/metrics";

/// The metrics, as text.
pub(super) struct MetricsText(String);

/// `GET /metrics` on the main address.
pub(super) async fn show(call: Call, (): (), (): ()) -> Result<MetricsText, Failed> {
    if call.app.config.metrics_listen.is_some() {
        return Err(Problem::NotFound("metrics are served on metrics_listen").into());
    }
    Ok(text(&call)?)
}

/// `GET /metrics` on its own address.
pub(super) fn show_alone(call: &Call) -> Result<MetricsText, Problem> {
    if call.app.config.metrics_token.is_some() {
        authorize(call)?;
    }
    text(call)
}

fn text(call: &Call) -> Result<MetricsText, Problem> {
    scrape::text(&call.app).map(MetricsText).map_err(|_| Problem::Internal)
}

fn authorize(call: &Call) -> Result<(), Problem> {
    call.unambiguous()?;
    let bearer = call.header("authorization").and_then(|it| it.split_once(' '));
    let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
    let sent = bearer.or(call.header("x-api-key")).map(str::trim).ok_or(AuthError::NoKey)?;
    let secrets = [&call.app.config.metrics_token, &call.app.operator_token];
    // Compares all of them, so that the time does not show which one matched.
    let good = secrets.into_iter().flatten().fold(false, |good, it| good | is(it, sent));
    if good { Ok(()) } else { Err(AuthError::WrongKey.into()) }
}

fn is(secret: &Secret, sent: &str) -> bool {
    sent.len() <= key::LONGEST && bool::from(key::hash(secret.expose()).ct_eq(&key::hash(sent)))
}

/// Prometheus, or the operator; also when the server has no place for another request.
pub(super) struct Scraper;

impl Access for Scraper {
    type Who = ();
    const ALWAYS: bool = true;

    fn admit(&self, call: &mut Call) -> Result<(), Problem> {
        // Elsewhere there is nothing to protect here.
        if call.app.config.metrics_listen.is_some() { Ok(()) } else { authorize(call) }
    }

    fn describe(&self, to: &mut Describer<'_>) {
        to.security("metricsToken", &[]);
        to.security("operatorToken", &[]);
        to.fails(&[401]);
        to.text("For the operator alone: it names the integrations of every company. It is answered even when the server is busy. With `metrics_listen`, it is served on that address instead.");
    }
}

impl TypedReply for MetricsText {
    fn write(self) -> Result<Answer<Self>, Problem> {
        Ok(Answer::bytes(CONTENT_TYPE, self.0.into()))
    }

    fn describe(to: &mut Describer<'_>) {
        let schema = schemars::json_schema!({ "type": "string" });
        to.answer(200, "The text format of Prometheus, version 0.0.4.", CONTENT_TYPE, Some(schema), &[]);
    }
}
