//! Series of requests, error responses and connections.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{LazyLock, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::exposition::Exposition;
use super::histogram::{Histogram, REQUEST};
use super::observed::Observed;
use super::series;
use super::value::{Counter, Gauge};

/// Number of possible statuses: three digits, from 100 on.
const STATUSES: usize = 900;
/// Maximum number of codes with their own count; there are about eighty.
const CODES: usize = 200;
/// Codes that are shown from the start, so that the first failure increases a count.
const FAILURES: [&str; 6] =
    ["auth_not_configured", "no_key", "scope_missing", "wrong_credentials", "wrong_key", "wrong_signature"];

/// Series of the whole process.
pub(crate) static HTTP: HttpSeries = HttpSeries::new();

/// Counts of requests, error responses and connections.
#[derive(Debug)]
pub(crate) struct HttpSeries {
    routes: Mutex<Vec<&'static RouteSeries>>,
    pub(crate) in_flight: Gauge,
    pub(crate) request_bytes: Counter,
    pub(crate) response_bytes: Counter,
    errors: Codes,
    authentication: Codes,
    limited_keys: Counter,
    limited_integrations: Counter,
    /// Repeated requests that got the first response.
    pub(crate) repeated: Counter,
    pub(crate) connections: Gauge,
    pub(crate) connections_limit: Gauge,
    pub(crate) accepted: Counter,
    pub(crate) closed_for_room: Counter,
    pub(crate) not_accepted: Counter,
}

/// Number of buckets of [`Traffic::durations`].
pub(crate) const DURATIONS: usize = REQUEST.len() + 1;

/// What deliveries and requests about tasks have come to since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Responses with a status from 400 to 499.
    pub(crate) refused: u64,
    /// Responses with a status from 500 on.
    pub(crate) failed: u64,
    /// Requests by how long they took: up to each of [`Traffic::bounds_ms`], and longer.
    pub(crate) durations: [u64; DURATIONS],
}

impl Traffic {
    /// The bounds of durations, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "bounds are far smaller")]
    pub(crate) fn bounds_ms() -> impl Iterator<Item = f64> {
        REQUEST.iter().map(|it| *it as f64 / 1_000_000.0)
    }
}

/// Counts of one route's requests. They are never freed; there is one for each line of the route table.
#[derive(Debug)]
pub(crate) struct RouteSeries {
    method: String,
    /// Such as `/v1/tasks/{id}`.
    pattern: String,
    statuses: Box<[Counter]>,
    duration: Histogram<{ REQUEST.len() }>,
}

/// Counts of requests that match no route. Their labels hold nothing that was sent.
pub(crate) static OTHER: LazyLock<RouteSeries> = LazyLock::new(|| RouteSeries::new("other", "other"));

impl RouteSeries {
    fn new(method: &str, pattern: &str) -> Self {
        let statuses = (0..STATUSES).map(|_| Counter::new()).collect();
        Self { method: method.into(), pattern: pattern.into(), statuses, duration: Histogram::of_times(&REQUEST) }
    }

    /// Counts a response.
    pub(crate) fn answered(&self, status: u16, took: Duration) {
        if let Some(count) = usize::from(status).checked_sub(100).and_then(|it| self.statuses.get(it)) {
            count.count();
        }
        self.duration.took(took);
    }
}

impl HttpSeries {
    const fn new() -> Self {
        Self {
            routes: Mutex::new(Vec::new()),
            in_flight: Gauge::new(),
            request_bytes: Counter::new(),
            response_bytes: Counter::new(),
            errors: Codes::new(),
            authentication: Codes::new(),
            limited_keys: Counter::new(),
            limited_integrations: Counter::new(),
            repeated: Counter::new(),
            connections: Gauge::new(),
            connections_limit: Gauge::new(),
            accepted: Counter::new(),
            closed_for_room: Counter::new(),
            not_accepted: Counter::new(),
        }
    }

