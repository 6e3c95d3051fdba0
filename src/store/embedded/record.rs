//! Value formats: a format byte, the CRC-32 of what follows (little endian), then a postcard record.
//!
//! A format's meaning never changes; a changed record gets a new format byte, and the old one stays readable. The one
//! exception: the checksum of events covers their key as well since it was found that it must; both are read.
//! Ids and companies are in the key and are not repeated in the value. Enums are stored by the position of their
//! variant, so [`Action`] and [`Scope`](crate::auth::Scope) may only grow at the end.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::last_change::LastChange;
use crate::auth::{ApiKey, KeyId, Scopes};
use crate::model::audit::{Action, Entry};
use crate::model::company::CompanyId;
use crate::store::error::StoreError;

pub(super) const FORMAT_1: u8 = 1;
/// Length of the format byte and the checksum.
pub(super) const HEADER: usize = 5;

/// Seconds and nanoseconds since 1970.
pub(super) type Time = (i64, u32);

/// Bytes that are serialized in one piece; serde would write a plain vector byte by byte.
pub(super) struct Bytes1(pub(super) Bytes);

#[derive(Serialize, Deserialize)]
struct ApiKey1 {
    id: KeyId,
    label: String,
    company_id: CompanyId,
    scopes: Scopes,
    created_at: Time,
    expires_at: Option<Time>,
    revoked_at: Option<Time>,
    timezone: Option<String>,
    strict: bool,
    hash: [u8; 32],
}

pub(super) fn encode_key(key: &ApiKey) -> Result<Vec<u8>, StoreError> {
    let key = key.clone();
    encode(&ApiKey1 {
        id: key.id,
        label: key.label,
        company_id: key.company_id,
        scopes: key.scopes,
        created_at: time(key.created_at),
        expires_at: key.expires_at.map(time),
        revoked_at: key.revoked_at.map(time),
        timezone: key.timezone.map(|zone| zone.name().to_owned()),
        strict: key.strict,
        hash: key.hash,
    })
}

pub(super) fn decode_key(bytes: &[u8]) -> Result<ApiKey, StoreError> {
    let record: ApiKey1 = decode(bytes, "API key")?;
    let zone = record.timezone.map(|name| name.parse()).transpose();
    Ok(ApiKey {
        id: record.id,
        label: record.label,
        company_id: record.company_id,
        scopes: record.scopes,
        created_at: from_time(record.created_at, "API key")?,
        expires_at: record.expires_at.map(|t| from_time(t, "API key")).transpose()?,
        revoked_at: record.revoked_at.map(|t| from_time(t, "API key")).transpose()?,
        timezone: zone.map_err(|e| damaged("API key", &e))?,
        strict: record.strict,
        hash: record.hash,
    })
}

#[derive(Serialize, Deserialize)]
struct Audit1 {
    at: Time,
    company_id: Option<CompanyId>,
    actor: String,
    action: Action,
    target: String,
    detail: String,
}

pub(super) fn encode_audit(entry: &Entry) -> Result<Vec<u8>, StoreError> {
    let entry = entry.clone();
    encode(&Audit1 {
        at: time(entry.at),
        company_id: entry.company_id,
        actor: entry.actor,
        action: entry.action,
        target: entry.target,
        detail: entry.detail,
    })
}

pub(super) fn decode_audit(bytes: &[u8], id: uuid::Uuid) -> Result<Entry, StoreError> {
    let record: Audit1 = decode(bytes, "audit entry")?;
    Ok(Entry {
        id,
        at: from_time(record.at, "audit entry")?,
        company_id: record.company_id,
        actor: record.actor,
        action: record.action,
        target: record.target,
        detail: record.detail,
    })
}

/// A position in the queue: milliseconds since 1970, and a counter of the process.
pub(super) type QueueOrder = (u64, u64);

pub(super) fn encode_order(order: QueueOrder) -> Result<Vec<u8>, StoreError> {
    encode(&order)
}

pub(super) fn decode_order(bytes: &[u8]) -> Result<QueueOrder, StoreError> {
    decode(bytes, "queued event")
}

/// Encodes a company's next row.
pub(super) fn encode_rows(next: u32) -> Result<Vec<u8>, StoreError> {
    encode(&next)
}

pub(super) fn decode_rows(bytes: &[u8]) -> Result<u32, StoreError> {
    decode(bytes, "row count")
}

/// Encodes the last change of a company's purged tasks.
pub(super) fn encode_purged(last: LastChange) -> Result<Vec<u8>, StoreError> {
    encode(&last)
}

