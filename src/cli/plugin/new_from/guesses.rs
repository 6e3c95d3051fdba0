//! Which values of a payload become which fields of a task.

use chrono_tz::Tz;
use serde_json::Value;

use super::places::{NamedValue, NamedValues};
use super::script_text::{access, quote};
use crate::format::payload::{TimeError, Unevaluated, is_blank, parse_deadline};

/// A field of the task, with the expression of its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Guess {
    pub(super) field: &'static str,
    /// JavaScript.
    pub(super) code: String,
    /// Why, in one sentence for the comment.
    pub(super) why: String,
    /// Only shown: the line is written as a comment.
    pub(super) is_suggestion: bool,
}

/// All guesses for a payload.
#[derive(Debug)]
pub(super) struct Guesses {
    pub(super) fields: Vec<Guess>,
    /// The line that would skip other events.
    pub(super) other_events: Option<String>,
    /// What happened, as in the example.
    pub(super) event_type: Option<String>,
    /// JSON Pointer of an id at the top of the payload.
    pub(super) id: Option<String>,
}

const TITLE: &[&str] = &["title", "subject", "tasktitle", "headline", "summary", "topic", "betreff", "titel"];
const DESCRIPTION: &[&str] = &[
    "description",
    "message",
    "notes",
    "note",
    "text",
    "body",
    "content",
    "comment",
    "comments",
    "transcript",
    "summary",
    "details",
    "request",
    "question",
    "inquiry",
    "feedback",
    "reason",
    "messagetext",
    "callsummary",
    "beschreibung",
    "nachricht",
];
const DEADLINE: &[&str] = &[
    "deadline",
    "due",
    "dueat",
    "duedate",
    "dueon",
    "dueby",
    "duetime",
    "scheduledat",
    "scheduledfor",
    "scheduled",
    "scheduledtime",
    "scheduleddate",
    "start",
    "startat",
    "startsat",
    "starttime",
    "startdate",
    "startdatetime",
    "appointmentat",
    "appointmenttime",
    "appointmentdate",
    "appointment",
    "callbackat",
    "callbacktime",
    "until",
    "faellig",
    "fälligam",
];
const PRIORITY: &[&str] = &["priority", "prio", "urgency", "severity", "importance"];
const URGENT: &[&str] = &["urgent", "isurgent", "emergency", "isemergency"];
const EVENT: &[&str] =
    &["event", "eventtype", "eventname", "type", "action", "topic", "trigger", "triggerevent", "kind"];
const NAME: &[&str] = &[
    "patientname",
    "customername",
    "callername",
    "contactname",
    "inviteename",
    "clientname",
    "fullname",
    "displayname",
    "name",
    "from",
    "sender",
    "firstname",
];
const PHONE: &[&str] =
    &["phone", "phonenumber", "mobile", "tel", "telephone", "callernumber", "fromnumber", "customernumber", "callerid"];
const EMAIL: &[&str] = &["email", "emailaddress", "mail"];
/// Fields whose values are ids.
const IDS: [(&str, &[&str]); 5] = [
    ("call_id", &["callid", "callsid", "calluuid", "callcontrolid"]),
    ("fax_id", &["faxid", "faxsid"]),
    ("assistant_id", &["assistantid", "agentid"]),
    (
        "session_id",
        &["sessionid", "conversationid", "threadid", "externalid", "referenceid", "ticketid", "caseid", "orderid"],
    ),
    ("patient_id", &["patientid", "mrn", "patientnumber"]),
];
/// Fields that are taken over only under their own names: users of the sender are not those of the tasks.
const USERS: [(&str, &[&str]); 2] =
    [("assigned_user_ids", &["assigneduserids", "assigneduserid"]), ("created_by_id", &["createdbyid"])];

impl Guesses {
    /// Guesses for one task. `variable` has the values in the script.
    pub(super) fn of(payload: &Value, variable: &str, integration: &str) -> Self {
        let places = NamedValues::of(payload);
        let code = |place: &NamedValue<'_>| access(variable, &place.steps);
        let event = places.find(EVENT, |it| is_event_type(it));
        let mut fields = Vec::new();
        let mut add = |field, code: String, why: String| {
            fields.push(Guess { field, code, why, is_suggestion: false });
        };
        let title = places.find(TITLE, |it| is_line(it.value));
        let is_free = |it: &NamedValue<'_>| [title, event].iter().flatten().all(|taken| taken.steps != it.steps);
        let person = places.find(NAME, |it| is_line(it.value) && is_free(it));
        // A message without a subject says best what it is about.
        let prose = places.find(DESCRIPTION, |it| is_line(it.value) && is_free(it));
        let title = title.or(prose.filter(|_| event.is_none()));
        let (how, why) = match (title, event, person) {
            (Some(title), _, _) => (format!("line({})", code(title)), format!("the title is {}", code(title))),
            (None, None, None) => (String::new(), "nothing looks like a title".to_owned()),
            (None, event, person) => {
                let parts: Vec<_> = [event, person].into_iter().flatten().map(code).collect();
                let joined = format!("[{}].map(line).filter(Boolean).join(\": \")", parts.join(", "));
                (joined, format!("the title says what happened, and who it is about: {}", parts.join(" and ")))
            }
        };
        let fallback = quote(&format!("A delivery for {integration}"));
        add("title", if how.is_empty() { fallback } else { format!("{how} || {fallback}") }, why);
        let (how, why) = description(&places, variable, person, is_free);
        add("description", how, why);
        for (field, names) in USERS {
            if let Some(place) = places.find(names, |it| is_id(it.value) || is_list(it.value)) {
                add(field, code(place), format!("{} has ids of your users", code(place)));
            }
        }
        let deadline = places.find(DEADLINE, |it| is_time(it.value) != Some(false));
        if let Some(place) = deadline.filter(|it| is_time(it.value) == Some(true)) {
            add("deadline", code(place), format!("it must be done by {}", code(place)));
        } else if let Some(place) = deadline {
            let code = format!("DateTime.fromFormat({}, \"MM/dd/yyyy\")", code(place));
            let why = "day and month could be swapped, so say which is which to use it".to_owned();
            fields.push(Guess { field: "deadline", code, why, is_suggestion: true });
        }
        fields.extend(others(&places, variable, event));
        let other_events = event.map(|it| {
            let value = it.value.as_str().unwrap_or_default();
            format!("if ({} !== {}) return skip({});", code(it), quote(value), quote(&format!("not {value}")))
        });
        let id = places.find(&["id", "eventid", "uuid"], |it| it.steps.len() == 1 && is_id(it.value));
        Self {
            fields,
            other_events,
            event_type: event.and_then(|it| it.value.as_str()).map(str::to_owned),
            id: id.map(|it| {
                format!(
                    "/{}",
                    it.steps.iter().map(|it| it.replace('~', "~0").replace('/', "~1")).collect::<Vec<_>>().join("/")
                )
            }),
        }
    }
}

