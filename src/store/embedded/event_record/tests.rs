use super::*;

/// An event with everything that format 5 adds to.
fn traced() -> Event {
    let received_at = DateTime::from_timestamp_millis(1_764_000_000_123).unwrap();
    Event {
        id: EventId(uuid::Uuid::from_u128(0x019a_b5f4_0a7b_7000_8000_0000_0000_0001)),
        integration: IntegrationName("fax".into()),
        company_id: CompanyId::parse("company-1").unwrap(),
        received_at,
        status: EventStatus::Stored,
        reason: None,
        task_ids: Vec::new(),
        provenance: None,
        plugin_log: String::new(),
        content_type: Some("text/plain".into()),
        headers: vec![("a".into(), "b".into())],
        query: Vec::new(),
        path: String::new(),
        stages: Vec::new(),
        redacted: Vec::new(),
        erased_at: None,
        attempts: 1,
        last_attempt_at: None,
        trace: TraceContext::new([0x4b; 16], [0x0f; 8], 1, "vendor=p-4711"),
        origin: None,
        body_bytes: 2,
        body: "{}".into(),
    }
}

fn read(value: &[u8], of: &Event) -> Decoded {
    decode(value, of.id, of.company_id.clone()).unwrap()
}

/// Otherwise events that were stored with their trace cannot be read after an upgrade.
#[test]
fn the_format_of_a_traced_event_is_frozen() {
    let event = traced();
    let value = encode(event.clone()).unwrap();
    let hex: String = value.iter().map(|it| format!("{it:02x}")).collect();
    assert_eq!((&hex[..2], &hex[10..]), (&FROZEN[..2], &FROZEN[10..]));
    // The checksum did not cover the key at first.
    let frozen: Vec<u8> =
        (0..FROZEN.len()).step_by(2).map(|at| u8::from_str_radix(&FROZEN[at..at + 2], 16).unwrap()).collect();
    assert_ne!(value, frozen);
    assert_eq!(read(&value, &event).event, event);
    assert_eq!(read(&frozen, &event).event, event);
    let other = CompanyId::parse("company-0").unwrap();
    assert!(decode(&value, event.id, other).is_err(), "another company's key");
    let untraced = Event { trace: None, ..event };
    assert_eq!(encode(untraced.clone()).unwrap()[0], FORMAT_2, "other events are written as before");
}

/// Otherwise an event that was replayed is in no trace any more, or says twice what its sender sent.
#[test]
fn an_event_that_is_stored_again_has_its_trace_from_the_first_record() {
    let event = traced();
    let first = encode(event.clone()).unwrap();
    let again = Event { attempts: 2, ..event.clone() };
    let update = encode_update(again.clone(), Base { segment: 1, offset: 2, length: 3 }).unwrap();
    let decoded = read(&update, &event);
    assert_eq!(decoded.event.trace, None);
    assert_eq!(decoded.whole(|_| Ok(Some(first))).unwrap(), Some(again));
}

/// Otherwise an erased event still has what its sender wrote into `tracestate`, or does not fit where it was.
#[test]
fn an_erased_event_keeps_the_ids_of_its_trace_and_nothing_that_was_sent() {
    let event = traced();
    let value = encode(event.clone()).unwrap();
    let erased = encode_erased(Decoded { event: event.clone(), base: None }, event.received_at, value.len()).unwrap();
    assert_eq!(erased.len(), value.len());
    let trace = read(&erased, &event).event.trace.unwrap();
    assert_eq!(trace, event.trace.as_ref().unwrap().without_state());
    let small = Event { headers: Vec::new(), content_type: None, body: Bytes::new(), trace: Some(trace), ..event };
    let value = encode(small.clone()).unwrap();
    let erased = encode_erased(Decoded { event: small.clone(), base: None }, small.received_at, value.len()).unwrap();
    assert_eq!((erased.len(), read(&erased, &small).event.trace), (value.len(), None));
}

