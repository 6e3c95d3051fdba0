//! How long commits take.

use std::future::Future;

use crate::system::trace;

/// Measures a commit, as a stage of its request's trace.
pub(super) async fn timed<T, E>(commit: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let stage = trace::stage("commit");
    stage.end(commit.await)
}
