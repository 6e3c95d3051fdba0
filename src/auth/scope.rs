//! Scopes: what a key may do.

use serde::{Deserialize, Serialize};

/// Permission of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names are the documented values")]
pub enum Scope {
    #[serde(rename = "tasks:read")]
    #[value(name = "tasks:read")]
    TasksRead,
    #[serde(rename = "tasks:write")]
    #[value(name = "tasks:write")]
    TasksWrite,
    #[serde(rename = "hooks:write")]
    #[value(name = "hooks:write")]
    HooksWrite,
    #[serde(rename = "admin")]
    #[value(name = "admin")]
    Admin,
    // Stored keys contain a scope's position, so new scopes may only be added at the end.
    #[serde(rename = "events:read")]
    #[value(name = "events:read")]
    EventsRead,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 5] = [Self::TasksRead, Self::TasksWrite, Self::HooksWrite, Self::Admin, Self::EventsRead];

    /// Returns the documented name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TasksRead => "tasks:read",
            Self::TasksWrite => "tasks:write",
            Self::HooksWrite => "hooks:write",
            Self::Admin => "admin",
            Self::EventsRead => "events:read",
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The scopes of a key.
pub type Scopes = Vec<Scope>;
