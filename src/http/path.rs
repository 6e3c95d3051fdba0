//! Path parameters.

use schemars::JsonSchema;
use uuid::Uuid;

use super::call::Call;
use super::input::Input;
use super::openapi::describer::Describer;
use super::openapi::document::ParameterPlace;
use super::problem::Problem;
use crate::model::ids::{EventId, TaskId};

/// A part of the URL.
pub(super) trait PathParameter: Sized + Send {
    /// Its name in the route's path.
    const NAME: &'static str;
    /// What it names.
    const ABOUT: &'static str;
    /// What it looks like.
    type Described: JsonSchema;

    /// Reads it. A text that cannot be an id gets the same answer as another company's id.
    fn parse(text: &str) -> Result<Self, Problem>;
}

/// The path parameter of this type.
pub(super) struct Path<T>(pub(super) T);

impl<T: PathParameter> Input for Path<T> {
    async fn read(call: &mut Call) -> Result<Self, Problem> {
        let sent = call.path.iter().find(|(name, _)| *name == T::NAME);
        let (_, text) = sent.ok_or(Problem::Internal)?;
        T::parse(text).map(Self)
    }

    fn describe(to: &mut Describer<'_>) {
        to.parameter::<T::Described>(ParameterPlace::Path, T::NAME, T::ABOUT);
        to.fails(&[404]);
    }
}

/// No task of this company has the id.
pub(super) const NO_TASK: Problem = Problem::NotFound("no such task");
/// No event of this company has the id.
pub(super) const NO_EVENT: Problem = Problem::NotFound("no such event");

/// The event has no file of this number.
pub(super) const NO_FILE: Problem = Problem::NotFound("no such file in this event");

impl PathParameter for TaskId {
    const NAME: &'static str = "id";
    const ABOUT: &'static str = "The task's id.";
    type Described = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        Uuid::parse_str(text).map(Self).map_err(|_| NO_TASK)
    }
}

impl PathParameter for EventId {
    const NAME: &'static str = "id";
    const ABOUT: &'static str = "The event's id.";
    type Described = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        Uuid::parse_str(text).map(Self).map_err(|_| NO_EVENT)
    }
}

/// The id of a replay of many events.
pub(super) struct ReplayJobId(pub(super) Uuid);

impl PathParameter for ReplayJobId {
    const NAME: &'static str = "id";
    const ABOUT: &'static str = "The replay's id.";
    type Described = Uuid;

    fn parse(text: &str) -> Result<Self, Problem> {
        Uuid::parse_str(text).map(Self).map_err(|_| Problem::NotFound("no such replay"))
    }
}

/// The id of a dry run in the background.
pub(super) struct ComparisonId(pub(super) Uuid);

impl PathParameter for ComparisonId {
    const NAME: &'static str = "id";
    const ABOUT: &'static str = "The dry run's id.";
    type Described = Uuid;

    fn parse(text: &str) -> Result<Self, Problem> {
        Uuid::parse_str(text).map(Self).map_err(|_| Problem::NotFound("no such dry run"))
    }
}

/// The number of a file.
pub(super) struct FileNumber(pub(super) usize);

impl PathParameter for FileNumber {
    const NAME: &'static str = "n";
    const ABOUT: &'static str = "The file's number: `file` in the payload.";
    type Described = u32;

    fn parse(text: &str) -> Result<Self, Problem> {
        text.parse().map(Self).map_err(|_| NO_FILE)
    }
}

/// The id of an API key, as it was sent.
#[derive(JsonSchema)]
#[schemars(inline)]
pub(super) struct SentKeyId(#[schemars(regex(pattern = r"^key_[0-9a-f]{12}$"))] pub(super) String);

impl PathParameter for SentKeyId {
    const NAME: &'static str = "id";
    const ABOUT: &'static str = "The key's id, such as `key_0123456789ab`.";
    type Described = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        Ok(Self(text.to_owned()))
    }
}

/// An integration's name, as it was sent.
pub(super) struct SentName(pub(super) String);

impl PathParameter for SentName {
    const NAME: &'static str = "name";
    const ABOUT: &'static str = "The integration's name.";
    type Described = String;

    fn parse(text: &str) -> Result<Self, Problem> {
        Ok(Self(text.to_owned()))
    }
}

/// The digest of a version of a script, as it was sent.
pub(super) struct SentDigest(pub(super) String);

impl PathParameter for SentDigest {
    const NAME: &'static str = "digest";
    const ABOUT: &'static str = "The version's `digest`, as the list of versions has it.";
    type Described = String;

    fn parse(text: &str) -> Result<Self, Problem> {
        Ok(Self(text.to_owned()))
    }
}

/// What follows the integration's name: a sender's secret, or else the first part of the rest of the path.
pub(super) struct UrlSecret(pub(super) String);

impl PathParameter for UrlSecret {
    const NAME: &'static str = "secret";
    const ABOUT: &'static str = "The sender's secret, for an integration of the scheme `url-secret`; for others, a part of the path that a plugin may ask for.";
    type Described = String;

    fn parse(text: &str) -> Result<Self, Problem> {
        Ok(Self(text.to_owned()))
    }
}

/// The rest of the path, decoded, without the `/` before it.
pub(super) struct SentRest(pub(super) String);

impl PathParameter for SentRest {
    const NAME: &'static str = "path";
    const ABOUT: &'static str =
        "The rest of the path, which may have several parts; a plugin gets it if it asks for it.";
    type Described = String;

    fn parse(text: &str) -> Result<Self, Problem> {
        Ok(Self(text.to_owned()))
    }
}
