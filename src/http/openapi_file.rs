//! `GET /openapi.json`: the API description, as it is checked in. A test compares it with the routes.

use super::answer::{Answer, Failed};
use super::call::Call;
use super::openapi::describer::Describer;
use super::problem::Problem;
use super::reply::TypedReply;

const OPENAPI_JSON: &str = include_str!("../../openapi.json");

/// The API description.
pub(super) struct Description;

/// `GET /openapi.json`
pub(super) async fn show(_: Call, (): (), (): ()) -> Result<Description, Failed> {
    Ok(Description)
}

impl TypedReply for Description {
    fn write(self) -> Result<Answer<Self>, Problem> {
        Ok(Answer::bytes("application/json", OPENAPI_JSON.into()))
    }

    fn describe(to: &mut Describer<'_>) {
        let schema = schemars::json_schema!({ "type": "object", "required": ["openapi", "info", "paths"] });
        to.answer(200, "An OpenAPI 3.1 document.", "application/json", Some(schema), &[]);
    }
}
