//! Dates in scripts and expressions, without Intl: the part of Luxon's DateTime that n8n's users know.

use serde_json::{Value, json};

use crate::harness::{Server, Setup};

/// A server whose script evaluates the expressions that it is sent.
fn evaluator() -> Server {
    let script = "
        // 'America/New_York' is named here, so that it is known.
        export default (event) => ({
          title: JSON.stringify(event.expressions.map((it) => {
            try { return String((0, eval)(it)); } catch (error) { return `${error.name}: ${error.message}`; }
          })),
          description: 'x',
        });";
    let manifest = "script = \"mapper.js\"\ntimezone = \"Europe/Berlin\"\n[defaults]\nassigned_user_ids = [\"a\"]\ncreated_by_id = \"b\"\ndeadline = \"1d\"\n";
    Setup::new().mapping("guest", manifest, &[("mapper.js", script)]).start()
}

fn check(cases: &[(&str, &str)]) {
    let expressions: Vec<&str> = cases.iter().map(|(it, _)| *it).collect();
    let reply = evaluator().post("/v1/hooks/guest", &json!({ "expressions": expressions })).expect(201).json();
    let results: Vec<Value> = serde_json::from_str(reply["title"].as_str().unwrap()).unwrap();
    for ((expression, expected), found) in cases.iter().zip(&results) {
        assert_eq!(found, expected, "{expression}");
    }
    assert_eq!(results.len(), cases.len());
}

#[test]
fn what_workflow_tools_write_is_read() {
    check(&[
        ("DateTime.parse('2026-11-24T08:00:00.000+01:00')", "2026-11-24T08:00:00.000+01:00"),
        ("DateTime.parse('2026-11-24T08:00:00Z')", "2026-11-24T09:00:00.000+01:00"),
        ("DateTime.parse('2026-11-24 08:00')", "2026-11-24T08:00:00.000+01:00"),
        ("DateTime.parse('2026-07-24')", "2026-07-24T00:00:00.000+02:00"),
        ("DateTime.parse(1795507200)", "2026-11-24T09:00:00.000+01:00"),
        ("DateTime.parse('1795507200000').toUTC()", "2026-11-24T08:00:00.000Z"),
        ("DateTime.parse('Tue, 24 Nov 2026 08:00:00 +0000')", "2026-11-24T09:00:00.000+01:00"),
        ("DateTime.parse('Tue Nov 24 2026 08:00:00 GMT+0100 (CET)')", "2026-11-24T08:00:00.000+01:00"),
        ("DateTime.parse('November 24th 2026, 8:00:00 am')", "2026-11-24T08:00:00.000+01:00"),
        ("DateTime.parse('Nov 24, 2026')", "2026-11-24T00:00:00.000+01:00"),
        ("DateTime.parse('24.11.2026 08:30')", "2026-11-24T08:30:00.000+01:00"),
        ("DateTime.parse('2026/11/24')", "2026-11-24T00:00:00.000+01:00"),
        ("DateTime.parse(new Date(0)).toMillis()", "0"),
        ("DateTime.parse('11/12/2026').isValid", "false"),
        ("DateTime.parse('tomorrow').isValid", "false"),
        ("DateTime.parse('2026-02-30').isValid", "false"),
        ("DateTime.parse(undefined).isValid", "false"),
        ("DateTime.fromFormat('24/12/2026 5:05 PM', 'dd/MM/yyyy h:mm a')", "2026-12-24T17:05:00.000+01:00"),
        ("DateTime.fromFormat('24 December 2026', 'd MMMM yyyy').toISODate()", "2026-12-24"),
        ("DateTime.fromFormat('x', 'yyyy').isValid", "false"),
    ]);
}

