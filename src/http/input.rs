//! What a handler takes: types that read themselves from a request, and describe what they read.

use super::call::Call;
use super::openapi::describer::Describer;
use super::problem::Problem;
use super::query::parameter::QueryParameter;

/// A part of a request. The same type reads it and describes it, so a parameter without a description does not exist.
pub(super) trait Input: Sized + Send {
    /// The query parameters that it reads.
    const QUERY: &'static [QueryParameter] = &[];
    /// The request may have other query parameters: its senders append their own.
    const ANY_QUERY: bool = false;

    /// Reads it.
    fn read(call: &mut Call) -> impl Future<Output = Result<Self, Problem>> + Send;

    /// Describes it.
    fn describe(to: &mut Describer<'_>);
}

impl Input for () {
    async fn read(_: &mut Call) -> Result<Self, Problem> {
        Ok(())
    }

    fn describe(_: &mut Describer<'_>) {}
}

/// In this order.
impl<A: Input, B: Input> Input for (A, B) {
    const QUERY: &'static [QueryParameter] = one_of([A::QUERY, B::QUERY, &[]]);
    const ANY_QUERY: bool = A::ANY_QUERY || B::ANY_QUERY;

    async fn read(call: &mut Call) -> Result<Self, Problem> {
        Ok((A::read(call).await?, B::read(call).await?))
    }

    fn describe(to: &mut Describer<'_>) {
        A::describe(to);
        B::describe(to);
    }
}

impl<A: Input, B: Input, C: Input> Input for (A, B, C) {
    const QUERY: &'static [QueryParameter] = one_of([A::QUERY, B::QUERY, C::QUERY]);
    const ANY_QUERY: bool = A::ANY_QUERY || B::ANY_QUERY || C::ANY_QUERY;

    async fn read(call: &mut Call) -> Result<Self, Problem> {
        Ok((A::read(call).await?, B::read(call).await?, C::read(call).await?))
    }

    fn describe(to: &mut Describer<'_>) {
        A::describe(to);
        B::describe(to);
        C::describe(to);
    }
}

/// The query parameters of the one part that has any.
const fn one_of(all: [&'static [QueryParameter]; 3]) -> &'static [QueryParameter] {
    match all {
        [parameters, [], []] | [[], parameters, []] | [[], [], parameters] => parameters,
        _ => panic!("a route declares its query parameters in one struct"),
    }
}
