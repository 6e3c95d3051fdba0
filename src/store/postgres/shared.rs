//! State that the parts of a PostgreSQL store share.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::connections::Connections;
use super::failure::Trouble;
use super::lane_range::LaneRanges;
use super::options::PostgresOptions;
use super::partitions::Partitions;
use crate::model::company::CompanyId;
use crate::store::changed::SharedVersions;
use crate::store::cluster::Depth;
use crate::store::error::StoreError;

/// Maximum number of queued events that are counted for each company, unless a server says that fewer matter.
const COUNTED: i64 = 100_000;

#[derive(Debug)]
pub(super) struct SharedDatabase {
    pub(super) options: PostgresOptions,
    pub(super) connections: Connections,
    pub(super) partitions: Partitions,
    /// Companies that have a row.
    companies: Mutex<HashSet<String>>,
    lineage: AtomicI64,
    /// Id of this node's lease. Another one after the lease was lost.
    node: Mutex<Option<Uuid>>,
    /// One renewal at a time, so that a node does not begin two leases.
    pub(super) renewing: tokio::sync::Mutex<()>,
    /// Whether the response to a claim was lost: the node may have claims that it does not know.
    pub(super) in_doubt: AtomicBool,
    /// One claim at a time, and no claim is ended by this node meanwhile.
    pub(super) claiming: tokio::sync::Mutex<()>,
    /// Which lanes the next claim looks at.
    pub(super) lanes: LaneRanges,
    /// Why the database cannot be used, and since when; `None` if it can.
    trouble: Mutex<Option<(String, Instant)>>,
    /// Whether renewals of the lease have failed since the last one that did not: the node is alive, and the database is not.
    pub(super) cut_off: AtomicBool,
    /// Whether this node has given its lease back, and begins no other.
    pub(super) left: AtomicBool,
    /// What other nodes have changed.
    pub(super) changed: watch::Sender<SharedVersions>,
    /// Wakes the work on queued events: this node has stored one.
    pub(super) queued: Notify,
    /// No event below this place is queued.
    pub(super) low: AtomicI64,
    /// Numbers of queued events.
    pub(super) depth: watch::Sender<Depth>,
    /// Maximum number of queued events that are counted for each company.
    pub(super) counted: AtomicI64,
    /// When they may be counted again.
    pub(super) count_again: Mutex<Option<Instant>>,
    /// This node's plugins as JSON.
    pub(super) plugins: watch::Sender<String>,
}

impl SharedDatabase {
    pub(super) fn new(options: PostgresOptions) -> Result<Self, String> {
        Ok(Self {
            connections: Connections::new(&options)?,
            options,
            partitions: Partitions::default(),
            companies: Mutex::default(),
            lineage: AtomicI64::new(0),
            node: Mutex::default(),
            renewing: tokio::sync::Mutex::default(),
            in_doubt: AtomicBool::new(false),
            claiming: tokio::sync::Mutex::default(),
            lanes: LaneRanges::default(),
            trouble: Mutex::default(),
            cut_off: AtomicBool::new(false),
            left: AtomicBool::new(false),
            changed: watch::Sender::default(),
            queued: Notify::new(),
            low: AtomicI64::new(0),
            depth: watch::Sender::default(),
            counted: AtomicI64::new(COUNTED),
            count_again: Mutex::default(),
            plugins: watch::Sender::new("{}".into()),
        })
    }

    pub(super) fn lineage(&self) -> i64 {
        self.lineage.load(Ordering::Acquire)
    }

    pub(super) fn set_lineage(&self, lineage: i64) {
        self.lineage.store(lineage, Ordering::Release);
    }

    pub(super) fn node(&self) -> Uuid {
        self.node.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_default()
    }

    /// Sets the id of another lease.
    pub(super) fn set_node(&self, id: Uuid) {
        *self.node.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
    }

    /// Notes whether the database works.
    pub(super) fn works(&self, outcome: Result<(), String>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let since = trouble.take().map_or_else(Instant::now, |it| it.1);
        *trouble = outcome.err().map(|cause| (cause, since));
    }

    /// Returns why the database cannot be used.
    pub(super) fn ready(&self) -> Result<(), StoreError> {
        self.has_worked(Duration::ZERO)
    }

    /// Returns why the database cannot be used, if that has been so for longer than this.
    pub(super) fn has_worked(&self, within: Duration) -> Result<(), StoreError> {
        match &*self.trouble.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((cause, since)) if since.elapsed() >= within => Err(StoreError::Unavailable(cause.clone())),
            _ => Ok(()),
        }
    }

    /// Gives each company a row, which its writes lock.
    pub(super) async fn ensure_companies(&self, companies: &[&str]) -> Result<(), Trouble> {
        let missing: Vec<&str> = {
            let known = self.companies.lock().unwrap_or_else(PoisonError::into_inner);
            companies.iter().copied().filter(|it| !known.contains(*it)).collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        let client = self.connections.write().await?;
        let insert = "INSERT INTO hookmill.companies (company_id) SELECT * FROM unnest($1::text[]) AS id ORDER BY id ON CONFLICT DO NOTHING";
        client.execute(insert, &[&missing]).await?;
        let mut known = self.companies.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(missing.into_iter().map(str::to_owned));
        Ok(())
    }

    /// Forgets what is known about the tables, so that it is looked up again.
    pub(super) fn forget(&self) {
        self.companies.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.partitions.forget();
    }
}

/// Returns the text under which a company is stored; '' for the operator.
pub(super) fn name_of(company: Option<&CompanyId>) -> &str {
    company.map_or("", CompanyId::as_str)
}
