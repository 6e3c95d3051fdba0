//! The types of query parameters.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::parameter::{MOST, ValueList};
use super::reading::QueryReader;
use crate::model::company::CompanyId;
use crate::model::event::EventStatus;
use crate::model::ids::{EventId, TaskId};
use crate::model::task::{Priority, Status};
use crate::store::{Cursor, TimelineWindow};

/// The default number of items on a page.
const LIMIT: usize = 50;

/// The type of a parameter: required, optional or a list.
pub(in crate::http) trait QueryType: Sized {
    /// Whether several values may be sent.
    const LIST: ValueList = ValueList::No;
    /// The fixed values; empty if there are none.
    const NAMES: &'static [&'static str] = &[];

    /// Takes the values sent under this name; notes those that are wrong.
    fn take(reader: &mut QueryReader<'_>, name: &'static str) -> Self;

    /// The JSON Schema.
    fn schema() -> Value;
}

/// The type of one value.
pub(in crate::http) trait QueryValue: Sized {
    /// How values are separated in a list.
    const COMMAS: ValueList = ValueList::Commas;
    /// The fixed values; empty if there are none.
    const NAMES: &'static [&'static str] = &[];

    /// Reads the text of a value.
    fn read(text: &str) -> Option<Self>;

    /// What to send, for the error about a wrong value: `one of low, high`.
    fn expected() -> String;

    /// The JSON Schema.
    fn schema() -> Value;
}

impl<T: QueryValue> QueryType for Option<T> {
    const NAMES: &'static [&'static str] = T::NAMES;

    fn take(reader: &mut QueryReader<'_>, name: &'static str) -> Self {
        let text = reader.texts(name).pop()?;
        reader.value(name, &text, T::read(&text), T::expected)
    }

    fn schema() -> Value {
        T::schema()
    }
}

impl<T: QueryValue> QueryType for Vec<T> {
    const LIST: ValueList = T::COMMAS;
    const NAMES: &'static [&'static str] = T::NAMES;

    fn take(reader: &mut QueryReader<'_>, name: &'static str) -> Self {
        let texts = reader.texts(name);
        texts.iter().filter_map(|text| reader.value(name, text, T::read(text), T::expected)).collect()
    }

    fn schema() -> Value {
        json!({"type": "array", "items": T::schema(), "maxItems": MOST})
    }
}

/// The number of items on a page: 1 to `MOST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct PageLimit<const MOST: usize>(pub(in crate::http) usize);

impl<const MOST: usize> QueryType for PageLimit<MOST> {
    fn take(reader: &mut QueryReader<'_>, name: &'static str) -> Self {
        <Option<Self> as QueryType>::take(reader, name).unwrap_or(Self(LIMIT))
    }

    fn schema() -> Value {
        <Self as QueryValue>::schema()
    }
}

impl<const MOST: usize> QueryValue for PageLimit<MOST> {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|it| (1..=MOST).contains(it)).map(Self)
    }

    fn expected() -> String {
        format!("a number from 1 to {MOST}")
    }

    fn schema() -> Value {
        json!({"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT})
    }
}

/// The number of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct PageNumber(pub(in crate::http) u32);

impl QueryValue for PageNumber {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|it| *it > 0).map(Self)
    }

    fn expected() -> String {
        "a page number from 1".into()
    }

    fn schema() -> Value {
        json!({"type": "integer", "minimum": 1, "maximum": u32::MAX, "default": 1})
    }
}

/// A patient's id. It may contain a comma.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct PatientId(pub(in crate::http) String);

impl QueryValue for PatientId {
    const COMMAS: ValueList = ValueList::PlainCommas;

    fn read(text: &str) -> Option<Self> {
        Some(Self(text.to_owned()))
    }

    fn expected() -> String {
        "a patient's id".into()
    }

    fn schema() -> Value {
        json!({"type": "string"})
    }
}

impl QueryValue for String {
    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn expected() -> String {
        "text".into()
    }

    fn schema() -> Value {
        json!({"type": "string"})
    }
}

/// Values with fixed names, each listed once.
macro_rules! names {
    ($($Type:ident: $($name:literal => $Variant:ident),+;)+) => {$(
        impl QueryValue for $Type {
            const NAMES: &'static [&'static str] = &[$($name),+];

            fn read(text: &str) -> Option<Self> {
                match text {
                    $($name => Some(Self::$Variant),)+
                    _ => None,
                }
            }

            fn expected() -> String {
                format!("one of {}", Self::NAMES.join(", "))
            }

            fn schema() -> Value {
                json!({"type": "string", "enum": Self::NAMES})
            }
        }
    )+};
}

/// How the response to a batch says that an item failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum OnError {
    /// 422
    Fail,
    /// 207
    MultiStatus,
}

names! {
    TimelineWindow: "1h" => Hour, "24h" => Day, "7d" => Week;
    OnError: "fail" => Fail, "multi-status" => MultiStatus;
    Status: "pending" => Pending, "in_progress" => InProgress, "completed" => Completed;
    Priority: "low" => Low, "medium" => Medium, "high" => High, "urgent" => Urgent;
    EventStatus: "queued" => Queued, "stored" => Stored, "skipped" => Skipped, "duplicate" => Duplicate,
        "quarantined" => Quarantined, "rejected" => Rejected, "captured" => Captured;
}

impl QueryValue for bool {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn expected() -> String {
        "true or false".into()
    }

    fn schema() -> Value {
        json!({"type": "boolean"})
    }
}

impl QueryValue for DateTime<Utc> {
    fn read(text: &str) -> Option<Self> {
        // A plus sign that was not escaped has become a space.
        DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok().map(|it| it.to_utc())
    }

    fn expected() -> String {
        "a time such as 2026-12-01T09:00:00Z".into()
    }

    fn schema() -> Value {
        json!({"type": "string", "format": "date-time"})
    }
}

impl QueryValue for CompanyId {
    fn read(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }

    fn expected() -> String {
        format!("a company id of 1 to {} letters, digits, '-', '_' or '.'", Self::MAX_LEN)
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": format!("^[A-Za-z0-9_.-]{{1,{}}}$", Self::MAX_LEN)})
    }
}

impl QueryValue for Cursor {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn expected() -> String {
        "the next_cursor of the previous page".into()
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]$"})
    }
}

impl QueryValue for Uuid {
    fn read(text: &str) -> Option<Self> {
        Self::parse_str(text).ok()
    }

    fn expected() -> String {
        "an id (a UUID) from a response".into()
    }

    fn schema() -> Value {
        json!({"type": "string", "format": "uuid"})
    }
}

/// Ids that are UUIDs.
macro_rules! ids {
    ($($Id:ident),+) => {$(
        impl QueryValue for $Id {
            fn read(text: &str) -> Option<Self> {
                Uuid::read(text).map(Self)
            }

            fn expected() -> String {
                Uuid::expected()
            }

            fn schema() -> Value {
                <Uuid as QueryValue>::schema()
            }
        }
    )+};
}

ids!(TaskId, EventId);
