//! How a route declares its query parameters.

use super::parameter::QueryParameter;
use super::reading::QueryReader;

/// The query parameters of a route: they are read by the names that are described.
pub(in crate::http) trait QueryParameters: Sized + Send {
    /// All of them.
    const PARAMETERS: &'static [QueryParameter];

    /// Takes the values that were sent; notes those that are wrong.
    fn take(reader: &mut QueryReader<'_>) -> Self;
}

/// Declares the query parameters of a route: a struct whose fields are parameters, each with its description.
macro_rules! parameters {
    ($(#[doc = $of:literal])+ struct $Query:ident { $($(#[doc = $about:literal])+ $name:literal => $field:ident: $Type:ty,)* }) => {
        $(#[doc = $of])+
        #[derive(Debug)]
        pub(in crate::http) struct $Query {
            $($(#[doc = $about])+ pub(in crate::http) $field: $Type,)*
        }

        impl QueryParameters for $Query {
            const PARAMETERS: &'static [QueryParameter] = &[$(QueryParameter {
                name: $name,
                about: concat!($($about),+),
                list: <$Type as QueryType>::LIST,
                names: <$Type as QueryType>::NAMES,
                schema: <$Type as QueryType>::schema,
            },)*];

            fn take(reader: &mut QueryReader<'_>) -> Self {
                Self { $($field: <$Type as QueryType>::take(reader, $name),)* }
            }
        }
    };
}
pub(super) use parameters;
