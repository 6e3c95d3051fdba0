//! A place in a trace, as W3C Trace Context writes it: <https://www.w3.org/TR/trace-context/>.

use std::str::FromStr as _;

use hyper::header::HeaderMap;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest `tracestate` that is passed on, in bytes; a longer one is dropped, and the trace goes on without it.
const STATE_BYTES: usize = 512;
/// Flags that have a meaning today: sampled, and random trace id.
const KNOWN_FLAGS: u8 = 0b11;

/// A span of a trace, here or at a caller's: what a later span names as its parent, or links to.
#[derive(Debug, Clone, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(with = "Headers<'static>")]
pub struct TraceContext(SpanContext);

impl TraceContext {
    /// The caller's span, from the headers `traceparent` and `tracestate`. Returns `None` unless there is exactly one
    /// `traceparent`, and it is valid.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let one = one_of(headers)?;
        let states = headers.get_all("tracestate").iter().filter_map(|it| it.to_str().ok());
        let state = states.collect::<Vec<_>>().join(",");
        Self::parse(one, &state)
    }

    /// The same without `tracestate`.
    #[must_use]
    pub fn ids_of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(one_of(headers)?, "")
    }

    /// The same from the headers' values. A `tracestate` that is malformed or longer than 512 bytes is dropped.
    #[must_use]
    pub fn parse(traceparent: &[u8], tracestate: &str) -> Option<Self> {
        let hex = |range: std::ops::Range<usize>| {
            let part = traceparent.get(range)?;
            let fits = part.iter().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
            fits.then(|| std::str::from_utf8(part).ok()).flatten()
        };
        let dashes = [2, 35, 52].iter().all(|&at| traceparent.get(at) == Some(&b'-'));
        let (version, trace, span, flags) = (hex(0..2)?, hex(3..35)?, hex(36..52)?, hex(53..55)?);
        // A higher version may have more fields, behind another dash.
        let ends = match version {
            "00" => traceparent.len() == 55,
            "ff" => false,
            _ => traceparent.get(55).is_none_or(|&it| it == b'-'),
        };
        if !dashes || !ends {
            return None;
        }
        let (trace, span) = (u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(span, 16).ok()?);
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Self::new(trace.to_be_bytes(), span.to_be_bytes(), flags, tracestate)
    }

    /// A span by its ids. Returns `None` if one of them is zero, which is not an id.
    #[must_use]
    pub fn new(trace_id: [u8; 16], span_id: [u8; 8], flags: u8, tracestate: &str) -> Option<Self> {
        let state = Some(tracestate).filter(|it| !it.is_empty() && it.len() <= STATE_BYTES);
        let state = state.and_then(|it| TraceState::from_str(it).ok()).unwrap_or_default();
        let flags = TraceFlags::new(flags & KNOWN_FLAGS);
        let span = SpanContext::new(TraceId::from_bytes(trace_id), SpanId::from_bytes(span_id), flags, true, state);
        span.is_valid().then_some(Self(span))
    }

    /// A span of this process. Returns `None` if traces were switched off, as at shutdown.
    pub(super) fn here(span: &SpanContext) -> Option<Self> {
        span.is_valid().then(|| Self(span.clone()))
    }

    /// The same for the library.
    pub(super) fn span(&self) -> &SpanContext {
        &self.0
    }

    /// The trace's id: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.0.trace_id()
    }

    /// The span's id: 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> SpanId {
        self.0.span_id()
    }

    /// The flags of `traceparent`; bit 0 is "sampled".
    #[must_use]
    pub fn flags(&self) -> u8 {
        self.0.trace_flags().to_u8()
    }

    /// The header `traceparent`.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace_id(), self.span_id(), self.flags())
    }

    /// The header `tracestate`, or an empty text.
    #[must_use]
    pub fn tracestate(&self) -> String {
        self.0.trace_state().header()
    }

    /// The same without `tracestate`, whose content the caller chose.
    #[must_use]
    pub fn without_state(&self) -> Self {
        let (flags, state) = (self.0.trace_flags(), TraceState::default());
        Self(SpanContext::new(self.trace_id(), self.span_id(), flags, true, state))
    }
}

fn one_of(headers: &HeaderMap) -> Option<&[u8]> {
    let mut sent = headers.get_all("traceparent").iter();
    // Of two, nothing says which is right.
    sent.next().filter(|_| sent.next().is_none()).map(|it| it.as_bytes())
}

/// The two headers.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "TraceHeaders")]
struct Headers<'a> {
    traceparent: std::borrow::Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    tracestate: std::borrow::Cow<'a, str>,
}

impl Serialize for TraceContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Headers { traceparent: self.traceparent().into(), tracestate: self.tracestate().into() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TraceContext {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let sent = Headers::deserialize(deserializer)?;
        let context = Self::parse(sent.traceparent.as_bytes(), &sent.tracestate);
        context.ok_or_else(|| D::Error::custom("not a traceparent of W3C Trace Context"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parse(sent: &str) -> Option<TraceContext> {
        TraceContext::parse(sent.as_bytes(), "")
    }

    /// Otherwise a malformed header makes a span with a parent that nobody has.
    #[test]
    fn a_traceparent_is_read_strictly() {
        let good = parse(GOOD).unwrap();
        assert_eq!(good.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((good.span_id().to_string().as_str(), good.flags()), ("00f067aa0ba902b7", 1));
        assert_eq!(good.traceparent(), GOOD);
        assert!(parse(&GOOD.replacen("00", "01", 1)).is_some(), "a later version");
        assert!(parse(&(GOOD.replacen("00", "cc", 1) + "-what-comes-later")).is_some());
        for bad in [
            "",
            "00",
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &format!("{GOOD}-more"),
            &(GOOD.replacen("00", "01", 1) + "more"),
            &GOOD.replace('-', "_"),
            &GOOD[..54],
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            &format!(" {GOOD}"),
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let mut twice = HeaderMap::new();
        twice.append("traceparent", GOOD.parse().unwrap());
        assert!(TraceContext::of(&twice).is_some());
        twice.append("traceparent", GOOD.parse().unwrap());
        assert_eq!(TraceContext::of(&twice), None);
    }

    /// Otherwise a caller decides how much is stored with each event.
    #[test]
    fn a_tracestate_is_passed_on_within_its_limit() {
        let mut headers = HeaderMap::new();
        headers.append("traceparent", GOOD.parse().unwrap());
        headers.append("tracestate", "vendor=a:1".parse().unwrap());
        headers.append("tracestate", "other=b".parse().unwrap());
        let context = TraceContext::of(&headers).unwrap();
        assert_eq!(context.tracestate(), "vendor=a:1,other=b");
        assert_eq!(context.without_state().tracestate(), "");
        let written = serde_json::to_string(&context).unwrap();
        assert_eq!(serde_json::from_str::<TraceContext>(&written).unwrap(), context);
        for dropped in ["no equals sign", &format!("a={}", "x".repeat(512)), "UPPER=1"] {
            let context = TraceContext::parse(GOOD.as_bytes(), dropped).unwrap();
            assert_eq!(context.tracestate(), "", "{dropped}");
        }
    }
}
