//! Fields that every log line of a request carries.

use std::fmt::{self, Display, Write as _};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{DefaultFields, Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::system::text::{Printable, PrintableJson};

tokio::task_local! {
    static REQUEST: Arc<Request>;
}

type Value = Mutex<Option<Box<dyn Display + Send>>>;

/// Whether a line may be written, whatever `--log` says. hookmill's own lines contain only named fields. Other crates log data
/// that passes through them, such as URLs and headers with secrets, so they are limited to the level `info`.
pub(crate) fn says_no_more_than_it_may(of: &tracing::Metadata<'_>) -> bool {
    let own = of.target().strip_prefix(env!("CARGO_PKG_NAME")).is_some_and(|it| it.is_empty() || it.starts_with("::"));
    own || *of.level() <= tracing::Level::INFO
}

/// The fields of a request that are known so far.
#[derive(Default)]
pub(crate) struct Request([Value; Field::ALL.len()]);

/// A field of every log line of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field {
    Request,
    Trace,
    Key,
    Integration,
    Event,
}

impl Field {
    const ALL: [Self; 5] = [Self::Request, Self::Trace, Self::Key, Self::Integration, Self::Event];

    fn name(self) -> &'static str {
        match self {
            Self::Request => "request.id",
            Self::Trace => "trace.id",
            Self::Key => "key.id",
            Self::Integration => "integration",
            Self::Event => "event.id",
        }
    }
}

impl Request {
    /// Sets a field. The last value counts: a delivery may turn out to be another attempt of an existing event.
    pub(crate) fn know(&self, field: Field, value: impl Display + Send + 'static) {
        if let Some(known) = self.0.get(field as usize) {
            *known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(value));
        }
    }

    /// Adds this request's fields to everything that the future logs.
    pub(crate) fn scope<F: Future>(self: &Arc<Self>, future: F) -> impl Future<Output = F::Output> + use<F> {
        REQUEST.scope(Arc::clone(self), future)
    }

    /// Like [`Self::scope`], for a closure on any thread.
    pub(crate) fn in_scope<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        REQUEST.sync_scope(Arc::clone(self), work)
    }

    /// Writes each known field.
    fn write(&self, mut write: impl FnMut(&'static str, &dyn Display) -> fmt::Result) -> fmt::Result {
        Field::ALL.iter().zip(&self.0).try_for_each(|(field, value)| {
            let known = value.lock().unwrap_or_else(PoisonError::into_inner);
            known.as_ref().map_or(Ok(()), |value| write(field.name(), value))
        })
    }
}

/// The request of this task, for threads that do a part of its work.
pub(crate) fn current() -> Option<Arc<Request>> {
    REQUEST.try_with(Arc::clone).ok()
}

/// A field of this task's request.
pub(crate) fn known(field: Field) -> Option<String> {
    let known = |request: &Arc<Request>| {
        let value = request.0.get(field as usize)?.lock().unwrap_or_else(PoisonError::into_inner);
        value.as_ref().map(ToString::to_string)
    };
    REQUEST.try_with(known).ok().flatten()
}

/// Sets a field of this task's request.
pub(crate) fn know(field: Field, value: impl Display + Send + 'static) {
    let _outside_of_requests = REQUEST.try_with(|request| request.know(field, value));
}

/// Formats the event's own fields and then the request's, in one line, whatever they contain.
pub(crate) struct TextFields(pub(crate) DefaultFields);

impl<'writer> FormatFields<'writer> for TextFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut text = String::new();
        self.0.format_fields(Writer::new(&mut text), fields)?;
        if let Some(request) = current() {
            request.write(|name, value| write!(text, " {name}={value}"))?;
        }
        write!(writer, "{}", Printable(&text))
    }
}

/// Formats a line of JSON with the request's fields at its end.
pub(crate) struct JsonLine(pub(crate) Format<Json>);

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        if let Some(request) = current() {
            line.truncate(line.trim_end().strip_suffix('}').ok_or(fmt::Error)?.len());
            request
                .write(|name, value| write!(line, ",\"{name}\":{}", serde_json::Value::String(value.to_string())))?;
            line.push_str("}\n");
        }
        write!(writer, "{}", PrintableJson(&line))
    }
}
