//! The format of an export: one JSON object per line. `read.rs` reads them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::audit::Entry;
use crate::model::company::CompanyId;
use crate::model::event::Event;
use crate::model::ids::EventId;
use crate::store::document::{EventDocument, KeyDocument, SentParts, TaskDocument};
use crate::store::{FirstAnswer, StoredAnswer, StoredErasure, StoredItem};

/// An event in an export.
#[derive(Serialize)]
pub(super) struct EventLine {
    #[serde(flatten)]
    event: EventDocument,
    #[serde(flatten)]
    sent: SentParts,
    body_base64: String,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum ExportLine {
    Task(Box<TaskDocument>),
    Event(Box<EventLine>),
    ApiKey(Box<KeyDocument>),
    Audit(Box<Entry>),
    Answer(Box<AnswerLine>),
    /// Not in exports: it would name a patient whose data were erased. A migration compares it.
    Erasure {
        company_id: CompanyId,
        patient_id: String,
        leading_zeros: bool,
        #[serde(serialize_with = "crate::model::time::utc")]
        at: DateTime<Utc>,
    },
}

/// A first response in an export.
#[derive(Serialize)]
pub(super) struct AnswerLine {
    company_id: Option<CompanyId>,
    /// Whether the request was a delivery; otherwise it had an idempotency key.
    is_delivery: bool,
    name_base64: String,
    fingerprint_base64: String,
    #[serde(serialize_with = "crate::model::time::utc")]
    at: DateTime<Utc>,
    #[serde(serialize_with = "crate::model::time::utc")]
    expires_at: DateTime<Utc>,
    refused: bool,
    event_id: Option<EventId>,
    /// Status and headers, as the server encodes them.
    head_base64: String,
    body_base64: String,
}

impl From<StoredAnswer> for AnswerLine {
    fn from(answer: StoredAnswer) -> Self {
        let StoredAnswer { company, is_delivery, name, expires_at, first } = answer;
        let FirstAnswer { fingerprint, at, refused, event_id, head, body } = first;
        Self {
            company_id: company,
            is_delivery,
            name_base64: BASE64_STANDARD.encode(name),
            fingerprint_base64: BASE64_STANDARD.encode(fingerprint),
            at,
            expires_at,
            refused,
            event_id,
            head_base64: BASE64_STANDARD.encode(&head),
            body_base64: BASE64_STANDARD.encode(&body),
        }
    }
}

impl From<StoredItem> for ExportLine {
    fn from(item: StoredItem) -> Self {
        match item {
            StoredItem::Task(task) => Self::Task(Box::new((*task).into())),
            StoredItem::Event(event) => Self::Event(Box::new((*event).into())),
            StoredItem::Audit(entry) => Self::Audit(entry),
            StoredItem::Key(key) => Self::ApiKey(Box::new((*key).into())),
            StoredItem::Answer(answer) => Self::Answer(Box::new((*answer).into())),
            StoredItem::Erasure(erasure) => {
                let StoredErasure { patient, at } = *erasure;
                let (company, id, leading_zeros) = patient.parts();
                Self::Erasure { company_id: company.clone(), patient_id: id.to_owned(), leading_zeros, at }
            }
        }
    }
}

impl From<Event> for EventLine {
    fn from(event: Event) -> Self {
        let (event, sent, body) = EventDocument::parts(event);
        Self { event, sent, body_base64: BASE64_STANDARD.encode(&body) }
    }
}
