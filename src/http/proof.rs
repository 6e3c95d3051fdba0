//! Signatures over large bodies are checked off the reactor, some at a time: strangers can send as many as they like, and
//! nobody else's request waits for them.

use std::sync::Arc;

use bytes::Bytes;

use super::Problem;
use crate::app::App;
use crate::integration::{Claimed, Integration};

/// Most bytes that are hashed on the reactor for one delivery: about 0.1 ms.
const INLINE_BYTES: usize = 64 * 1024;

/// Nothing, where the body fits what its sender has claimed.
pub(super) async fn check(
    app: &App,
    integration: &Arc<Integration>,
    claimed: Claimed,
    body: &Bytes,
) -> Result<(), Problem> {
    if integration.auth.cost(&claimed, body.len()) <= INLINE_BYTES {
        return Ok(integration.auth.check(&claimed, body)?);
    }
    let place = Arc::clone(&app.proofs).acquire_owned().await.map_err(|_| Problem::Internal)?;
    let (integration, body) = (Arc::clone(integration), body.clone());
    let checked = tokio::task::spawn_blocking(move || {
        let checked = integration.auth.check(&claimed, &body);
        drop(place);
        checked
    });
    Ok(checked.await.map_err(|_| Problem::Internal)??)
}
