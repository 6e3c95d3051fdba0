//! The time in ids, which are UUIDs of version 7 (RFC 9562, section 5.7).

use uuid::Uuid;

/// Returns the lowest id of this millisecond (RFC 9562, section 5.7). Ids begin with the time of receipt.
pub(in crate::store) fn first_id(at: chrono::DateTime<chrono::Utc>) -> Uuid {
    first_id_of(at.timestamp_millis())
}

/// Returns the lowest id for a time in milliseconds since 1970.
pub(in crate::store) fn first_id_of(millis: i64) -> Uuid {
    Uuid::from_u128(u128::try_from(millis).unwrap_or(0).min((1 << 48) - 1) << 80)
}

/// Returns the time in an id of version 7 (RFC 9562, section 5.7), in milliseconds since 1970.
pub(in crate::store) fn received_ms(id: Uuid) -> i64 {
    i64::try_from(id.as_u128() >> 80).unwrap_or(0)
}
