//! What a server does, where several share a database.

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Role {
    /// Accepts requests, and processes queued events
    All,
    /// Accepts requests; leaves queued events to other servers
    Web,
    /// Processes queued events, and removes expired data; of requests, it accepts those about its health
    Worker,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Web => "web",
            Self::Worker => "worker",
        }
    }

    /// Whether it does background work.
    pub(super) fn works(self) -> bool {
        self != Self::Web
    }
}
