//! A live integration.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};

use super::answers::Answers;
use super::checks::Checks;
use super::dedupe::{Dedupe, Later};
use super::redact::Redact;
use super::rejections::Rejections;
use super::sender::{Auth, NamedSecrets};
use super::sender_use::SenderUse;
use crate::auth::sender::{Sender, Trust};
use crate::format::payload::Rules;
use crate::format::schema::Schema;
use crate::metrics::integrations::{self, IntegrationSeries};
use crate::model::company::CompanyId;
use crate::model::event::{Provenance, RawEvent};
use crate::model::ids::{EventId, IntegrationName};
use crate::plugin::{CallContext, Plugin};
use crate::system::rate::{Rate, TokenBucket};

/// A plugin folder that was loaded and has passed its fixtures.
#[derive(Debug)]
pub struct Integration {
    /// Name of the integration; the last part of its URL.
    pub name: IntegrationName,
    /// `version` in plugin.toml.
    pub version: String,
    /// One sentence, for lists.
    pub description: String,
    /// Company that owns its tasks.
    pub company_id: CompanyId,
    /// How its senders are authenticated.
    pub auth: Auth,
    /// The sender's file, if plugin.toml names one.
    pub sender: Option<Arc<Sender>>,
    /// How far the content of its deliveries can be trusted.
    pub trust: Trust,
    /// The secrets that are set.
    pub secrets: NamedSecrets,
    /// When each of its main secrets was last used, and questions that nobody is authenticated for.
    pub uses: SenderUse,
    /// What its senders are answered.
    pub answers: Answers,
    /// Names of its secrets that are easy to guess, but allowed.
    pub weak_secrets: Vec<String>,
    /// Headers whose values are stored in addition to the usual ones, in lower case.
    pub keep_headers: Vec<String>,
    /// Headers that its plugin gets, in lower case.
    pub headers: Vec<String>,
    /// How repeated deliveries are recognized.
    pub dedupe: Dedupe,
    /// Which deliveries are acknowledged before they are processed.
    pub later: Later,
    /// Which rejected deliveries are stored.
    pub rejections: Rejections,
    /// Rate limit of its senders, if there is one.
    pub rate: Option<(Rate, TokenBucket)>,
    /// Values that are replaced before anything is stored.
    pub redact: Redact,
    /// How long the content of its events is kept, if not as long as the events themselves.
    pub keep: Option<chrono::Duration>,
    /// How strictly values are read.
    pub rules: Rules,
    /// Schema of its payloads.
    pub schema: Arc<Schema>,
    /// Checks of payloads that take long.
    pub checks: Checks,
    /// Plugin that maps payloads to tasks.
    pub plugin: Plugin,
    /// `[config]` as a JSON object.
    pub config: Arc<str>,
    /// Provenance of its events and tasks: versions and hashes.
    pub provenance: Provenance,
    /// When it went live.
    pub loaded_at: DateTime<Utc>,
    /// Counts for metrics; see [`Integration::series`].
    pub(crate) series: OnceLock<Arc<IntegrationSeries>>,
}

impl Integration {
    /// Returns the counts of its deliveries. They are created when it goes live.
    pub(crate) fn series(&self) -> &IntegrationSeries {
        self.series.get_or_init(|| integrations::of(&self.name.0))
    }

    /// Stops the integration: running calls are stopped.
    pub fn retire(&self) {
        self.plugin.retire();
    }

    /// Returns the plugin's context for an event.
    #[must_use]
    pub fn context(&self, raw: &RawEvent) -> CallContext {
        let value = |name: &String| Some((name.clone(), raw.header(name)?.to_owned()));
        self.context_with(raw.id, raw.received_at, self.headers.iter().filter_map(value).collect())
    }

    /// Returns the plugin's context for an event with these headers.
    #[must_use]
    pub fn context_with(
        &self,
        event_id: EventId,
        received_at: DateTime<Utc>,
        headers: Arc<[(String, String)]>,
    ) -> CallContext {
        CallContext {
            headers,
            event_id: event_id.to_string(),
            integration: self.name.to_string(),
            received_at,
            company_id: self.company_id.to_string(),
            config: Arc::clone(&self.config),
        }
    }
}
