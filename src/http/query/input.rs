//! Query parameters as a part of a request.

use super::declare::QueryParameters;
use super::parameter::QueryParameter;
use super::reading::QueryReader;
use crate::http::call::Call;
use crate::http::input::Input;
use crate::http::openapi::describer::Describer;
use crate::http::openapi::document::ParameterPlace;
use crate::http::openapi::headers;
use crate::http::problem::Problem;

impl<Q: QueryParameters> Input for Q {
    const QUERY: &'static [QueryParameter] = Q::PARAMETERS;

    async fn read(call: &mut Call) -> Result<Self, Problem> {
        let mut reader = QueryReader::new(&call.query, &call.rules, Q::PARAMETERS);
        let query = Q::take(&mut reader);
        let violations = std::mem::take(&mut call.unknown_parameters);
        match reader.end() {
            Ok(loosened) if violations.is_empty() => loosened.iter().for_each(|it| call.loosened.add(it)),
            Ok(_) => return Err(violations.into()),
            Err(more) => return Err([violations, more].concat().into()),
        }
        Ok(query)
    }

    fn describe(to: &mut Describer<'_>) {
        describe(Q::PARAMETERS, to);
    }
}

/// Describes query parameters.
pub(in crate::http) fn describe(parameters: &[QueryParameter], to: &mut Describer<'_>) {
    for it in parameters {
        to.header(ParameterPlace::Query, it.name, it.about, (it.schema)());
    }
    to.every_success_may_have(headers::LOOSENED);
}
