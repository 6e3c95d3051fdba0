//! The audit log: who did what, and when. Entries are only added, and never contain keys or payloads.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::company::CompanyId;
use super::ids::new_id;

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "AuditEntry")]
pub struct Entry {
    /// A UUID of version 7, so that entries sort by time.
    pub id: Uuid,
    /// Time of the action.
    #[serde(serialize_with = "super::time::utc")]
    pub at: DateTime<Utc>,
    /// Company whose data or keys were concerned; `None` if it was the server as a whole.
    pub company_id: Option<CompanyId>,
    /// Who did it: a key's id, [`OPERATOR`], [`COMMAND_LINE`] or [`SERVER`].
    pub actor: String,
    /// What was done.
    pub action: Action,
    /// The object of the action: a key's or an event's id, an integration's name, a directory.
    pub target: String,
    /// Details for people, such as counts.
    pub detail: String,
}

/// Actor for users who can read the data directory, through the running server: `hookmill …` on its machine.
pub const OPERATOR: &str = "operator";
/// Actor for users who can read the data directory, without a running server.
pub const COMMAND_LINE: &str = "command line";
/// Actor for the server itself, according to its settings and its plugins folder.
pub const SERVER: &str = "server";

/// Actions. Stored by the position of the variant, so new ones are added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "AuditAction")]
pub enum Action {
    /// An API key was created.
    #[serde(rename = "key.created")]
    KeyCreated,
    /// An API key was revoked.
    #[serde(rename = "key.revoked")]
    KeyRevoked,
    /// A plugin went live.
    #[serde(rename = "plugin.live")]
    PluginLive,
    /// A plugin folder was refused; the server's log says why.
    #[serde(rename = "plugin.refused")]
    PluginRefused,
    /// A plugin was removed.
    #[serde(rename = "plugin.removed")]
    PluginRemoved,
    /// The plugins folder was reloaded on request.
    #[serde(rename = "plugins.reloaded")]
    PluginsReloaded,
    /// A candidate was run over stored events, and the differences were shown.
    #[serde(rename = "plugin.compared")]
    PluginCompared,
    /// A shadow's report was shown with values.
    #[serde(rename = "shadow.read")]
    ShadowRead,
    /// An event's body was shown.
    #[serde(rename = "event.read")]
    EventRead,
    /// An event was replayed.
    #[serde(rename = "event.replayed")]
    EventReplayed,
    /// A patient's data were erased, or the erasure was begun.
    #[serde(rename = "events.erased")]
    EventsErased,
    /// Events older than an integration's `keep_days` were erased.
    #[serde(rename = "events.forgotten")]
    EventsForgotten,
    /// A backup was taken.
    #[serde(rename = "store.backed_up")]
    StoreBackedUp,
    /// The read view was rebuilt.
    #[serde(rename = "store.compacted")]
    StoreCompacted,
    /// All data were exported.
    #[serde(rename = "store.exported")]
    StoreExported,
    /// An export was imported.
    #[serde(rename = "store.imported")]
    StoreImported,
    /// A secret that a sender sent in a handshake was set.
    #[serde(rename = "secret.confirmed")]
    SecretConfirmed,
    /// A secret that a sender sent in a handshake was forgotten.
    #[serde(rename = "secret.rejected")]
    SecretRejected,
    /// A version of a plugin was stored in the database.
    #[serde(rename = "plugin.published")]
    PluginPublished,
    /// A version of a plugin in the database was made the active one.
    #[serde(rename = "plugin.activated")]
    PluginActivated,
    /// The version of a plugin that was active before was made the active one again.
    #[serde(rename = "plugin.rolled_back")]
    PluginRolledBack,
    /// No version of a plugin in the database is the active one any more.
    #[serde(rename = "plugin.deactivated")]
    PluginDeactivated,
    /// Somebody logged in to the console.
    #[serde(rename = "console.login")]
    ConsoleLogin,
    /// Somebody logged out of the console.
    #[serde(rename = "console.logout")]
    ConsoleLogout,
    /// A link was made that logs the operator in to the console.
    #[serde(rename = "console.link")]
    ConsoleLink,
    /// Payloads of events were searched.
    #[serde(rename = "events.searched")]
    EventsSearched,
    /// A script was saved as a new version.
    #[serde(rename = "script.saved")]
    ScriptSaved,
    /// An earlier version of a script was made the current one again.
    #[serde(rename = "script.restored")]
    ScriptRestored,
    /// A fixture was saved.
    #[serde(rename = "fixture.saved")]
    FixtureSaved,
    /// A copy of an event was made, with another body.
    #[serde(rename = "event.copied")]
    EventCopied,
    /// Events that match a filter were replayed, or the replay was begun.
    #[serde(rename = "events.replayed")]
    EventsReplayed,
    /// A test delivery was sent to an integration.
    #[serde(rename = "delivery.tested")]
    DeliveryTested,
    /// Values of fixtures that fail were shown.
    #[serde(rename = "fixtures.read")]
    FixturesRead,
}

impl Entry {
    /// Creates an entry for an action at `now`.
    #[must_use]
    pub fn new(actor: &str, action: Action, target: impl ToString, now: DateTime<Utc>) -> Self {
        Self {
            id: new_id(now),
            at: now,
            company_id: None,
            actor: actor.to_owned(),
            action,
            target: target.to_string(),
            detail: String::new(),
        }
    }

    /// Sets the company.
    #[must_use]
    pub fn of(self, company: &CompanyId) -> Self {
        Self { company_id: Some(company.clone()), ..self }
    }

    /// Sets the details.
    #[must_use]
    pub fn with(self, detail: impl ToString) -> Self {
        Self { detail: detail.to_string(), ..self }
    }
}
