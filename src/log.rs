//! The log's format, and what every log line of a request carries. All text of a line is escaped here (`text.rs`).
//!
//! A `tracing` span would do the same, and format its fields for every request, logged or not, which costs microseconds
//! (docs/decisions/0029). Here a request keeps its fields as they are, and only a line that is written formats them.

mod sample;

use std::fmt::{self, Display, Write as _};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{DefaultFields, Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::text::{Printable, PrintableJson};

pub(crate) use sample::{Line, flush, sample};

tokio::task_local! {
    static REQUEST: Arc<Request>;
}

type Value = Mutex<Option<Box<dyn Display + Send>>>;

/// Whether a line may be written, whatever `--log` says. Our own lines name what they hold. Other crates log what passes
/// through them, such as URLs and headers with secrets in them: they may warn and inform, and no more.
pub(crate) fn says_no_more_than_it_may(of: &tracing::Metadata<'_>) -> bool {
    let own = of.target().strip_prefix(env!("CARGO_PKG_NAME")).is_some_and(|it| it.is_empty() || it.starts_with("::"));
    own || *of.level() <= tracing::Level::INFO
}

/// What a request is about, as far as it is known yet.
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
    /// Notes what is known by now; what is known last counts, as a delivery may turn out to be another attempt of an
    /// event that is there.
    pub(crate) fn know(&self, field: Field, value: impl Display + Send + 'static) {
        if let Some(known) = self.0.get(field as usize) {
            *known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(value));
        }
    }

    /// Has all that the future logs carry this request's fields.
    pub(crate) fn scope<F: Future>(self: &Arc<Self>, future: F) -> impl Future<Output = F::Output> + use<F> {
        REQUEST.scope(Arc::clone(self), future)
    }

    /// The same for a closure, on whichever thread.
    pub(crate) fn in_scope<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        REQUEST.sync_scope(Arc::clone(self), work)
    }

    /// Has each field that is known written.
    fn write(&self, mut write: impl FnMut(&'static str, &dyn Display) -> fmt::Result) -> fmt::Result {
        Field::ALL.iter().zip(&self.0).try_for_each(|(field, value)| {
            let known = value.lock().unwrap_or_else(PoisonError::into_inner);
            known.as_ref().map_or(Ok(()), |value| write(field.name(), value))
        })
    }
}

/// The request that this task works on: for threads that do a part of it.
pub(crate) fn current() -> Option<Arc<Request>> {
    REQUEST.try_with(Arc::clone).ok()
}

/// What is known about the request that this task works on.
pub(crate) fn known(field: Field) -> Option<String> {
    let known = |request: &Arc<Request>| {
        let value = request.0.get(field as usize)?.lock().unwrap_or_else(PoisonError::into_inner);
        value.as_ref().map(ToString::to_string)
    };
    REQUEST.try_with(known).ok().flatten()
}

/// Notes something about the request that this task works on.
pub(crate) fn know(field: Field, value: impl Display + Send + 'static) {
    let _outside_of_requests = REQUEST.try_with(|request| request.know(field, value));
}

/// An event's own fields, and then the request's: one line, whatever is in them.
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

/// A line of JSON, with the request's fields at its end.
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
