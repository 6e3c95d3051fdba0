//! Reads of first responses.

use chrono::{DateTime, Utc};

use super::failure;
use super::shared::SharedDatabase;
use super::writer::{AnswerKey, first_answer};
use crate::store::error::StoreError;
use crate::store::idempotency::{FirstAnswer, IdempotencyId};

const ONE: &str = "SELECT fingerprint, at, refused, event_id, head, body FROM hookmill.answers \
     WHERE company_id = $1 AND kind = $2 AND name = $3";

/// Returns the stored response to a request, if it has not expired at `now`.
pub(super) async fn first(
    shared: &SharedDatabase,
    id: &IdempotencyId,
    now: DateTime<Utc>,
) -> Result<Option<FirstAnswer>, StoreError> {
    let key = AnswerKey::of(id);
    let client = shared.connections.read().await.map_err(failure::read)?;
    let statement = client.prepare_cached(ONE).await.map_err(failure::read)?;
    let row = client.query_opt(&statement, &[&key.company, &key.kind, &&key.name[..]]).await.map_err(failure::read)?;
    let since = now - id.window.unwrap_or(shared.options.idempotency);
    Ok(row.and_then(|row| first_answer(&row, 0)).filter(|it| it.at > since))
}
