//! A query parameter, as its route declares it.

use serde_json::Value;

/// Most values of one list.
pub(in crate::http) const MOST: usize = 100;

/// One query parameter of a route.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct QueryParameter {
    /// Its name in the URL.
    pub(in crate::http) name: &'static str,
    /// What it selects.
    pub(in crate::http) about: &'static str,
    /// Whether it takes several values.
    pub(in crate::http) list: ValueList,
    /// Its fixed values; empty if it has none.
    pub(in crate::http) names: &'static [&'static str],
    /// The JSON Schema of its value, or of the array of its values.
    pub(in crate::http) schema: fn() -> Value,
}

/// Whether a parameter takes several values. All lists take `a=x&a=y`, `a[]=x&a[]=y` and `a[0]=x&a[1]=y`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum ValueList {
    /// One value.
    No,
    /// A comma separates values, whether it is escaped or not: `a=x,y` and `a=x%2Cy`.
    Commas,
    /// Only a comma that is not escaped separates values; `%2C` is part of one, for ids that may contain it.
    PlainCommas,
}