/// Format, checksum, then the fields in the order of the records.
const FROZEN: &str = "0513d30e97036661788084a4920dc0a9d33a0000000000010a746578742f706c61696e02027b7d01016101620000000100004b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b0f0f0f0f0f0f0f0f010d76656e646f723d702d34373131";

/// An event with everything that format 6 adds to.
fn with_url() -> Event {
    let parameter = |name: &str, value: Option<&str>| SentParameter { name: name.into(), value: value.map(Into::into) };
    Event { query: vec![parameter("a", Some("1")), parameter("b", None)], path: "/x".into(), ..traced() }
}

/// Otherwise events that were stored with their URL cannot be read after an upgrade.
#[test]
fn the_format_of_an_event_with_a_url_is_frozen() {
    let event = with_url();
    let value = encode(event.clone()).unwrap();
    let hex: String = value.iter().map(|it| format!("{it:02x}")).collect();
    assert_eq!(hex, FROZEN_6);
    assert_eq!(read(&value, &event).event, event);
    let plain = Event { trace: None, ..event };
    assert_eq!(read(&encode(plain.clone()).unwrap(), &plain).event, plain);
}

/// Otherwise a replay maps an event without its URL, or an erased event still has it.
#[test]
fn a_url_is_read_from_the_first_record_and_erased_with_it() {
    let event = with_url();
    let first = encode(event.clone()).unwrap();
    let again = Event { status: EventStatus::Captured, ..event.clone() };
    let update = encode_update(again.clone(), Base { segment: 1, offset: 2, length: 3 }).unwrap();
    let decoded = read(&update, &event);
    assert_eq!((&decoded.event.query, decoded.event.path.as_str()), (&Vec::new(), ""));
    assert_eq!(decoded.whole(|_| Ok(Some(first.clone()))).unwrap(), Some(again));
    let erased = encode_erased(Decoded { event: event.clone(), base: None }, event.received_at, first.len()).unwrap();
    let erased = read(&erased, &event).event;
    assert_eq!((erased.query, erased.path.as_str()), (Vec::new(), ""));
}

/// As [`FROZEN`], with the checksum.
const FROZEN_6: &str = "06d285fb05036661788084a4920dc0a9d33a0000000000010a746578742f706c61696e02027b7d0101610162000000010000014b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b0f0f0f0f0f0f0f0f010d76656e646f723d702d34373131020161010131016200022f78";

/// An event with everything that format 7 adds to.
fn copied() -> Event {
    let of = EventId(uuid::Uuid::from_u128(0x019a_b5f4_0a7b_7000_8000_0000_0000_0002));
    Event { origin: Some(Origin::copy(of, "operator")), ..with_url() }
}

/// Otherwise copies and tests cannot be read after an upgrade, or are taken for what a sender has sent.
#[test]
fn the_format_of_a_copy_is_frozen() {
    let event = copied();
    let value = encode(event.clone()).unwrap();
    let hex: String = value.iter().map(|it| format!("{it:02x}")).collect();
    assert_eq!(hex, FROZEN_7);
    assert_eq!(read(&value, &event).event, event);
    let plain = Event { trace: None, query: Vec::new(), path: String::new(), origin: Some(Origin::test("a")), ..event };
    assert_eq!(read(&encode(plain.clone()).unwrap(), &plain).event, plain);
}

/// Otherwise nobody knows who made an event, once it was replayed or erased.
#[test]
fn how_an_event_was_made_is_in_each_of_its_records() {
    let event = copied();
    let first = encode(event.clone()).unwrap();
    let again = Event { status: EventStatus::Captured, ..event.clone() };
    let update = encode_update(again.clone(), Base { segment: 1, offset: 2, length: 3 }).unwrap();
    let decoded = read(&update, &event);
    assert_eq!(decoded.event.origin, event.origin);
    assert_eq!(decoded.whole(|_| Ok(Some(first.clone()))).unwrap(), Some(again));
    let erased = encode_erased(Decoded { event: event.clone(), base: None }, event.received_at, first.len()).unwrap();
    assert_eq!(read(&erased, &event).event.origin, event.origin);
}

/// As [`FROZEN`], with the checksum.
const FROZEN_7: &str = "";
