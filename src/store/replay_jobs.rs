//! Replays of many events, where several servers share a store: each of them shows how far a replay is, and can stop it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::error::StoreError;
use crate::model::company::CompanyId;

/// A replay, as its server has last described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedReplay {
    /// Its state and counts as JSON.
    pub document: String,
    /// When its server last wrote it.
    pub heard_at: DateTime<Utc>,
    /// Its server still runs it: it has not ended, and was heard of less than [`ReplayJobStore::silence`] ago.
    pub is_alive: bool,
    /// Who has asked to stop it.
    pub stop_asked_by: Option<String>,
}

/// What a server learns when it writes how far its replay is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayBeat {
    /// The replay goes on, unless somebody has asked to stop it.
    Runs {
        /// Who has asked.
        stop_asked_by: Option<String>,
    },
    /// The server was not heard of for too long, and its company has begun another replay since.
    Lost,
}

/// The replays of servers that share a store. A company has at most one that runs, and 20 in all.
pub trait ReplayJobStore: Send + Sync {
    /// Returns how long a replay may go without a [`Self::beat`] before it counts as interrupted.
    fn silence(&self) -> Duration;
    /// Adds a replay, and removes old ones. Returns false, and adds nothing, if the company has one that runs.
    fn begin(&self, company: &CompanyId, id: Uuid, document: String) -> BoxFuture<'_, Result<bool, StoreError>>;
    /// Says that a replay still runs, and how far it is.
    fn beat(&self, company: &CompanyId, id: Uuid, document: String) -> BoxFuture<'_, Result<ReplayBeat, StoreError>>;
    /// Says that a replay has ended, and how.
    fn end(&self, company: &CompanyId, id: Uuid, document: String) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Removes a replay that could not begin.
    fn forget(&self, company: &CompanyId, id: Uuid) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Asks to stop a replay, if it runs. Its server learns it with its next [`Self::beat`].
    fn ask_to_stop(&self, company: &CompanyId, id: Uuid, by: &str) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Returns a company's replays, or the one with this id, newest first.
    fn of(&self, company: &CompanyId, id: Option<Uuid>) -> BoxFuture<'_, Result<Vec<SharedReplay>, StoreError>>;
}
