//! What nodes do together, as the PostgreSQL store does it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_postgres::Row;
use uuid::Uuid;

use super::backend::Postgres;
use super::failure;
use super::{claims, event_ids, events, keys};
use crate::model::audit::Action;
use crate::model::company::CompanyId;
use crate::model::ids::EventId;
use crate::store::bundles::Bundles;
use crate::store::changed::SharedVersions;
use crate::store::cluster::{
    Claim, ClaimRequest, ClaimedEvent, Cluster, Depth, EventCount, Node, QueueOf, Shareable, SuspectRoom,
};
use crate::store::error::StoreError;
use crate::store::replay_jobs::ReplayJobStore;
use crate::store::sessions::SessionStore;
use crate::store::write::Versioned;

impl Shareable for Postgres {
    fn cluster(&self) -> Option<&dyn Cluster> {
        Some(self)
    }
}

impl Cluster for Postgres {
    fn claim<'a>(
        &'a self,
        asked: &'a [ClaimRequest],
        suspects: SuspectRoom,
    ) -> BoxFuture<'a, Result<Vec<ClaimedEvent>, StoreError>> {
        let (shared, asked) = (Arc::clone(&self.shared), asked.to_vec());
        self.run(async move { claims::claim(&shared, &asked, suspects).await.map_err(failure::read) })
    }

    fn queued_for(&self) -> BoxFuture<'_, Result<Vec<QueueOf>, StoreError>> {
        let shared = Arc::clone(&self.shared);
        self.run(async move { claims::queued_for(&shared).await.map_err(failure::read) })
    }

    fn claimed<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        let (shared, claim) = (Arc::clone(&self.shared), claim.clone());
        self.run(async move { events::one(&shared, &claim.company, claim.id, Some(claim.token)).await })
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<(), StoreError>> {
        let (shared, claim) = (Arc::clone(&self.shared), claim.clone());
        self.run(async move { claims::end(&shared, &claim, None).await.map_err(failure::read) })
    }

    fn put_back<'a>(&'a self, claim: &'a Claim, pause: Duration) -> BoxFuture<'a, Result<(), StoreError>> {
        let (shared, claim) = (Arc::clone(&self.shared), claim.clone());
        self.run(async move { claims::end(&shared, &claim, Some(pause)).await.map_err(failure::read) })
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        let shared = Arc::clone(&self.shared);
        // Also if the database was out of reach a moment ago.
        self.run_long(async move { claims::leave(&shared).await.map_err(failure::read) })
    }

    fn queued_here(&self) -> BoxFuture<'_, ()> {
        self.shared.queued.notified().boxed()
    }

    fn depth(&self, most: usize) -> watch::Receiver<Depth> {
        self.shared.counted.store(i64::try_from(most).unwrap_or(i64::MAX), Ordering::Release);
        self.shared.depth.subscribe()
    }

    fn report(&self, plugins: String) {
        self.shared.plugins.send_if_modified(|known| {
            let is_new = *known != plugins;
            *known = plugins;
            is_new
        });
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Vec<Node>, StoreError>> {
        let shared = Arc::clone(&self.shared);
        self.run(async move {
            let client = shared.connections.read().await.map_err(failure::read)?;
            let select = "SELECT id, name, role, version, plugins FROM hookmill.nodes WHERE leased_until > now() ORDER BY started_at, id";
            let rows = client.query(select, &[]).await.map_err(failure::read)?;
            let me = shared.node();
            let node = |row: &Row| {
                let id: Uuid = row.get(0);
                let (name, role, version, plugins) = (row.get(1), row.get(2), row.get(3), row.get(4));
                Node { id, name, role, version, is_this: id == me, plugins }
            };
            Ok(rows.iter().map(node).collect())
        })
    }

    fn changed(&self) -> watch::Receiver<SharedVersions> {
        self.shared.changed.subscribe()
    }

    fn event_counts(&self, since: EventId) -> BoxFuture<'_, Result<Vec<EventCount>, StoreError>> {
        let shared = Arc::clone(&self.shared);
        self.run(async move { event_ids::counts(&shared, since).await })
    }

    fn event_ids<'a>(
        &'a self,
        company: &CompanyId,
        range: Range<EventId>,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<EventId>, StoreError>> {
        let (shared, company) = (Arc::clone(&self.shared), company.clone());
        self.run(async move { event_ids::ids(&shared, &company, range, most).await })
    }

    fn audited(&self, action: Action, since: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<Uuid>, StoreError>> {
        let shared = Arc::clone(&self.shared);
        self.run(async move { keys::audited(&shared, action, since).await })
    }

    fn bundles(&self) -> &dyn Bundles {
        self
    }

    fn sessions(&self) -> &dyn SessionStore {
        self
    }

    fn replays(&self) -> &dyn ReplayJobStore {
        self
    }
}
