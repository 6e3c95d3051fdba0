//! The span of a request or of queued work, and its stages.
//!
//! No `tracing` span is entered for either (docs/decisions/0029). What a span says is known when a request ends: the
//! fields of its log lines, its status, and how long each stage took.

use std::borrow::Cow;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span};

use super::context::TraceContext;

/// Set once, where traces are on.
pub(super) static TRACER: OnceLock<SdkTracer> = OnceLock::new();

tokio::task_local! {
    static OPERATION: Arc<Operation>;
}

/// The role of an operation in its trace.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A request from outside.
    Server,
    /// Processing of a queued event.
    Consumer,
}

/// A request or a piece of queued work, while it runs. Its span ends with [`Self::end`], or when it is dropped.
#[derive(Debug)]
pub(crate) struct Operation {
    span: Mutex<Span>,
    context: TraceContext,
    /// What the spans of its stages have as their parent.
    parent: Context,
    is_recorded: bool,
    route: OnceLock<&'static str>,
}

/// Whether operations make spans at all.
pub(crate) fn is_on() -> bool {
    TRACER.get().is_some()
}

/// Begins an operation in the parent's trace, or in a new one. Returns `None` if traces are off.
pub(crate) fn begin(kind: Kind, name: &'static str, parent: Option<&TraceContext>) -> Option<Arc<Operation>> {
    let tracer = TRACER.get()?;
    let above = parent.map_or_else(Context::new, |it| Context::new().with_remote_span_context(it.span().clone()));
    let kind = match kind {
        Kind::Server => SpanKind::Server,
        Kind::Consumer => SpanKind::Consumer,
    };
    let span = tracer.build_with_context(SpanBuilder::from_name(name).with_kind(kind), &above);
    let context = TraceContext::here(span.span_context())?;
    let parent = Context::new().with_remote_span_context(span.span_context().clone());
    let is_recorded = span.is_recording();
    Some(Arc::new(Operation { span: Mutex::new(span), context, parent, is_recorded, route: OnceLock::new() }))
}

/// The operation that this task works on.
pub(crate) fn current() -> Option<Arc<Operation>> {
    OPERATION.try_with(Arc::clone).ok()
}

/// Its place in its trace: what is stored with an event.
pub(crate) fn context() -> Option<TraceContext> {
    OPERATION.try_with(|it| it.context.clone()).ok()
}

/// Notes the route of the request that this task works on, such as `/v1/tasks/{id}`.
pub(crate) fn route(pattern: &'static str) {
    let _off = OPERATION.try_with(|it| it.route.set(pattern));
}

/// Links the operation that this task works on to another one, perhaps of another trace.
pub(crate) fn link(other: Option<&TraceContext>) {
    let Some(other) = other else { return };
    let _off = OPERATION.try_with(|it| it.span().add_link(other.span().clone(), Vec::new()));
}

/// Begins a stage of what this task works on.
pub(crate) fn stage(name: &'static str) -> StageSpan {
    let recorded = current().filter(|it| it.is_recorded);
    StageSpan { name, open: recorded.map(|it| (it, Instant::now())) }
}

impl Operation {
    /// Has what the future does belong to this operation.
    pub(crate) fn scope<F: Future>(self: &Arc<Self>, future: F) -> impl Future<Output = F::Output> + use<F> {
        OPERATION.scope(Arc::clone(self), future)
    }

    /// Its place in its trace.
    pub(crate) fn context(&self) -> &TraceContext {
        &self.context
    }

    /// The route of a request, once one has taken it.
    pub(crate) fn route(&self) -> Option<&'static str> {
        self.route.get().copied()
    }

    /// Whether its span is exported.
    pub(crate) fn is_recorded(&self) -> bool {
        self.is_recorded
    }

    /// Notes something about it. Values are names and ids, never what was sent.
    pub(crate) fn set(&self, name: &'static str, value: impl Into<Value>) {
        if self.is_recorded {
            self.span().set_attribute(KeyValue::new(name, value));
        }
    }

    /// Changes its name.
    pub(crate) fn rename(&self, name: impl Into<Cow<'static, str>>) {
        self.span().update_name(name);
    }

    /// Marks it as failed, for a reason on this side.
    pub(crate) fn fail(&self) {
        self.span().set_status(Status::error(""));
    }

    /// Ends its span now; what is noted later is lost.
    pub(crate) fn end(&self) {
        self.span().end();
    }

    /// The span of a stage that has just ended.
    pub(crate) fn stage(&self, name: &'static str, took: Duration, is_good: bool) {
        let (true, Some(tracer)) = (self.is_recorded, TRACER.get()) else { return };
        let end = SystemTime::now();
        let start = end.checked_sub(took).unwrap_or(end);
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Internal).with_start_time(start);
        let mut span = tracer.build_with_context(builder, &self.parent);
        if !is_good {
            span.set_status(Status::error(""));
        }
        span.end_with_timestamp(end);
    }

    fn span(&self) -> MutexGuard<'_, Span> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stage under way. One that is dropped leaves no span.
#[derive(Debug)]
pub(crate) struct StageSpan {
    name: &'static str,
    open: Option<(Arc<Operation>, Instant)>,
}

impl StageSpan {
    /// Ends it with this result, and hands that on.
    pub(crate) fn end<T, E>(self, result: Result<T, E>) -> Result<T, E> {
        if let Some((operation, since)) = self.open {
            operation.stage(self.name, since.elapsed(), result.is_ok());
        }
        result
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "an allocator that counts, in this test binary only")]
mod tests {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    use hyper::header::HeaderMap;

    use super::*;

    thread_local! {
        static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    }

    struct Counting;

    // SAFETY: everything is left to the system's allocator.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let _thread_ends = ALLOCATIONS.try_with(|it| it.set(it.get() + 1));
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    fn allocations(work: impl FnOnce()) -> usize {
        let before = ALLOCATIONS.get();
        work();
        ALLOCATIONS.get() - before
    }

    /// Otherwise servers without a collector pay for traces with each request.
    #[test]
    fn nothing_is_allocated_where_traces_are_off() {
        let mut headers = HeaderMap::new();
        headers.append("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap());
        let work = || {
            let caller = TraceContext::ids_of(&headers);
            assert!(!is_on() && begin(Kind::Server, "HTTP", caller.as_ref()).is_none());
            link(caller.as_ref());
            let ended: Result<(), ()> = stage("commit").end(Ok(()));
            assert!(ended.is_ok() && context().is_none() && current().is_none());
        };
        assert_eq!(allocations(work), 0);
        assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1, "they are counted");
    }
}
