//! What a handler takes: types that read themselves from a request, and describe what they read.

use super::call::Call;
use super::openapi::describer::Describer;
use super::problem::Problem;

/// A part of a request. The same type reads it and describes it, so a parameter without a description does not exist.
pub(super) trait Input: Sized + Send {
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
    async fn read(call: &mut Call) -> Result<Self, Problem> {
        Ok((A::read(call).await?, B::read(call).await?))
    }

    fn describe(to: &mut Describer<'_>) {
        A::describe(to);
        B::describe(to);
    }
}

impl<A: Input, B: Input, C: Input> Input for (A, B, C) {
    async fn read(call: &mut Call) -> Result<Self, Problem> {
        Ok((A::read(call).await?, B::read(call).await?, C::read(call).await?))
    }

    fn describe(to: &mut Describer<'_>) {
        A::describe(to);
        B::describe(to);
        C::describe(to);
    }
}