/// The text of the payload with the contact, or else all of its values.
fn description<'a>(
    places: &NamedValues<'a>,
    variable: &str,
    person: Option<&NamedValue<'a>>,
    is_free: impl Fn(&NamedValue<'a>) -> bool,
) -> (String, String) {
    let all = format!("details({variable})");
    let Some(text) = places.find(DESCRIPTION, |it| is_prose(it.value) && is_free(it)) else {
        return (all, "nothing looks like a message, so the description lists every value".to_owned());
    };
    let main = access(variable, &text.steps);
    let phone = places.find(PHONE, |it| is_id(it.value));
    let email = places.find(EMAIL, |it| it.value.as_str().is_some_and(|it| it.contains('@')));
    let contact = [("Name", person), ("Phone", phone), ("E-mail", email)];
    let contact = contact.into_iter().filter_map(|(label, place)| Some((label, place?)));
    let contact: Vec<_> = contact.filter(|(_, place)| place.steps != text.steps).collect();
    if contact.is_empty() {
        return (format!("text({main}) || {all}"), format!("the description is {main}; without it, every value"));
    }
    let labelled =
        contact.iter().map(|(label, it)| format!(", label({}, {})", quote(label), access(variable, &it.steps)));
    let parts = labelled.collect::<String>();
    let code = format!("[text({main}){parts}].filter(Boolean).join(\"\\n\") || {all}");
    (code, format!("the description is {main}, with the contact; without them, every value"))
}

/// The fields that a task need not have.
fn others(places: &NamedValues<'_>, variable: &str, event: Option<&NamedValue<'_>>) -> Vec<Guess> {
    let mut fields = Vec::new();
    let mut add = |field, code: String, why: String| fields.push(Guess { field, code, why, is_suggestion: false });
    let code = |place: &NamedValue<'_>| access(variable, &place.steps);
    if let Some(place) = places.find(PRIORITY, |it| it.value.is_string() || it.value.is_number()) {
        let why = format!("{} says how urgent it is; other words than those of `PRIORITIES` are medium", code(place));
        add("priority", format!("priority({})", code(place)), why);
    } else if let Some(place) = places.find(URGENT, |it| it.value.is_boolean()) {
        let how = format!("{} === true ? \"urgent\" : undefined", code(place));
        add("priority", how, format!("{} says that it is urgent", code(place)));
    }
    if let Some(place) = event {
        add("type", code(place), format!("the kind of task is {}", code(place)));
    }
    if let Some(place) = places.find(&["tags", "labels", "categories"], |it| is_list(it.value)) {
        add("tags", code(place), format!("{} are labels", code(place)));
    }
    for (field, names) in IDS {
        if let Some(place) = places.find(names, |it| is_id(it.value)) {
            add(field, code(place), format!("{} is such an id", code(place)));
        }
    }
    fields
}

/// What may be a text of a task.
fn is_prose(value: &Value) -> bool {
    let is_text = |it: &str| it.chars().any(char::is_alphanumeric) && Unevaluated::whole(it).is_none();
    !is_blank(value) && value.as_str().is_some_and(|it| is_text(it) && is_time(value) == Some(false))
}

fn is_line(value: &Value) -> bool {
    let is_short = |it: &str| it.chars().count() <= 300 && !it.contains('\0') && Unevaluated::part(it).is_none();
    is_prose(value) && value.as_str().is_some_and(is_short)
}

fn is_event_type(place: &NamedValue<'_>) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_.:/ -".contains(c);
    let is_type = |it: &str| it.len() <= 64 && it.chars().all(is_word);
    place.steps.len() <= 2 && is_line(place.value) && place.value.as_str().is_some_and(is_type)
}

fn is_id(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::String(text) => is_line(value) || (!text.is_empty() && text.bytes().all(|it| it.is_ascii_digit())),
        _ => false,
    }
}

fn is_list(value: &Value) -> bool {
    value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(is_id)) || is_line(value)
}

/// Returns whether a value is a time; `None` if day and month could be swapped.
fn is_time(value: &Value) -> Option<bool> {
    match parse_deadline(value, Tz::UTC) {
        Ok(_) => Some(true),
        Err(TimeError::Ambiguous) => None,
        Err(_) => Some(false),
    }
}
