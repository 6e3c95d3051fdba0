//! Where a page of the list of API keys begins, and how long it is.

use std::cmp::Reverse;

use serde_json::{Value, json};

use super::values::QueryValue;
use crate::auth::ApiKey;

/// Most keys on a page.
const MOST: usize = 1000;

/// The number of keys on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct KeyLimit(pub(in crate::http) usize);

/// A key's place in the list: whether it is revoked, when it was created, and its id. A key that is revoked while somebody
/// reads the list moves towards the end, so none is missed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::http) struct KeyListPlace(bool, Reverse<i64>, Reverse<String>);

impl KeyListPlace {
    /// Returns the place of a key.
    pub(in crate::http) fn of(key: &ApiKey) -> Self {
        Self(key.revoked_at.is_some(), Reverse(key.created_at.timestamp_millis()), Reverse(key.id.0.clone()))
    }
}

impl std::fmt::Display for KeyListPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(is_revoked, Reverse(created), Reverse(id)) = self;
        write!(f, "{}.{created}.{id}", u8::from(*is_revoked))
    }
}

impl QueryValue for KeyLimit {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|it| (1..=MOST).contains(it)).map(Self)
    }

    fn expected() -> String {
        format!("a number from 1 to {MOST}")
    }

    fn schema() -> Value {
        json!({"type": "integer", "minimum": 1, "maximum": MOST})
    }
}

impl QueryValue for KeyListPlace {
    fn read(text: &str) -> Option<Self> {
        let (is_revoked, rest) = text.split_once('.')?;
        let (created, id) = rest.split_once('.')?;
        let is_revoked = ["0", "1"].iter().position(|it| *it == is_revoked)? == 1;
        Some(Self(is_revoked, Reverse(created.parse().ok()?), Reverse(id.to_owned())))
    }

    fn expected() -> String {
        "the `next_cursor` of an earlier page".into()
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^[01]\\.[0-9]{1,18}\\.[A-Za-z0-9_]{1,64}$"})
    }
}
