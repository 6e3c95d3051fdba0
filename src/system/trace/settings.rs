//! `[traces]` in `hookmill.toml`.

use std::time::Duration;

/// Where spans go, and how many of them.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceSettings {
    /// URL that spans are posted to: `traces.endpoint` and `/v1/traces`.
    pub url: String,
    /// `service_name`: `hookmill`.
    pub service_name: String,
    /// `sample_ratio`: the part of new traces that is exported, 0 to 1; 1. Traces of callers follow their own flag.
    pub sample_ratio: f64,
    /// `timeout_ms`: for one export, 5 s. Beyond it, its spans are lost.
    pub timeout: Duration,
}

impl TraceSettings {
    /// What OTLP over HTTP appends to the endpoint.
    const PATH: &str = "/v1/traces";

    /// Spans for this collector, all of them.
    ///
    /// # Errors
    /// Where the endpoint is not an `http://` URL: what it must be.
    pub fn new(endpoint: &str) -> Result<Self, &'static str> {
        let plain = endpoint.strip_prefix("http://").filter(|it| !it.is_empty() && !it.starts_with('/'));
        let plain = plain.filter(|it| it.bytes().all(|byte| byte.is_ascii_graphic() && !b"@?#".contains(&byte)));
        if plain.is_none() {
            return Err(
                "must be an http:// URL without a user, such as http://127.0.0.1:4318: run a collector next to \
                        hookmill, and let it use TLS",
            );
        }
        Ok(Self {
            url: format!("{}{}", endpoint.trim_end_matches('/'), Self::PATH),
            service_name: "hookmill".into(),
            sample_ratio: 1.0,
            timeout: Duration::from_secs(5),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::TraceSettings;

    /// Otherwise a wrong setting shows only as traces that never arrive.
    #[test]
    fn an_endpoint_is_a_plain_url() {
        for good in ["http://127.0.0.1:4318", "http://127.0.0.1:4318/"] {
            assert_eq!(TraceSettings::new(good).unwrap().url, "http://127.0.0.1:4318/v1/traces");
        }
        assert_eq!(TraceSettings::new("http://otel:4318/in").unwrap().url, "http://otel:4318/in/v1/traces");
        for bad in ["", "otel:4318", "https://otel:4318", "http://", "http:///x", "http://me:secret@otel", "http://a b"]
        {
            assert!(TraceSettings::new(bad).is_err(), "{bad}");
        }
    }
}
