//! The sections of the console.

/// The sections of the console, for its navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Events,
    Tasks,
    Plugins,
    Bench,
    Connect,
    Keys,
    Audit,
    System,
    /// Not in the navigation.
    Other,
}
