//! A handler that runs to its end, whatever happens to its connection.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use warp::reply::Response;

/// How a handler ends: with its response, or in a panic.
type End = Result<Response, Box<dyn Any + Send>>;

/// A handler at work. It runs in its connection's task, which costs nothing more; when it is dropped there before its end,
/// as `request_timeout_ms` is over or the connection fails, it goes on in a task of its own.
pub(super) struct Running {
    work: Option<Pin<Box<dyn Future<Output = End> + Send>>>,
    /// Shutdown waits for it, wherever it runs.
    token: Option<TaskTrackerToken>,
}

impl Running {
    pub(super) fn new(all: &TaskTracker, work: impl Future<Output = Response> + Send + 'static) -> Self {
        Self { work: Some(Box::pin(AssertUnwindSafe(work).catch_unwind())), token: Some(all.token()) }
    }
}

impl Future for Running {
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

impl Drop for Running {
    fn drop(&mut self) {
        let (work, token) = (self.work.take(), self.token.take());
        // Without a runtime the process is at its end.
        if let (Some(work), Ok(runtime)) = (work, tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                let _nobody_waits = work.await;
                drop(token);
            });
        }
    }
}