/// Otherwise a deadline is an hour off twice a year, or a broken date becomes 1970.
#[test]
fn dates_are_computed_in_their_zone() {
    check(&[
        // The clocks change on 2026-03-29 at 02:00 and on 2026-10-25 at 03:00.
        ("DateTime.fromISO('2026-03-28T12:00').plus({ days: 1 })", "2026-03-29T12:00:00.000+02:00"),
        ("DateTime.fromISO('2026-03-28T12:00').plus({ hours: 24 })", "2026-03-29T13:00:00.000+02:00"),
        ("DateTime.fromISO('2026-03-29T02:30')", "2026-03-29T03:30:00.000+02:00"),
        ("DateTime.fromISO('2026-10-25T02:30')", "2026-10-25T02:30:00.000+02:00"),
        ("DateTime.fromISO('2026-01-31').plus({ months: 1 }).toISODate()", "2026-02-28"),
        ("DateTime.fromISO('2026-11-24T08:00').minus(2, 'days').toISODate()", "2026-11-22"),
        ("DateTime.fromISO('2026-11-24T08:00').startOf('week').toISODate()", "2026-11-23"),
        ("DateTime.fromISO('2026-11-24T08:00').endOf('month')", "2026-11-30T23:59:59.999+01:00"),
        ("DateTime.fromISO('2026-11-24T08:00').set({ hour: 17, minute: 30 })", "2026-11-24T17:30:00.000+01:00"),
        ("DateTime.fromISO('2026-11-24T08:00').set({ weekday: 1 }).toISODate()", "2026-11-23"),
        ("DateTime.fromISO('2026-11-24T08:00').setZone('America/New_York')", "2026-11-24T02:00:00.000-05:00"),
        ("DateTime.fromISO('2026-11-24T08:00').setZone('UTC+2')", "2026-11-24T09:00:00.000+02:00"),
        ("DateTime.fromISO('2026-11-24').diff(DateTime.fromISO('2026-11-20'), 'days').days", "4"),
        (
            "DateTime.fromISO('2026-11-24').diff(DateTime.fromISO('2025-10-20'), ['years', 'months', 'days']).toISO()",
            "P1Y1M4D",
        ),
        (
            "DateTime.fromISO('2026-11-24T08:05').toFormat(\"EEEE, d MMMM yyyy 'at' HH:mm ZZ\")",
            "Tuesday, 24 November 2026 at 08:05 +01:00",
        ),
        (
            "[DateTime.fromISO('2026-11-24').weekday, DateTime.fromISO('2026-11-24').weekNumber, DateTime.fromISO('2026-11-24').ordinal].join()",
            "2,48,328",
        ),
        ("DateTime.fromISO('2020-12-31').weekNumber", "53"),
        ("DateTime.fromISO('x').plus({ days: 1 }).isValid", "false"),
        ("DateTime.fromISO('x').startOf('week').set({ hour: 1 }).isValid", "false"),
        ("DateTime.max(DateTime.fromISO('2026-01-01'), DateTime.fromISO('x')).isValid", "false"),
        (
            "DateTime.fromISO('x').diff(DateTime.now())",
            "RangeError: a difference needs two dates: \"x\" is not an ISO 8601 date",
        ),
        (
            "DateTime.now().setZone('Mars/Base')",
            "RangeError: the time zone \"Mars/Base\" is not known here; zones that the mapping names as text, such as \"Europe/Berlin\", are known if they exist",
        ),
        (
            "DateTime.now().toLocaleString()",
            "RangeError: DateTime.toLocaleString is not supported, because it needs Intl; use toFormat(\"dd.MM.yyyy HH:mm\")",
        ),
        // Otherwise a deadline of today at 17:00 is one of January.
        ("DateTime.fromObject({ hour: 9 }).hasSame(DateTime.now(), 'day')", "true"),
        ("DateTime.fromFormat('08:00', 'HH:mm').hasSame(DateTime.now(), 'day')", "true"),
        ("DateTime.fromFormat('2026', 'yyyy').toISODate()", "2026-01-01"),
        ("((a) => a.diff(a.toUTC(), 'days').days)(DateTime.fromISO('2026-07-01T10:00'))", "0"),
        ("DateTime.fromISO('2026-10-25T01:30Z').startOf('hour')", "2026-10-25T02:00:00.000+01:00"),
        ("DateTime.now().set({ hour: null })", "RangeError: \"hour\" is null, not a number"),
        ("DateTime.now().plus({ months: 1.5 })", "RangeError: \"months\" of a span of time is not a whole number"),
        ("DateTime.now().set({ quarter: 1 })", "RangeError: \"quarter\" cannot be set; use plus and startOf"),
        (
            "DateTime.fromISO('x').toFormat('dd')",
            "RangeError: this date could not be read: \"x\" is not an ISO 8601 date",
        ),
        (
            "[DateTime.parse('0815').isValid, DateTime.parse('Mayor 5, 2026').isValid, DateTime.parse('May 5, 2026, 15:00 am').isValid].join()",
            "false,false,false",
        ),
        ("DateTime.now().plus({ moons: 1 })", "RangeError: \"moons\" is not a unit of time"),
        ("DateTime.fromISO('2026-11-24') < DateTime.fromISO('2026-11-25')", "true"),
        ("JSON.stringify({ at: DateTime.fromISO('2026-11-24') })", "{\"at\":\"2026-11-24T00:00:00.000+01:00\"}"),
    ]);
}
