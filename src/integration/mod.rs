//! An integration: a source of deliveries with its authentication, its schema and its plugin.
//!
//! `integration/manifest.rs` reads plugin.toml, `integration/load.rs` loads a folder as an [`Integration`],
//! `integration/checks.rs` runs long checks of payloads, `integration/check.rs` reports all problems of a folder
//! for a plugin's author, and `integration/registry.rs` has the live integrations. `integration/dedupe.rs`
//! determines the ids of deliveries, `integration/redact.rs` redacts values before they are stored.
//! `integration/bundle.rs` has a folder's files as one piece, `integration/sources.rs` notices a module that is older than its sources.

mod answers;
mod auth_table;
pub mod bundle;
pub mod check;
pub(super) mod checked;
mod checks;
pub(crate) mod counted;
mod dedupe;
mod defaults;
mod delivery_id;
mod files;
pub(super) mod fixtures;
pub(super) mod gate;
mod live;
pub mod load;
mod manifest;
pub(super) mod manifest_version;
pub(super) mod mapped;
mod mapping;
mod mapping_load;
pub(super) mod new_fixture;
mod output;
mod received;
mod redact;
mod redacted;
mod registry;
mod rejections;
pub(super) mod script;
mod sender;
mod sender_use;
pub mod sent_url;
mod signing;
mod sources;
pub(super) mod stop;
mod task_table;
mod test_signing;

pub use answers::{AnswerBody, Answers, OutcomeAnswer};
pub use bundle::Bundle;
pub use checks::{Checks, NotChecked};
pub use dedupe::{Dedupe, Later};
pub use defaults::Defaults;
pub use files::LoadFailure;
pub use live::{Integration, PassedRequest};
pub use received::Received;
pub use redact::{PLACEHOLDER, Redact};
pub use registry::{Found, Refused, Registry};
pub use rejections::Rejections;
pub use sender::{Auth, Claimed, NamedSecrets};
pub use sender_use::SenderUse;
pub use signing::SigningParts;
pub use test_signing::TestParts;
