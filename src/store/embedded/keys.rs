//! Key layout. A tag's meaning never changes; new things get new tags.
//!
//! | key | value |
//! |---|---|
//! | `T` company `00` id | a task |
//! | `E` company `00` id | an event |
//! | `K` key id | an API key |
//!
//! A company id holds no NUL, so the layout keeps the order of companies and, within one, of ids, which are
//! UUIDs of version 7 and so sort by time.

use uuid::Uuid;

use crate::auth::{CompanyId, KeyId};
use crate::event::EventId;
use crate::task::TaskId;

/// The one tree: a batch is atomic within a tree only.
pub(super) const TREE: &[u8] = b"hookmill";

const TASK: u8 = b'T';
const EVENT: u8 = b'E';
pub(super) const API_KEY: u8 = b'K';

pub(super) fn task(company: &CompanyId, id: TaskId) -> Vec<u8> {
    scoped(TASK, company, id.0)
}

pub(super) fn event(company: &CompanyId, id: EventId) -> Vec<u8> {
    scoped(EVENT, company, id.0)
}

pub(super) fn api_key(id: &KeyId) -> Vec<u8> {
    [&[API_KEY], id.0.as_bytes()].concat()
}

fn scoped(tag: u8, company: &CompanyId, id: Uuid) -> Vec<u8> {
    [&[tag], company.as_str().as_bytes(), &[0], id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data on users' disks is found by these bytes.
    #[test]
    fn the_layout_is_frozen() {
        let (company, id) = (CompanyId::parse("c-1").unwrap(), Uuid::from_bytes([7; 16]));
        assert_eq!(task(&company, TaskId(id)), [b"Tc-1\0", &[7; 16][..]].concat());
        assert_eq!(event(&company, EventId(id)), [b"Ec-1\0", &[7; 16][..]].concat());
        assert_eq!(api_key(&KeyId("key_0a".into())), b"Kkey_0a");
    }
}
