//! The audit log: who did what, and when. It is only ever added to; neither keys nor payloads get in here.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::auth::CompanyId;
use crate::event::new_id;

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// A UUID of version 7: entries sort by time.
    pub id: Uuid,
    /// When.
    #[serde(serialize_with = "crate::task::utc")]
    pub at: DateTime<Utc>,
    /// Whose data or keys it was about; none where it was the server as a whole.
    pub company_id: Option<CompanyId>,
    /// Who: a key's id, [`OPERATOR`], [`COMMAND_LINE`] or [`SERVER`].
    pub actor: String,
    /// What.
    pub action: Action,
    /// With what: a key's or an event's id, an integration's name, a directory.
    pub target: String,
    /// More of it, for people; counts and the like.
    pub detail: String,
}

/// Whoever may read the data directory, through the running server: `hookmill …` on its machine.
pub const OPERATOR: &str = "operator";
/// Whoever may read the data directory, with no server running on it.
pub const COMMAND_LINE: &str = "command line";
/// The server by itself, as its settings and its plugins folder say.
pub const SERVER: &str = "server";

/// What can be done. Stored by the place of the variant: new ones come at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// An API key was made.
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
    /// A plugin was taken down.
    #[serde(rename = "plugin.removed")]
    PluginRemoved,
    /// Somebody had the plugins folder looked at.
    #[serde(rename = "plugins.reloaded")]
    PluginsReloaded,
    /// A candidate was run over stored events, and the differences were shown.
    #[serde(rename = "plugin.compared")]
    PluginCompared,
    /// What a shadow has seen was shown, with values.
    #[serde(rename = "shadow.read")]
    ShadowRead,
    /// An event's body was shown.
    #[serde(rename = "event.read")]
    EventRead,
    /// An event was driven through its line again.
    #[serde(rename = "event.replayed")]
    EventReplayed,
    /// What was sent of a patient was erased, or that was begun.
    #[serde(rename = "events.erased")]
    EventsErased,
    /// What an integration was sent was erased, as its time was over.
    #[serde(rename = "events.forgotten")]
    EventsForgotten,
    /// A backup was taken.
    #[serde(rename = "store.backed_up")]
    StoreBackedUp,
    /// The view was built anew.
    #[serde(rename = "store.compacted")]
    StoreCompacted,
    /// Everything was exported.
    #[serde(rename = "store.exported")]
    StoreExported,
    /// An export was imported.
    #[serde(rename = "store.imported")]
    StoreImported,
}

impl Entry {
    /// Something that is done now.
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

    /// It is about this company's.
    #[must_use]
    pub fn of(self, company: &CompanyId) -> Self {
        Self { company_id: Some(company.clone()), ..self }
    }

    /// More of it.
    #[must_use]
    pub fn with(self, detail: impl ToString) -> Self {
        Self { detail: detail.to_string(), ..self }
    }
}
