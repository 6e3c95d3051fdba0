//! The URLs of the console.

/// Where it begins; the label of its requests in metrics and traces.
pub(super) const CONSOLE: &str = "/console";

/// Whether a path is the console's.
pub(in crate::http) fn is_of(path: &str) -> bool {
    path.strip_prefix(CONSOLE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
