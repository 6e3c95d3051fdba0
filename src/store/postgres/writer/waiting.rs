//! A change that waits to be written.

use std::time::Instant;

use tokio::sync::oneshot;

use crate::store::error::StoreError;
use crate::store::postgres::change::{Mutation, MutationDone};

/// A change that waits.
#[derive(Debug)]
pub(super) struct WaitingMutation {
    pub(super) change: Mutation,
    pub(super) reply: oneshot::Sender<Result<MutationDone, StoreError>>,
    pub(super) since: Instant,
}
