//! Reads of API keys and of the audit log.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::failure::{self, damaged};
use super::shared::SharedDatabase;
use super::writer::api_key;
use crate::auth::ApiKey;
use crate::model::audit::{Action, Entry};
use crate::model::company::CompanyId;
use crate::store::error::StoreError;
use crate::store::id_time::first_id;

/// Returns all API keys. A key that cannot be read is logged and skipped, so that it does not make all others unusable.
pub(super) async fn all(shared: &SharedDatabase) -> Result<Vec<ApiKey>, StoreError> {
    let client = shared.connections.read().await.map_err(failure::read)?;
    let rows =
        client.query("SELECT id, document FROM hookmill.api_keys ORDER BY id", &[]).await.map_err(failure::read)?;
    let read = |row: &tokio_postgres::Row| match api_key(row.get(1)) {
        Ok(key) => Some(key),
        Err(error) => {
            let id: &str = row.get(0);
            tracing::error!(record = id, cause = %error, "an API key cannot be read and does not work");
            None
        }
    };
    Ok(rows.iter().filter_map(read).collect())
}

const OF_ONE: &str = "SELECT document FROM hookmill.audit WHERE company_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
const OF_ALL: &str = "SELECT a.document FROM hookmill.companies c CROSS JOIN LATERAL ( \
       SELECT id, document FROM hookmill.audit WHERE company_id = c.company_id AND id < $1 ORDER BY id DESC LIMIT $2 \
     ) a ORDER BY a.id DESC LIMIT $2";

const WITH_ACTION: &str = "SELECT a.id FROM hookmill.companies c CROSS JOIN LATERAL ( \
       SELECT id, document FROM hookmill.audit WHERE company_id = c.company_id AND id >= $1 \
     ) a WHERE a.document::json ->> 'action' = $2";

/// Returns the entries of all companies with this action since this time.
pub(super) async fn audited(
    shared: &SharedDatabase,
    action: Action,
    since: DateTime<Utc>,
) -> Result<Vec<Uuid>, StoreError> {
    let name = serde_json::to_value(action).map_err(|e| damaged("action", &e))?;
    let client = shared.connections.read().await.map_err(failure::read)?;
    let statement = client.prepare_cached(WITH_ACTION).await.map_err(failure::read)?;
    let rows = client.query(&statement, &[&first_id(since), &name.as_str()]).await.map_err(failure::read)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Returns the audit log, newest first.
pub(super) async fn audit(
    shared: &SharedDatabase,
    company: Option<&CompanyId>,
    before: Option<Uuid>,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let client = shared.connections.read().await.map_err(failure::read)?;
    let (before, limit) = (before.unwrap_or(Uuid::max()), i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = match company {
        Some(company) => client.query(OF_ONE, &[&company.as_str(), &before, &limit]).await,
        None => client.query(OF_ALL, &[&before, &limit]).await,
    };
    let entry = |row: tokio_postgres::Row| serde_json::from_str(row.get(0)).map_err(|e| damaged("audit entry", &e));
    rows.map_err(failure::read)?.into_iter().map(entry).collect()
}
