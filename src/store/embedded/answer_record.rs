//! Encoding of stored responses: single ones (format byte, CRC-32 of the rest, postcard record), and blocks of them.
//!
//! Formats 1 and 2 have an HTTP status and headers, one of which names the event. Format 3 has the event's id, and the status
//! and headers as opaque bytes, which the store does not read.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::record::{
    Bytes1, FORMAT_1, Time, damaged, decode, decode_as, encode, encode_as, from_time, opened, seal, time,
};
use crate::model::ids::EventId;
use crate::store::error::StoreError;
use crate::store::idempotency::FirstAnswer;

const FORMAT_2: u8 = 2;
const FORMAT_3: u8 = 3;
const WHAT: &str = "idempotency key";
/// The header that named the event in formats 1 and 2.
const EVENT_HEADER: &str = "x-event-id";

#[derive(Serialize, Deserialize)]
struct Answer1 {
    fingerprint: [u8; 16],
    at: Time,
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes1,
}

/// Format 2 marks deliveries that were quarantined.
#[derive(Serialize, Deserialize)]
struct Answer2 {
    answer: Answer1,
    refused: bool,
}

#[derive(Serialize, Deserialize)]
struct Answer3 {
    fingerprint: [u8; 16],
    at: Time,
    refused: bool,
    event_id: Option<EventId>,
    head: Bytes1,
    body: Bytes1,
}

/// A record in its stored format.
enum AnswerRecord {
    One(Answer1),
    Two(Answer2),
    Three(Answer3),
}

impl AnswerRecord {
    fn read(bytes: &[u8]) -> Result<Self, StoreError> {
        match bytes.first() {
            Some(&FORMAT_2) => decode_as(FORMAT_2, bytes, WHAT).map(Self::Two),
            Some(&FORMAT_3) => decode_as(FORMAT_3, bytes, WHAT).map(Self::Three),
            _ => decode(bytes, WHAT).map(Self::One),
        }
    }

    fn write(&self) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::One(record) => encode_as(FORMAT_1, record),
            Self::Two(record) => encode_as(FORMAT_2, record),
            Self::Three(record) => encode_as(FORMAT_3, record),
        }
    }

    fn body(&mut self) -> &mut Bytes {
        match self {
            Self::One(record) => &mut record.body.0,
            Self::Two(record) => &mut record.answer.body.0,
            Self::Three(record) => &mut record.body.0,
        }
    }

    fn into_answer(self) -> Result<FirstAnswer, StoreError> {
        let (record, refused) = match self {
            Self::One(record) => (record, false),
            Self::Two(record) => (record.answer, record.refused),
            Self::Three(record) => {
                return Ok(FirstAnswer {
                    fingerprint: record.fingerprint,
                    at: from_time(record.at, WHAT)?,
                    refused: record.refused,
                    event_id: record.event_id,
                    head: record.head.0,
                    body: record.body.0,
                });
            }
        };
        let named = record.headers.iter().find(|(name, _)| name == EVENT_HEADER);
        let head = postcard::to_stdvec(&(record.status, &record.headers)).map_err(|e| damaged(WHAT, &e))?;
        Ok(FirstAnswer {
            fingerprint: record.fingerprint,
            at: from_time(record.at, WHAT)?,
            refused,
            event_id: named.and_then(|(_, id)| Uuid::parse_str(id).ok()).map(EventId),
            head: head.into(),
            body: record.body.0,
        })
    }
}

pub(super) fn encode_answer(answer: &FirstAnswer) -> Result<Vec<u8>, StoreError> {
    let record = Answer3 {
        fingerprint: answer.fingerprint,
        at: time(answer.at),
        refused: answer.refused,
        event_id: answer.event_id,
        head: Bytes1(answer.head.clone()),
        body: Bytes1(answer.body.clone()),
    };
    AnswerRecord::Three(record).write()
}

pub(super) fn decode_answer(bytes: &[u8]) -> Result<FirstAnswer, StoreError> {
    AnswerRecord::read(bytes)?.into_answer()
}

/// Encodes the names and responses of a block.
pub(super) fn encode_block(answers: &[([u8; 16], Bytes)]) -> Result<Vec<u8>, StoreError> {
    let all: Vec<_> = answers.iter().map(|(name, answer)| (name, Bytes1(answer.clone()))).collect();
    encode(&all)
}

/// AnswerNames and encoded responses of a block.
pub(super) type EncodedAnswers<'a> = Vec<([u8; 16], &'a [u8])>;