pub(super) fn decode_purged(bytes: &[u8]) -> Result<LastChange, StoreError> {
    decode(bytes, "last purged change")
}

pub(super) fn encode(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    encode_as(FORMAT_1, record)
}

pub(super) fn encode_as(format: u8, record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    encode_for(&[], format, record)
}

/// The same with a checksum that also covers the key.
pub(super) fn encode_for(key: &[u8], format: u8, record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let bytes = postcard::to_extend(record, vec![format, 0, 0, 0, 0]);
    let mut bytes = bytes.map_err(|e| StoreError::Write(e.to_string()))?;
    seal_for(key, &mut bytes);
    Ok(bytes)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, StoreError> {
    decode_as(FORMAT_1, bytes, what)
}

pub(super) fn decode_as<T: DeserializeOwned>(format: u8, bytes: &[u8], what: &'static str) -> Result<T, StoreError> {
    let body = opened(bytes, format, what)?;
    postcard::from_bytes(body).map_err(|e| damaged(what, &e))
}

/// Writes the checksum of a value that is otherwise complete.
pub(super) fn seal(value: &mut [u8]) {
    seal_for(&[], value);
}

/// The same with a checksum that also covers the value's key: for values that are read from the journal by their position,
/// where a changed key would make them another company's.
pub(super) fn seal_for(key: &[u8], value: &mut [u8]) {
    let crc = checksum(key, &value[HEADER..]).to_le_bytes();
    value[1..HEADER].copy_from_slice(&crc);
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

/// Returns whether a value's checksum is that of this key and the value.
pub(super) fn is_sealed_for(key: &[u8], value: &[u8]) -> bool {
    let parts = value.split_first_chunk::<HEADER>();
    parts.is_some_and(|(&[_, crc @ ..], body)| checksum(key, body) == u32::from_le_bytes(crc))
}

/// Returns what follows the format byte and the checksum. The checksum covers the key, or not (values that were stored
/// before it did).
pub(super) fn opened_for<'a>(
    key: &[u8],
    value: &'a [u8],
    format: u8,
    what: &'static str,
) -> Result<&'a [u8], StoreError> {
    match value.split_first_chunk::<HEADER>() {
        Some(([found, ..], body)) if *found == format && is_sealed_for(key, value) => Ok(body),
        _ => opened(value, format, what),
    }
}

/// Returns what follows the format byte and the checksum, if both are right.
pub(super) fn opened<'a>(value: &'a [u8], format: u8, what: &'static str) -> Result<&'a [u8], StoreError> {
    let Some((&[found, crc @ ..], body)) = value.split_first_chunk::<HEADER>() else {
        return Err(damaged(what, &"it is too short"));
    };
    if found != format {
        return Err(damaged(what, &format!("unknown format {found}")));
    }
    if crc32fast::hash(body) != u32::from_le_bytes(crc) {
        return Err(damaged(what, &"its checksum does not match"));
    }
    Ok(body)
}

/// Returns whether a value's checksum is right, whatever the value contains.
pub(super) fn is_whole(value: &[u8]) -> bool {
    value.first().is_some_and(|format| opened(value, *format, "value").is_ok())
}

pub(super) fn damaged(what: &'static str, cause: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged { what, cause: cause.to_string() }
}

pub(super) fn time(at: DateTime<Utc>) -> Time {
    (at.timestamp(), at.timestamp_subsec_nanos())
}

pub(super) fn from_time((seconds, nanos): Time, what: &'static str) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp(seconds, nanos).ok_or_else(|| damaged(what, &"a time out of range"))
}

impl Serialize for Bytes1 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes1 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl serde::de::Visitor<'_> for BytesVisitor {
            type Value = Bytes1;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes1, E> {
                Ok(Bytes1(Bytes::copy_from_slice(bytes)))
            }
        }
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Scope;

    /// Keys that were stored before a scope was added must keep their scopes.
    #[test]
    fn the_places_of_scopes_are_frozen() {
        let stored = postcard::to_stdvec(&Scope::ALL.to_vec()).unwrap();
        assert_eq!(stored, [5, 0, 1, 2, 3, 4]);
        let names: Vec<_> = Scope::ALL.iter().map(|it| it.name()).collect();
        assert_eq!(names, ["tasks:read", "tasks:write", "hooks:write", "admin", "events:read"]);
        let before: Scopes = postcard::from_bytes(&[4, 0, 1, 2, 3]).unwrap();
        assert_eq!(before, Scope::ALL[..4]);
    }
}
