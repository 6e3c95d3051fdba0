//! What a request is known by: its id, and the caller's trace (W3C Trace Context).

use std::sync::Arc;

use hyper::header::HeaderMap;
use uuid::Uuid;

use crate::log::{self, Field};

/// A request's ids.
#[derive(Debug, Clone)]
pub(super) struct Ids {
    request: Uuid,
    trace: Option<TraceId>,
}

/// The trace that the caller is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TraceId(String);

impl Ids {
    pub(super) fn new(request: Uuid, headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all("traceparent").iter();
        // Two of them are none: nothing says which is right.
        let one = sent.next().filter(|_| sent.next().is_none());
        Self { request, trace: one.and_then(|it| TraceId::parse(it.as_bytes())) }
    }

    /// `X-Request-Id`.
    pub(super) fn request(&self) -> String {
        self.request.to_string()
    }

    /// `traceresponse`, of the editor's draft "Trace Context HTTP Response Headers Format": version, trace, the operation
    /// here (the request id's second half, which is never zero in a UUID), and flags: nothing was recorded.
    pub(super) fn trace_response(&self) -> Option<String> {
        let TraceId(trace) = self.trace.as_ref()?;
        Some(format!("00-{trace}-{:016x}-00", self.request.as_u64_pair().1))
    }

    /// What the request's log lines carry; more is added as it becomes known.
    pub(super) fn logged(&self) -> Arc<log::Request> {
        let request = log::Request::default();
        request.know(Field::Request, self.request);
        if let Some(TraceId(trace)) = &self.trace {
            request.know(Field::Trace, trace.clone());
        }
        Arc::new(request)
    }
}

impl TraceId {
    /// Strict: anything else than <https://www.w3.org/TR/trace-context/#traceparent-header-field-values> says is ignored.
    fn parse(sent: &[u8]) -> Option<Self> {
        let hex = |range: std::ops::Range<usize>| {
            let part = sent.get(range)?;
            let fits = part.iter().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
            fits.then(|| std::str::from_utf8(part).ok()).flatten()
        };
        let dashes = [2, 35, 52].iter().all(|&at| sent.get(at) == Some(&b'-'));
        let (version, trace, parent, _flags) = (hex(0..2)?, hex(3..35)?, hex(36..52)?, hex(53..55)?);
        // A higher version may have more fields, behind another dash.
        let ends = match version {
            "00" => sent.len() == 55,
            "ff" => false,
            _ => sent.get(55).is_none_or(|&it| it == b'-'),
        };
        let zero = |it: &str| it.bytes().all(|digit| digit == b'0');
        (dashes && ends && !zero(trace) && !zero(parent)).then(|| Self(trace.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::TraceId;

    #[test]
    fn a_traceparent_is_read_strictly() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parse = |sent: &str| TraceId::parse(sent.as_bytes()).map(|it| it.0);
        assert_eq!(parse(good).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert!(parse(&good.replacen("00", "01", 1)).is_some(), "a later version");
        assert!(parse(&(good.replacen("00", "cc", 1) + "-what-comes-later")).is_some());
        for bad in [
            "",
            "00",
            &good.to_uppercase(),
            &good.replacen("00", "ff", 1),
            &format!("{good}-more"),
            &(good.replacen("00", "01", 1) + "more"),
            &good.replace('-', "_"),
            &good[..54],
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            &format!(" {good}"),
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
