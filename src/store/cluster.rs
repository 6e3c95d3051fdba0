//! What servers do together that share one store.

use std::ops::Range;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use uuid::Uuid;

use super::bundles::Bundles;
use super::changed::SharedVersions;
use super::error::StoreError;
use super::replay_jobs::ReplayJobStore;
use super::sessions::SessionStore;
use super::write::Versioned;
use crate::model::audit::Action;
use crate::model::company::CompanyId;
use crate::model::ids::{EventId, IntegrationName};

/// A store that may be shared.
pub trait Shareable {
    /// Returns how servers share the store; `None` for a store that has one server at a time.
    fn cluster(&self) -> Option<&dyn Cluster> {
        None
    }
}

/// Servers ("nodes") on one store.
///
/// A node has a lease, which it renews; a claim on a queued event ends with its node's lease. Each claim has a fencing token,
/// and the result of an earlier claim is rejected: a node that hangs and goes on later cannot undo what others have done, nor
/// process an event before an earlier one of its lane.
pub trait Cluster: Send + Sync {
    /// Claims queued events of these integrations, and returns them in the order in which they were stored. An event of a lane
    /// is handed out only if all events of the lane before it are settled, or claimed by this node; of one lane, this node
    /// holds at most 16. Of events that were claimed before without a result, it returns as many as there is room for.
    fn claim<'a>(
        &'a self,
        asked: &'a [ClaimRequest],
        suspects: SuspectRoom,
    ) -> BoxFuture<'a, Result<Vec<ClaimedEvent>, StoreError>>;
    /// Returns the integrations that unclaimed events are queued for.
    fn queued_for(&self) -> BoxFuture<'_, Result<Vec<QueueOf>, StoreError>>;
    /// Returns a claimed event, with the version to name when it is replaced; `None` if the claim has ended.
    fn claimed<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>>;
    /// Ends a claim that was not used: it does not count as an attempt. Claims of this node on later events of its lane end
    /// with it.
    fn release<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<(), StoreError>>;
    /// The same, but it counts as an attempt, and the next one is made after this time.
    fn put_back<'a>(&'a self, claim: &'a Claim, pause: Duration) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Ends all claims of this node without a result, and its lease.
    fn leave(&self) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Waits until this node has stored a queued event.
    fn queued_here(&self) -> BoxFuture<'_, ()>;
    /// Returns the number of queued events by company, as of a moment ago. At most so many of a company are counted.
    fn depth(&self, most: usize) -> watch::Receiver<Depth>;
    /// Reports which plugins this node runs: JSON for [`Node::plugins`], an object whose member `live` has a member for each
    /// live integration.
    fn report(&self, plugins: String);
    /// Returns the nodes whose leases are valid.
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<Node>, StoreError>>;
    /// Returns what nodes change that all of them hold in memory.
    fn changed(&self) -> watch::Receiver<SharedVersions>;
    /// Returns how many events each company has from this id on, for each 4.1 seconds of their receipt.
    fn event_counts(&self, since: EventId) -> BoxFuture<'_, Result<Vec<EventCount>, StoreError>>;
    /// Returns a company's events from the first id to before the second one, oldest first, at most so many: those that other
    /// nodes have stored are among them.
    fn event_ids<'a>(
        &'a self,
        company: &CompanyId,
        range: Range<EventId>,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<EventId>, StoreError>>;
    /// Returns the audit entries with this action since this time.
    fn audited(&self, action: Action, since: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<Uuid>, StoreError>>;
    /// Returns the plugins that are stored in the database.
    fn bundles(&self) -> &dyn Bundles;
    /// Returns who is logged in to the console.
    fn sessions(&self) -> &dyn SessionStore;
    /// Returns the replays of many events.
    fn replays(&self) -> &dyn ReplayJobStore;
}

/// The number of a company's events of 4.1 seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCount {
    /// The company.
    pub company: CompanyId,
    /// Ids of events of this time.
    pub ids: Range<EventId>,
    /// How many there are.
    pub count: u64,
}

/// The queued events of an integration of a company.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueOf {
    /// The company.
    pub company: CompanyId,
    /// The integration.
    pub integration: IntegrationName,
}

/// How many events of an integration a node can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRequest {
    /// Whose events.
    pub of: QueueOf,
    /// At most so many.
    pub most: usize,
    /// At most so many that were interrupted once before.
    pub again: usize,
}

/// How many events a node can take that were claimed before without a result: one of them may make nodes crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuspectRoom {
    /// Number of those that were interrupted once.
    pub again: usize,
    /// Whether it can take one that was interrupted more often.
    pub often: bool,
}

/// A claim on a queued event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Company of the event.
    pub company: CompanyId,
    /// Id of the event.
    pub id: EventId,
    /// Fencing token.
    pub token: i64,
}

/// A queued event that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedEvent {
    /// The claim.
    pub claim: Claim,
    /// Integration of the event.
    pub integration: IntegrationName,
    /// Events of the integration with the same lane are processed one after another.
    pub lane: Option<i64>,
    /// Number of claims so far, with this one. Those before ended without a result.
    pub attempts: u32,
}

/// Numbers of queued events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Depth {
    /// All of them.
    pub all: u64,
    /// By company.
    pub companies: Vec<(CompanyId, u64)>,
}

/// A server on a shared store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Id of its lease.
    pub id: Uuid,
    /// Name of its machine, and its process.
    pub name: String,
    /// `all`, `web` or `worker`; `command` is not a server, but a command that is running.
    pub role: String,
    /// Version of hookmill.
    pub version: String,
    /// Whether it is this server.
    pub is_this: bool,
    /// Its plugins, as it has reported them.
    pub plugins: String,
}
