//! What a delivery that comes again is known by.

use chrono::Duration;
use hyper::header::HeaderMap;
use serde_json::Value;

use super::Integration;
use crate::auth::signature::Mismatch;
use crate::event::RawEvent;
use crate::store::IdempotencyId;

/// Longest id, in bytes: what is longer names nothing.
const LONGEST: usize = 1024;

/// Where a delivery's id stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// In a header of this name, lower case.
    Header(String),
    /// In the body, at these JSON Pointers: their values together.
    Body(Vec<String>),
}

/// What identifies a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedupe {
    /// In this order: the first that a delivery has is its id.
    pub by: Vec<Named>,
    /// For how long it is known.
    pub window: Duration,
}

impl Integration {
    /// Nothing, where no header that may hold the delivery's id is there twice: which one counts would be a matter of taste.
    ///
    /// # Errors
    /// The header.
    pub fn one_id(&self, headers: &HeaderMap) -> Result<(), Mismatch> {
        let names = self.dedupe.by.iter().filter_map(|it| if let Named::Header(name) = it { Some(name) } else { None });
        match names.into_iter().find(|name| headers.get_all(*name).iter().nth(1).is_some()) {
            None => Ok(()),
            Some(header) => Err(Mismatch::Repeated { header: header.clone() }),
        }
    }

    /// What the delivery is known by, where it has an id.
    #[must_use]
    pub fn delivery(&self, raw: &RawEvent) -> Option<IdempotencyId> {
        self.deliveries(raw).map(|(id, _)| id)
    }

    /// The same, and what hookmill 0.1 remembered it by, which does not name the company.
    #[must_use]
    pub fn deliveries(&self, raw: &RawEvent) -> Option<(IdempotencyId, IdempotencyId)> {
        let (company, name, window) = (self.company_id.as_str(), &self.name.0, self.dedupe.window);
        let id = self.delivery_id(raw)?;
        Some((IdempotencyId::delivery_to(company, name, &id, window), IdempotencyId::delivery(name, &id, window)))
    }

    /// Never made of the body as a whole, since two equal bodies may be two events.
    fn delivery_id(&self, raw: &RawEvent) -> Option<String> {
        let mut decoded: Option<Option<Value>> = None;
        let mut body = |pointers: &[String]| {
            let payload = decoded.get_or_insert_with(|| self.payload(raw).ok().map(|it| it.value)).as_ref()?;
            let value = |pointer: &String| payload.pointer(pointer).and_then(text).filter(|it| !it.trim().is_empty());
            joined(pointers.iter().map(value).collect::<Option<Vec<_>>>()?)
        };
        self.dedupe.by.iter().find_map(|named| {
            let id = match named {
                Named::Header(name) => raw.header(name).map(str::to_owned),
                Named::Body(pointers) => body(pointers),
            };
            id.filter(|it| !it.trim().is_empty() && it.len() <= LONGEST)
        })
    }

    /// What says which events are to be worked on one after another, where that is configured and the event has it.
    #[must_use]
    pub fn order_key(&self, raw: &RawEvent) -> Option<String> {
        let pointer = self.later.order_by.as_deref()?;
        let payload = self.payload(raw).ok()?;
        payload.value.pointer(pointer).and_then(text)
    }
}

/// Whether deliveries are answered before they go through the line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Later {
    /// All of them, whatever the sender prefers.
    pub always: bool,
    /// A JSON Pointer to what says which events are to be worked on one after another.
    pub order_by: Option<String>,
}

/// One value is the id as it is; several are joined so that no two lists give the same text.
fn joined(mut values: Vec<String>) -> Option<String> {
    if values.len() > 1 { serde_json::to_string(&values).ok() } else { values.pop() }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
