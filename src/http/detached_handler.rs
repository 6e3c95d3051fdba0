//! A handler that runs to its end, even if its connection closes.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use warp::reply::Response;

/// A handler's response, or its panic.
type End = Result<Response, Box<dyn Any + Send>>;

/// A running handler. It runs in its connection's task, which adds no cost. If it is dropped there before its end, because of
/// `request_timeout_ms` or because the connection fails, it continues in its own task.
pub(super) struct DetachedHandler {
    work: Option<Pin<Box<dyn Future<Output = End> + Send>>>,
    /// Makes shutdown wait for it.
    token: Option<TaskTrackerToken>,
}

impl DetachedHandler {
    pub(super) fn new(all: &TaskTracker, work: impl Future<Output = Response> + Send + 'static) -> Self {
        Self { work: Some(Box::pin(AssertUnwindSafe(work).catch_unwind())), token: Some(all.token()) }
    }
}

impl Future for DetachedHandler {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_ready() {
            (self.work, self.token) = (None, None);
        }
        polled
    }
}

impl Drop for DetachedHandler {
    fn drop(&mut self) {
        let (work, token) = (self.work.take(), self.token.take());
        // Without a runtime, the process is ending.
        if let (Some(work), Ok(runtime)) = (work, tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                let _nobody_waits = work.await;
                drop(token);
            });
        }
    }
}
