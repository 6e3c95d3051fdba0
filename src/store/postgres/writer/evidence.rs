//! Whether a batch was committed whose COMMIT was sent on a connection that was lost: one of its rows shows it.
//!
//! The status of its transaction id does not: ids, and numbers of sequences, are durable only with a commit. After a crash or a
//! failover, another transaction may get the id of one that was lost, and is then taken for it.

use deadpool_postgres::Object;
use tokio_postgres::GenericClient;
use uuid::Uuid;

use crate::store::postgres::failure::Trouble;

/// A row, with the number of its change.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) company: String,
    pub(super) id: Uuid,
    pub(super) version: i64,
    pub(super) document: String,
}

/// A row that a batch has written.
#[derive(Debug, Clone)]
pub(super) enum Evidence {
    /// One that no other batch writes, because its id is random: `SELECT` returns it.
    New { select: &'static str, company: String, id: Uuid },
    /// A new state of a row: `SELECT` returns the version and document that it has now.
    State { select: &'static str, written: Written },
}

/// What a row shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchFate {
    Committed,
    NotCommitted,
    /// The row was changed again, or is gone.
    Unknown,
}

impl Evidence {
    /// Looks at the row. The transaction must have ended.
    pub(super) async fn look(&self, client: &Object) -> Result<BatchFate, Trouble> {
        self.look_in(&***client).await
    }

    /// The same in a transaction.
    pub(super) async fn look_in(&self, client: &impl GenericClient) -> Result<BatchFate, Trouble> {
        match self {
            Self::New { select, company, id } => {
                let found = client.query_opt(*select, &[company, id]).await?;
                Ok(if found.is_some() { BatchFate::Committed } else { BatchFate::NotCommitted })
            }
            Self::State { select, written } => {
                let Some(row) = client.query_opt(*select, &[&written.company, &written.id]).await? else {
                    return Ok(BatchFate::Unknown);
                };
                let (version, document): (i64, &str) = (row.get(0), row.get(1));
                // A number that was lost is given out again, so the same version may be another state.
                Ok(if version > written.version {
                    BatchFate::Unknown
                } else if version == written.version && document == written.document {
                    BatchFate::Committed
                } else {
                    BatchFate::NotCommitted
                })
            }
        }
    }
}

pub(super) const NEW_EVENT: &str = "SELECT 1 FROM hookmill.events WHERE company_id = $1 AND id = $2";
pub(super) const NEW_TASK: &str = "SELECT 1 FROM hookmill.tasks WHERE company_id = $1 AND id = $2";
pub(super) const NEW_ENTRY: &str = "SELECT 1 FROM hookmill.audit WHERE company_id = $1 AND id = $2";
pub(super) const EVENT: &str = "SELECT version, document FROM hookmill.events WHERE company_id = $1 AND id = $2";
pub(super) const TASK: &str = "SELECT change, document FROM hookmill.tasks WHERE company_id = $1 AND id = $2";
