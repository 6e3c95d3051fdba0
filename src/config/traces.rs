//! `[traces]`, and the variables that OpenTelemetry has for the same.

use std::time::Duration;

use super::error::ConfigError;
use super::file::TracesFile;
use crate::system::trace::TraceSettings;

/// The settings of traces. Returns `None` if no endpoint is set. A variable overrides the file.
pub(super) fn traces(file: &str, given: &TracesFile) -> Result<Option<TraceSettings>, ConfigError> {
    let sources = Sources { file, given, variable };
    sources.settings()
}

#[expect(clippy::disallowed_methods, reason = "settings are read here")]
fn variable(name: &str) -> Option<String> {
    // An empty one counts as none: OpenTelemetry, "Environment Variable Specification".
    std::env::var(name).ok().filter(|it| !it.is_empty())
}

struct Sources<'a> {
    file: &'a str,
    given: &'a TracesFile,
    variable: fn(&str) -> Option<String>,
}

impl Sources<'_> {
    fn settings(&self) -> Result<Option<TraceSettings>, ConfigError> {
        let (endpoint, named) = self.one("OTEL_EXPORTER_OTLP_ENDPOINT", "endpoint", self.given.endpoint.clone());
        let Some(endpoint) = endpoint.filter(|it| !it.is_empty()) else { return Ok(None) };
        let mut settings = TraceSettings::new(&endpoint).map_err(|what| self.wrong(&named, what))?;
        let (ratio, named) =
            self.one("OTEL_TRACES_SAMPLER_ARG", "sample_ratio", self.given.sample_ratio.map(|it| it.to_string()));
        if let Some(ratio) = ratio {
            let ratio = ratio.trim().parse().ok().filter(|it| (0.0..=1.0).contains(it));
            settings.sample_ratio = ratio.ok_or_else(|| self.wrong(&named, "must be a number from 0 to 1"))?;
        }
        let (name, _) = self.one("OTEL_SERVICE_NAME", "service_name", self.given.service_name.clone());
        settings.service_name = name.unwrap_or(settings.service_name);
        match self.given.timeout_ms {
            Some(0) => return Err(self.wrong("traces.timeout_ms", "cannot be 0")),
            given => settings.timeout = given.map_or(settings.timeout, Duration::from_millis),
        }
        Ok(Some(settings))
    }

    /// A value, and what to name where it is wrong.
    fn one(&self, variable: &str, name: &str, given: Option<String>) -> (Option<String>, String) {
        match (self.variable)(variable) {
            Some(value) => (Some(value), variable.to_owned()),
            None => (given, format!("traces.{name}")),
        }
    }

    fn wrong(&self, named: &str, what: &str) -> ConfigError {
        ConfigError::Parse { file: self.file.to_owned(), cause: format!("{named} {what}") }
    }
}
