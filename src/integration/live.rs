//! A live integration.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};

use super::answers::Answers;
use super::checks::Checks;
use super::dedupe::{Dedupe, Later};
use super::defaults::Defaults;
use super::redact::Redact;
use super::rejections::Rejections;
use super::sender::{Auth, NamedSecrets};
use super::sender_use::SenderUse;
use crate::auth::sender::{Sender, Trust};
use crate::format::payload::Rules;
use crate::format::schema::Schema;
use crate::metrics::integrations::{self, IntegrationSeries};
use crate::model::company::CompanyId;
use crate::model::event::RawEvent;
use crate::model::ids::{EventId, IntegrationName};
use crate::model::provenance::Provenance;
use crate::model::sent_url::passed_path;
use crate::plugin::{CallContext, Called, Plugin, PluginError, PluginLimits};
use crate::system::rate::{Rate, TokenBucket};

/// What a plugin gets of the request apart from its body.
#[derive(Debug, Clone, Default)]
pub struct PassedRequest {
    /// Headers: names in lower case, and values.
    pub headers: Arc<[(String, String)]>,
    /// Parameters of the query, in order.
    pub query: Arc<[(String, String)]>,
    /// The rest of the path; empty if there is none.
    pub path: Arc<str>,
}

/// A plugin folder that was loaded and has passed its fixtures.
#[derive(Debug)]
pub struct Integration {
    /// Name of the integration; the last part of its URL.
    pub name: IntegrationName,
    /// `version` in plugin.toml.
    pub version: String,
    /// SHA-256 of the folder's files, in hexadecimal; empty for a folder that is only checked.
    pub digest: String,
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
    /// Parameters of the query that its plugin gets.
    pub query: Vec<String>,
    /// Whether its plugin gets the rest of the path.
    pub path: bool,
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
    /// Values of fields that its mapping leaves out.
    pub defaults: Defaults,
    /// How strictly values are read.
    pub rules: Rules,
    /// Schema of its payloads.
    pub schema: Arc<Schema>,
    /// Checks of payloads that take long.
    pub checks: Checks,
    /// Plugin that maps payloads to tasks; `None` if the folder has no mapping yet and only captures.
    pub plugin: Option<Plugin>,
    /// Limits of the plugin's calls.
    pub limits: PluginLimits,
    /// Whether deliveries are stored and not mapped (`mode = "capture"`), whether there is a mapping or not.
    pub captures: bool,
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
        if let Some(plugin) = &self.plugin {
            plugin.retire();
        }
    }

    /// Maps a payload on one of the plugin's threads; see [`Plugin::map`].
    pub(crate) async fn map(&self, payload: Arc<str>, context: CallContext) -> Called {
        match &self.plugin {
            Some(plugin) => plugin.map(payload, context).await,
            None => Called::not_made(PluginError::Host),
        }
    }

    /// Maps a payload on the calling thread.
    pub(crate) fn map_blocking(&self, payload: &str, context: &CallContext) -> Called {
        let none = || Called::not_made(PluginError::Host);
        self.plugin.as_ref().map_or_else(none, |it| it.map_blocking(payload, context))
    }

    /// Returns the plugin's context for an event.
    #[must_use]
    pub fn context(&self, raw: &RawEvent) -> CallContext {
        let value = |name: &String| Some((name.clone(), raw.header(name)?.to_owned()));
        let path = if self.path { passed_path(&raw.path) } else { "" };
        let request = PassedRequest {
            headers: self.headers.iter().filter_map(value).collect(),
            query: self.passed_query(&raw.query).into(),
            path: path.into(),
        };
        self.context_with(raw.id, raw.received_at, request)
    }

    /// Returns the plugin's context for an event with these parts of the request.
    #[must_use]
    pub fn context_with(
        &self,
        event_id: EventId,
        received_at: DateTime<Utc>,
        PassedRequest { headers, query, path }: PassedRequest,
    ) -> CallContext {
        CallContext {
            headers,
            query,
            path,
            event_id: event_id.to_string(),
            integration: self.name.to_string(),
            received_at,
            company_id: self.company_id.to_string(),
            config: Arc::clone(&self.config),
        }
    }
}
