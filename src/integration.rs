//! An integration: one way in, with its sender's proof, its schema and its plugin.
//!
//! `integration/manifest.rs` reads plugin.toml, `integration/load.rs` turns a folder into an [`Integration`]
//! or says why not, and [`Registry`] holds what is live.

pub mod load;
mod manifest;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};

use crate::auth::CompanyId;
use crate::auth::signature::HmacSha256;
use crate::event::{EventId, IntegrationName, Provenance};
use crate::payload::Rules;
use crate::plugin::{CallContext, Plugin};
use crate::schema::Schema;

pub use load::LoadFailure;

/// How a sender proves who it is.
#[derive(Debug, Clone)]
pub enum Auth {
    /// `X-API-Key` with the scope `hooks:write`, of the integration's company.
    ApiKey,
    /// A signature over the raw body.
    HmacSha256(HmacSha256),
}

/// A plugin folder that has loaded and passed its fixtures.
#[derive(Debug)]
pub struct Integration {
    /// The last part of its URL.
    pub name: IntegrationName,
    /// `version` in plugin.toml.
    pub version: String,
    /// One sentence for lists.
    pub description: String,
    /// Whose tasks it makes.
    pub company_id: CompanyId,
    /// Its senders' proof.
    pub auth: Auth,
    /// How loosely values are read.
    pub rules: Rules,
    /// What a payload has to look like.
    pub schema: Schema,
    /// The mapping.
    pub plugin: Plugin,
    /// `[config]` as a JSON object's text.
    pub config: Arc<str>,
    /// What its events and tasks are derived from.
    pub provenance: Provenance,
}

impl Integration {
    /// What the plugin is told of an event.
    #[must_use]
    pub fn context(&self, event_id: EventId, received_at: DateTime<Utc>) -> CallContext {
        CallContext {
            event_id: event_id.to_string(),
            integration: self.name.to_string(),
            received_at,
            company_id: self.company_id.to_string(),
            config: Arc::clone(&self.config),
        }
    }
}

/// A folder that is not live, and why.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Refused {
    /// The folder's name.
    pub name: String,
    /// The file and the cause.
    pub message: String,
}

/// What is live, by name. Readers never wait: a change swaps the whole.
#[derive(Debug, Default)]
pub struct Registry {
    live: ArcSwap<BTreeMap<IntegrationName, Arc<Integration>>>,
    refused: ArcSwap<Vec<Refused>>,
}

impl Registry {
    /// Takes the place of what was there.
    pub fn replace(&self, live: Vec<Integration>, refused: Vec<Refused>) {
        self.live.store(Arc::new(live.into_iter().map(|it| (it.name.clone(), Arc::new(it))).collect()));
        self.refused.store(Arc::new(refused));
    }

    /// The integration of this name, if it is live.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Integration>> {
        self.live.load().get(&IntegrationName(name.into())).cloned()
    }

    /// Every live one, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Integration>> {
        self.live.load().values().cloned().collect()
    }

    /// Every refused folder.
    #[must_use]
    pub fn refused(&self) -> Arc<Vec<Refused>> {
        self.refused.load_full()
    }
}
