//! `GET /v1/admin/overview`: what needs attention, counts over time, and the state of every integration.

mod attention;
mod counted;
mod integrations;
mod question;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::Failed;
use super::call::Call;
use super::plugins;
use super::query::routes::OverviewQuery;
use super::reply::Success;
use crate::auth::AuthError;
use crate::model::company::CompanyId;
use crate::model::time::now;
use crate::service::app::{Admin, App};
use crate::store::TimelineWindow;
use attention::item::AttentionAnswer;
use counted::{CountedBucket, ServedBucket};
use integrations::IntegrationBrief;
use question::OverviewQuestion;

/// The first view of an admin.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Overview")]
pub(super) struct OverviewAnswer {
    /// The company that it is about; null for all of them.
    company_id: Option<CompanyId>,
    /// The window of the counts.
    window: TimelineWindow,
    /// Length of a bucket, in seconds.
    bucket_seconds: u32,
    /// Events and tasks by the time of their receipt, oldest bucket first. The last one has not ended.
    buckets: Vec<CountedBucket>,
    /// While the server still counts events from before its start: from when the counts are complete. Null if they are.
    complete_since: Option<DateTime<Utc>>,
    /// Requests to this server, of all companies, since its start: in the same buckets, of which earlier ones are empty. Only
    /// for the operator, and where no other company has keys or integrations; else the list is empty.
    served: Vec<ServedBucket>,
    /// When this server began to record them.
    served_since: DateTime<Utc>,
    /// Integrations that are live or had deliveries in the window, by name.
    integrations: Vec<IntegrationBrief>,
    /// What needs attention, most urgent first.
    attention: Vec<AttentionAnswer>,
}

/// `GET /v1/admin/overview`
pub(super) async fn show(call: Call, admin: Admin, query: OverviewQuery) -> Result<Success<OverviewAnswer>, Failed> {
    let OverviewQuery { window, company_id } = query;
    if company_id.as_ref().is_some_and(|it| !admin.manages(it)) {
        return Err(AuthError::OtherCompany.into());
    }
    let company = company_id.or_else(|| admin.company().cloned());
    let window = window.unwrap_or_default();
    let app = &call.app;
    let asked = OverviewQuestion { app, admin: &admin, company: company.as_ref(), now: now() };
    let (end, timeline) = app.timelines.of(&*app.store, asked.company, window, asked.now).await?;
    let day = match window {
        TimelineWindow::Day => std::sync::Arc::clone(&timeline),
        _ => app.timelines.of(&*app.store, asked.company, TimelineWindow::Day, asked.now).await?.1,
    };
    let plugins = plugins::seen_by(app, &admin);
    let plugins: Vec<_> =
        plugins.iter().map(|it| it.brief()).filter(|it| it.company.is_none_or(|it| asked.is_about(it))).collect();
    let attention = attention::of(&asked, &plugins, &day).await?;
    Ok(Success(OverviewAnswer {
        window,
        bucket_seconds: u32::try_from(window.step_ms() / 1000).unwrap_or(u32::MAX),
        buckets: counted::buckets(window, end, &timeline),
        complete_since: timeline.complete_since,
        served: if sees_server(app, &admin) { counted::served(window, end, &app.recorder) } else { Vec::new() },
        served_since: app.recorder.started(),
        integrations: integrations::of(&asked, &plugins, (window, end), &timeline).await?,
        attention,
        company_id: company,
    }))
}

/// Whether the traffic of the whole server is this admin's own: others would learn how much the companies next to them have.
fn sees_server(app: &App, admin: &Admin) -> bool {
    let now = now();
    let all_live = app.registry.list().iter().all(|it| admin.manages(&it.company_id));
    all_live && app.keys.list().iter().all(|it| admin.manages(&it.company_id) || !it.is_good(now))
}
