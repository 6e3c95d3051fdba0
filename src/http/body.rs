//! Bodies that are JSON of one shape. Bodies that are read loosely are in `task_body.rs`.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::call::Call;
use super::input::Input;
use super::openapi::describer::Describer;
use super::openapi::examples::Example;
use super::problem::Problem;

/// Longest text of an error about a body, in characters: it may quote a value.
const SHOWN: usize = 200;

/// What a JSON body says.
pub(super) trait JsonBody: DeserializeOwned + JsonSchema + Send {
    /// What it is, in a sentence.
    const ABOUT: &'static str;
    /// Examples of it.
    const EXAMPLES: &'static [Example];
}

/// A JSON body, and its bytes.
pub(super) struct Json<T> {
    pub(super) value: T,
    pub(super) bytes: Bytes,
}

/// A JSON body that may be left out.
pub(super) struct OptionalJson<T>(pub(super) T);

impl<T: JsonBody> Input for Json<T> {
    async fn read(call: &mut Call) -> Result<Self, Problem> {
        let bytes = call.plain_body(call.app.config.limits.body_bytes).await?;
        Ok(Self { value: parse(&bytes)?, bytes })
    }

    fn describe(to: &mut Describer<'_>) {
        describe::<T>(to, true);
    }
}

impl<T: JsonBody + Default> Input for OptionalJson<T> {
    async fn read(call: &mut Call) -> Result<Self, Problem> {
        let bytes = call.plain_body(call.app.config.limits.body_bytes).await?;
        Ok(Self(if bytes.is_empty() { T::default() } else { parse(&bytes)? }))
    }

    fn describe(to: &mut Describer<'_>) {
        describe::<T>(to, false);
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let said: String = error.to_string().chars().take(SHOWN).collect();
        Problem::Invalid(format!("body: {said}"))
    })
}

fn describe<T: JsonBody>(to: &mut Describer<'_>, required: bool) {
    to.body(required, T::ABOUT);
    let schema = to.request_schema::<T>();
    to.content("application/json", schema, T::EXAMPLES);
}
