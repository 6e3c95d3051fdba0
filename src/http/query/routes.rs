//! The query parameters of every route.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::declare::{QueryParameters, parameters};
use super::key_place::{KeyLimit, KeyListPlace};
use super::parameter::QueryParameter;
use super::reading::{QueryReader, wrong};
use super::values::{OnError, PageLimit, PageNumber, PatientId, QueryType};
use crate::format::schema::Violation;
use crate::model::company::CompanyId;
use crate::model::event::EventStatus;
use crate::model::ids::{EventId, TaskId};
use crate::model::task::{Priority, Status};
use crate::service::search::PayloadQuery;
use crate::store::{Cursor, EventFilter, TaskFilter, TimelineWindow};

parameters! {
    /// The query of `GET /v1/tasks`.
    struct TaskListQuery {
        /// Tasks about one of these patients. In an id, write a comma as `%2C`.
        "patient_id" => patient_id: Vec<PatientId>,
        /// Tasks with one of these statuses.
        "status" => status: Vec<Status>,
        /// Tasks with one of these priorities.
        "priority" => priority: Vec<Priority>,
        /// Tasks assigned to one of these users.
        "assigned_user_id" => assigned_user_id: Vec<String>,
        /// Tasks of one of these types.
        "type" => kind: Vec<String>,
        /// Tasks updated at this time or later. It shows no deletions, and can miss tasks that are stored later: `GET /v1/tasks/changes` does not.
        "updated_since" => updated_since: Option<DateTime<Utc>>,
        /// The number of the page, from 1; not together with `cursor`.
        "page" => page: Option<PageNumber>,
        /// The number of tasks on a page.
        "limit" => limit: PageLimit<100>,
        /// The `next_cursor` of the previous page.
        "cursor" => cursor: Option<Cursor>,
    }
}

impl TaskListQuery {
    /// The filter.
    pub(in crate::http) fn filter(self) -> TaskFilter {
        TaskFilter {
            patient_id: self.patient_id.into_iter().map(|it| it.0).collect(),
            status: self.status,
            priority: self.priority,
            assigned_user_id: self.assigned_user_id,
            kind: self.kind,
            updated_since: self.updated_since,
        }
    }
}

parameters! {
    /// The query of `POST /v1/tasks/batch`.
    struct BatchQuery {
        /// The status of the response if an item failed: `fail` is 422, for clients that see only the status, `multi-status` 207. By default it is 200.
        "on_error" => on_error: Option<OnError>,
    }
}

parameters! {
    /// The query of `GET /v1/tasks/changes`.
    struct TaskChangesQuery {
        /// The number of changes on a page.
        "limit" => limit: PageLimit<100>,
        /// The `next_cursor` of an earlier response. Without it, the list begins with the first change.
        "cursor" => cursor: Option<String>,
    }
}

parameters! {
    /// The query of `GET /v1/events`.
    struct EventListQuery {
        /// Events of one of these integrations.
        "integration" => integration: Vec<String>,
        /// Events with one of these statuses.
        "status" => status: Vec<EventStatus>,
        /// Events that ended at one of these stages, or with one of these error codes. Needs the scope `events:read`.
        "reason" => reason: Vec<String>,
        /// Events received at this time or later.
        "since" => since: Option<DateTime<Utc>>,
        /// Events received before this time.
        "until" => until: Option<DateTime<Utc>>,
        /// The event that created this task.
        "task_id" => task_id: Option<TaskId>,
        /// Events with this text in their id.
        "id" => id: Option<String>,
        /// Duplicates of this event: later deliveries with its id. Needs the scope `events:read`.
        "repeats" => repeats: Option<EventId>,
        /// Events whose body or stored headers have all of these words, in any order and case. A word with punctuation in it, such as an email address or a number, is found as it was sent. Needs the scope `admin`.
        "text" => text: Option<String>,
        /// A JSON Pointer (RFC 6901) into the payload: events that have `value` there. Needs the scope `admin`.
        "pointer" => pointer: Option<String>,
        /// The value at `pointer`, without quotes; text in any case, a number as it was sent.
        "value" => value: Option<String>,
        /// The number of events on a page.
        "limit" => limit: PageLimit<100>,
        /// The `next_cursor` of the previous page.
        "cursor" => cursor: Option<EventId>,
    }
}

impl EventListQuery {
    /// What is searched for in payloads, if anything is.
    pub(in crate::http) fn payload(&self) -> Result<Option<PayloadQuery>, Vec<Violation>> {
        let one = |name, expected: &str, sent: Option<&String>, said: &str| {
            Err(vec![wrong(name, expected, sent.map(String::as_str), said)])
        };
        let place = match (&self.pointer, &self.value) {
            (Some(pointer), Some(_)) if !pointer.is_empty() && !pointer.starts_with('/') => {
                return one(
                    "pointer",
                    "a JSON Pointer",
                    self.pointer.as_ref(),
                    "must begin with a slash, as in /payload/email",
                );
            }
            (Some(pointer), Some(value)) => Some((pointer.clone(), value.clone())),
            (Some(_), None) => return one("value", "a value", None, "is missing; send pointer and value together"),
            (None, Some(_)) => {
                return one("pointer", "a JSON Pointer", None, "is missing; send pointer and value together");
            }
            (None, None) => None,
        };
        match PayloadQuery::of(self.text.as_deref(), place) {
            None if self.text.is_some() => {
                one("text", "words", self.text.as_ref(), "has no word: send at least one letter or digit")
            }
            query => Ok(query),
        }
    }

    /// The filter.
    pub(in crate::http) fn filter(self) -> EventFilter {
        EventFilter {
            integration: self.integration,
            status: self.status,
            reason: self.reason,
            since: self.since,
            until: self.until,
            task_id: self.task_id,
            id: self.id.map(|it| it.to_ascii_lowercase()),
            repeats: self.repeats,
        }
    }
}

parameters! {
    /// The query of routes that are about one company's events.
    struct CompanyQuery {
        /// The company whose events these are. Only the operator needs it; a key may name only its own company.
        "company_id" => company_id: Option<CompanyId>,
    }
}

parameters! {
    /// The query of `GET /v1/admin/overview`.
    struct OverviewQuery {
        /// The window that the counts are of; `24h` by default.
        "window" => window: Option<TimelineWindow>,
        /// What concerns this company. A key may name only its own; the operator gets everything without it.
        "company_id" => company_id: Option<CompanyId>,
    }
}

parameters! {
    /// The query of `GET /v1/admin/keys`.
    struct KeyListQuery {
        /// Keys of this company. A key may name only its own.
        "company_id" => company_id: Option<CompanyId>,
        /// The number of keys on a page; 50 if there is only a `cursor`. Without both, all keys are listed.
        "limit" => limit: Option<KeyLimit>,
        /// The `next_cursor` of the previous page.
        "cursor" => cursor: Option<KeyListPlace>,
    }
}

parameters! {
    /// The query of `GET /v1/admin/audit`.
    struct AuditQuery {
        /// Entries about this company. A key may name only its own.
        "company_id" => company_id: Option<CompanyId>,
        /// The number of entries on a page.
        "limit" => limit: PageLimit<1000>,
        /// The `next_cursor` of the previous page.
        "cursor" => cursor: Option<Uuid>,
    }
}

parameters! {
    /// The query of `GET /v1/admin/plugins/{name}/shadow`.
    struct ShadowQuery {
        /// `false` leaves out values from the senders' data.
        "values" => values: Option<bool>,
    }
}