    /// Returns the counts of a route; the same route always gets the same ones. Called when the route table is built.
    pub(crate) fn route(&self, method: &str, pattern: &str) -> &'static RouteSeries {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = routes.iter().find(|it| it.method == method && it.pattern == pattern) {
            return route;
        }
        let route: &'static RouteSeries = Box::leak(Box::new(RouteSeries::new(method, pattern)));
        routes.push(route);
        route
    }

    /// Counts an error response with this `detail.code`.
    pub(crate) fn failed(&self, code: &str) {
        self.errors.count(code);
    }

    /// Counts a request that failed authentication, or whose key lacks the scope.
    pub(crate) fn not_authenticated(&self, code: &str) {
        self.authentication.count(code);
    }

    /// Counts a request over the rate limit of its key, or else of its integration.
    pub(crate) fn rate_limited(&self, of_key: bool) {
        if of_key { self.limited_keys.count() } else { self.limited_integrations.count() }
    }

    /// Returns what deliveries and requests about tasks have come to.
    pub(crate) fn traffic(&self) -> Traffic {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all = Traffic::default();
        for route in routes.iter().filter(|it| ["/v1/hooks", "/v1/tasks"].iter().any(|at| it.pattern.starts_with(at))) {
            let (_, count, buckets) = route.duration.read();
            let within: u64 = buckets.iter().map(|(_, count)| count).sum();
            let beyond = count.saturating_sub(within);
            let counts = buckets.iter().map(|(_, count)| *count).chain(std::iter::once(beyond));
            all.durations.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            let sum = |statuses: std::ops::Range<usize>| {
                route.statuses.get(statuses).unwrap_or_default().iter().map(Counter::get).sum::<u64>()
            };
            all.refused += sum(300..400);
            all.failed += sum(400..500);
        }
        all
    }

    pub(super) fn write(&self, to: &mut Exposition<'_>, observed: &Observed) -> fmt::Result {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        routes.push(&OTHER);
        to.labelled(&series::HTTP_REQUESTS, |samples| {
            for route in &routes {
                for (status, count) in (100_u16..).zip(&route.statuses).filter(|(_, it)| it.get() > 0) {
                    samples.counter(&[&route.method, &route.pattern, &status.to_string()], count.get())?;
                }
            }
            Ok(())
        })?;
        to.labelled(&series::HTTP_DURATION, |samples| {
            routes.iter().try_for_each(|it| samples.histogram(&[&it.method, &it.pattern], &it.duration))
        })?;
        to.gauge(&series::HTTP_IN_FLIGHT, self.in_flight.get())?;
        to.gauge(&series::HTTP_CONCURRENCY, observed.concurrency)?;
        to.gauge(&series::HTTP_CONCURRENCY_LIMIT, observed.concurrency_limit)?;
        to.counter(&series::HTTP_REQUEST_BYTES, self.request_bytes.get())?;
        to.counter(&series::HTTP_RESPONSE_BYTES, self.response_bytes.get())?;
        self.errors.write(to, &series::HTTP_ERRORS, &[])?;
        self.authentication.write(to, &series::AUTHENTICATION_FAILURES, &FAILURES)?;
        to.labelled(&series::RATE_LIMITED, |samples| {
            samples.counter(&["key"], self.limited_keys.get())?;
            samples.counter(&["integration"], self.limited_integrations.get())
        })?;
        to.counter(&series::IDEMPOTENT_REPLAYS, self.repeated.get())?;
        to.gauge(&series::CONNECTIONS, self.connections.get())?;
        to.gauge(&series::CONNECTIONS_LIMIT, self.connections_limit.get())?;
        to.counter(&series::CONNECTIONS_ACCEPTED, self.accepted.get())?;
        to.counter(&series::CONNECTIONS_CLOSED, self.closed_for_room.get())?;
        to.counter(&series::CONNECTIONS_FAILED, self.not_accepted.get())
    }
}

/// Counts by error code. Errors are rare, so a lock is cheap enough, and all codes are constants.
#[derive(Debug)]
struct Codes(RwLock<BTreeMap<Box<str>, Counter>>);

impl Codes {
    const fn new() -> Self {
        Self(RwLock::new(BTreeMap::new()))
    }

    fn count(&self, code: &str) {
        if let Some(count) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(code) {
            return count.count();
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let code = if all.len() < CODES || all.contains_key(code) { code } else { "other" };
        all.entry(code.into()).or_default().count();
    }

    fn write(&self, to: &mut Exposition<'_>, series: &'static series::Series, known: &[&str]) -> fmt::Result {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        to.labelled(series, |samples| {
            known.iter().filter(|it| !all.contains_key(**it)).try_for_each(|it| samples.counter(&[it], 0_u64))?;
            all.iter().try_for_each(|(code, count)| samples.counter(&[code], count.get()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_bounded() {
        let codes = Codes::new();
        (0..10 * CODES).for_each(|it| codes.count(&it.to_string()));
        let all = codes.0.read().unwrap();
        assert_eq!(all.len(), CODES + 1);
        assert_eq!(all["other"].get(), 9 * CODES as u64);
    }

    #[test]
    fn a_route_is_one_series_however_often_the_table_is_made() {
        let (first, again) = (HTTP.route("GET", "/once"), HTTP.route("GET", "/once"));
        assert!(std::ptr::eq(first, again));
        assert!(!std::ptr::eq(first, HTTP.route("POST", "/once")));
        first.answered(99, Duration::ZERO);
        first.answered(1000, Duration::ZERO);
    }
}
