//! Compression of pages and files.

/// Whether `Accept-Encoding` has gzip, and does not refuse it (RFC 9110, section 12.5.3).
pub(super) fn accepts_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|it| {
        let (coding, quality) = it.split_once(';').unwrap_or((it, ""));
        coding.trim().eq_ignore_ascii_case("gzip") && !matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

/// Compresses bytes; none if that fails.
pub(super) fn gzip(body: &[u8], level: u32) -> Option<Vec<u8>> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}