pub(super) fn decode_block(bytes: &[u8]) -> Result<EncodedAnswers<'_>, StoreError> {
    const BLOCK: &str = "idempotency keys";
    postcard::from_bytes(opened(bytes, FORMAT_1, BLOCK)?).map_err(|e| damaged(BLOCK, &e))
}

/// Body that replaces an erased response.
const ERASED: &[u8] = b"{\"erased\":true}";

/// Erases the bodies of selected responses in an entry and keeps its length. `None` if no response is selected.
/// Status and headers remain, so that a repetition is still recognized.
pub(super) fn erase_answers(
    value: &[u8],
    is_block: bool,
    is_erased: &mut dyn FnMut(&FirstAnswer) -> bool,
) -> Option<Vec<u8>> {
    if !is_block {
        return erase_answer(value, is_erased);
    }
    let mut found = false;
    let answers = decode_block(value).ok()?.into_iter().map(|(name, answer)| {
        let erased = erase_answer(answer, is_erased);
        found |= erased.is_some();
        (name, erased.map_or_else(|| Bytes::copy_from_slice(answer), Bytes::from))
    });
    let answers: Vec<_> = answers.collect();
    let block = if found { encode_block(&answers).ok()? } else { return None };
    (block.len() == value.len()).then_some(block)
}

fn erase_answer(value: &[u8], is_erased: &mut dyn FnMut(&FirstAnswer) -> bool) -> Option<Vec<u8>> {
    let answer = decode_answer(value).ok().filter(|it| !it.body.is_empty() && it.body != ERASED)?;
    if !is_erased(&answer) {
        return None;
    }
    // In its stored format, as another one may need more bytes.
    let mut record = AnswerRecord::read(value).ok()?;
    for body in [Bytes::from_static(ERASED), Bytes::new()] {
        *record.body() = body;
        let mut erased = record.write().ok()?;
        if erased.len() <= value.len() {
            // Bytes after a record are ignored.
            erased.resize(value.len(), 0);
            seal(&mut erased);
            return Some(erased);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Utc};

    /// Values as earlier versions wrote them, byte for byte.
    fn stored(format: u8, refused: &[u8]) -> Vec<u8> {
        let mut value = vec![format, 0, 0, 0, 0];
        value.extend_from_slice(&[7; 16]);
        // 1,700,000,000 s and 5 ns; the status 201; one header; eight bytes of body.
        value.extend_from_slice(&[0x80, 0xc4, 0x9f, 0xd5, 0x0c, 5, 0xc9, 1, 1, 10]);
        value.extend_from_slice(b"x-event-id");
        value.push(36);
        value.extend_from_slice(b"0192f0c1-2b3a-7000-8000-000000000001");
        value.push(8);
        value.extend_from_slice(b"{\"n\": 1}");
        value.extend_from_slice(refused);
        seal(&mut value);
        value
    }

    fn answer(refused: bool) -> FirstAnswer {
        let id = "0192f0c1-2b3a-7000-8000-000000000001";
        let head = [&[0xc9, 1, 1, 10][..], b"x-event-id", &[36], id.as_bytes()].concat();
        FirstAnswer {
            fingerprint: [7; 16],
            at: DateTime::<Utc>::from_timestamp(1_700_000_000, 5).unwrap(),
            refused,
            event_id: Some(EventId(Uuid::parse_str(id).unwrap())),
            head: head.into(),
            body: Bytes::from_static(b"{\"n\": 1}"),
        }
    }

    /// A sender that tries again after an update of the server must get its answer, and make nothing a second time.
    #[test]
    fn answers_of_the_earlier_formats_are_read() {
        assert_eq!(decode_answer(&stored(1, &[])).unwrap(), answer(false));
        assert_eq!(decode_answer(&stored(2, &[1])).unwrap(), answer(true));
        for refused in [false, true] {
            let encoded = encode_answer(&answer(refused)).unwrap();
            assert_eq!((encoded[0], decode_answer(&encoded).unwrap()), (FORMAT_3, answer(refused)));
        }
    }

    /// An erasure overwrites a value in place, so a value must never need more bytes than it had.
    #[test]
    fn an_answer_is_erased_in_its_own_format_and_length() {
        for value in [stored(1, &[]), stored(2, &[1]), encode_answer(&answer(false)).unwrap()] {
            let erased = erase_answers(&value, false, &mut |_| true).unwrap();
            assert_eq!((erased.len(), erased[0]), (value.len(), value[0]));
            let first = decode_answer(&erased).unwrap();
            assert_eq!(
                (first.body.len(), first.event_id),
                (0, answer(false).event_id),
                "eight bytes are too few to say it"
            );
            assert!(erase_answers(&value, false, &mut |_| false).is_none());
        }
    }
}
