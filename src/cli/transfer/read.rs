//! Parses a line of an import. Every field is checked as the API checks it; an error names the field and quotes
//! nothing, because a line may contain a patient's data.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::auth::{ApiKey, KeyId};
use crate::format::payload::{Payload, Rules};
use crate::model::audit::{Entry, OPERATOR, SERVER};
use crate::model::company::CompanyId;
use crate::model::event::{Event, Reason};
use crate::model::ids::{EventId, IntegrationName, TaskId};
use crate::model::provenance::Provenance;
use crate::model::sent_url::SentParameter;
use crate::model::task::{NewTask, Task};
use crate::model::time::is_storable;
use crate::service::app::KeyRequest;
use crate::store::{FirstAnswer, StoredAnswer, StoredItem};

/// Maximum length of names, codes and ids without a defined format, in bytes.
const NAME: usize = 128;
/// Maximum length of other texts, except bodies and texts of tasks, in bytes.
const TEXT: usize = 1 << 20;
/// Maximum time for which a response is stored.
const LONGEST: chrono::Duration = chrono::Duration::days(3660);
/// Maximum number of entries in a list.
const ENTRIES: usize = 100_000;

/// Parses one line.
pub(super) fn item(line: &str) -> Result<StoredItem, String> {
    let parsed = serde_json::from_str(line).map_err(|e| format!("not JSON, at column {}", e.column()))?;
    let Value::Object(map) = parsed else { return Err("not a JSON object".into()) };
    let mut fields = Fields(map);
    let kind: String = fields.take("kind")?;
    let (kind, item) = match kind.as_str() {
        "task" => ("task", fields.task().map(|it| StoredItem::Task(Box::new(it)))),
        "event" => ("event", fields.event().map(|it| StoredItem::Event(Box::new(it)))),
        "api_key" => ("api_key", fields.key().map(|it| StoredItem::Key(Box::new(it)))),
        "audit" => ("audit", fields.audit().map(|it| StoredItem::Audit(Box::new(it)))),
        "answer" => ("answer", fields.answer().map(|it| StoredItem::Answer(Box::new(it)))),
        _ => return Err("kind: must be task, event, api_key, audit or answer".into()),
    };
    item.map_err(|e| format!("{kind}: {e}"))
}

/// The remaining fields of a line.
struct Fields(Map<String, Value>);

impl Fields {
    /// Takes a field; a missing field is null.
    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, String> {
        let value = self.0.remove(name).unwrap_or_default();
        // serde's own error would quote the value.
        serde_json::from_value(value).map_err(|_| format!("{name}: missing or invalid"))
    }

    /// Takes a field that exports omit if it has its usual value.
    fn or<T: DeserializeOwned>(&mut self, name: &str, usual: T) -> Result<T, String> {
        if self.0.contains_key(name) { self.take(name) } else { Ok(usual) }
    }

    fn id(&mut self, name: &str) -> Result<Uuid, String> {
        let id: Uuid = self.take(name)?;
        ensure(id.get_version_num() == 7, name, "must be a UUID of version 7")?;
        Ok(id)
    }

    fn company(&mut self) -> Result<CompanyId, String> {
        let text: String = self.take("company_id")?;
        CompanyId::parse(&text).map_err(|e| format!("company_id: {e}"))
    }

    fn text(&mut self, name: &str, most: usize) -> Result<String, String> {
        let text: String = self.take(name)?;
        ensure(text.len() <= most, name, &format!("longer than {most} bytes"))?;
        Ok(text)
    }

    fn time(&mut self, name: &str) -> Result<DateTime<Utc>, String> {
        let time = self.take(name)?;
        ensure(is_storable(time), name, "must be in the years 1970 to 9999")?;
        Ok(time)
    }

    fn maybe_time(&mut self, name: &str) -> Result<Option<DateTime<Utc>>, String> {
        if self.0.get(name).is_none_or(Value::is_null) { Ok(None) } else { self.time(name).map(Some) }
    }

    fn count(&mut self, name: &str) -> Result<u64, String> {
        let count: u64 = self.take(name)?;
        ensure(count <= 1 << 53, name, "too large")?;
        Ok(count)
    }

    fn base64(&mut self, name: &str) -> Result<Vec<u8>, String> {
        let text: String = self.take(name)?;
        BASE64_STANDARD.decode(text).map_err(|_| format!("{name}: not base64"))
    }

    fn task(mut self) -> Result<Task, String> {
        let (id, event_id) = (TaskId(self.id("id")?), EventId(self.id("event_id")?));
        let (company, created_at) = (self.company()?, self.time("created_at")?);
        let (updated_at, deleted_at) = (self.time("updated_at")?, self.maybe_time("deleted_at")?);
        let version = self.count("version")?;
        ensure(version > 0, "version", "must be 1 or more")?;
        let external_message_ids = self.take("external_message_ids")?;
        // The remaining fields are a request for a task, as a strict `POST /v1/tasks`.
        let rules = Rules { strict: true, ..Rules::default() };
        let payload = Payload::of(Value::Object(self.0));
        let (task, _) = NewTask::parse(payload, &rules).map_err(|violations| {
            violations.first().map_or_else(String::new, |it| format!("{}: must be {}", it.field(), it.expected))
        })?;
        let task = task.into_task(id, event_id, company, created_at);
        Ok(Task { version, updated_at, deleted_at, external_message_ids, ..task })
    }

    fn event(mut self) -> Result<Event, String> {
        let event = Event {
            id: EventId(self.id("id")?),
            integration: IntegrationName(self.text("integration", NAME)?.into()),
            company_id: self.company()?,
            received_at: self.time("received_at")?,
            status: self.take("status")?,
            reason: self.take("reason")?,
            task_ids: self.take("task_ids")?,
            provenance: self.take("provenance")?,
            plugin_log: self.text("plugin_log", TEXT)?,
            content_type: self.take("content_type")?,
            headers: self.or("headers", Vec::new())?,
            query: self.or("query", Vec::new())?,
            path: self.or("path", String::new())?,
            stages: self.or("stages", Vec::new())?,
            redacted: self.or("redacted", Vec::new())?,
            erased_at: self.maybe_time("erased_at")?,
            // Exports of versions before 0.1 lack this field.
            attempts: self.or("attempts", 1)?,
            last_attempt_at: self.maybe_time("last_attempt_at")?,
            trace: self.or("trace", None)?,
            origin: self.or("origin", None)?,
            body_bytes: self.count("body_bytes")?,
            body: Bytes::from(self.base64("body_base64")?),
        };
        check_event(&event)?;
        Ok(event)
    }

    fn key(mut self) -> Result<ApiKey, String> {
        let id = self.text("id", NAME)?;
        let plain = |it: u8| it.is_ascii_alphanumeric() || b"_-".contains(&it);
        let is_id = !id.is_empty() && id.len() <= 64 && id.bytes().all(plain);
        ensure(is_id, "id", "must have 1 to 64 letters, digits, '_' or '-'")?;
        // The audit log uses the same field for these two names.
        ensure(![OPERATOR, SERVER].contains(&id.as_str()), "id", "is reserved by hookmill")?;
        let request = KeyRequest {
            label: self.take("label")?,
            company_id: self.company()?,
            scopes: self.take("scopes")?,
            expires_at: self.maybe_time("expires_at")?,
            timezone: self.take("timezone")?,
            strict: self.take("strict")?,
        };
        request.check()?;
        let (created_at, revoked_at) = (self.time("created_at")?, self.maybe_time("revoked_at")?);
        let hash = self.base64("sha256_base64")?.try_into();
        let hash = hash.map_err(|_| "sha256_base64: 32 bytes in base64 are needed".to_owned())?;
        Ok(ApiKey { revoked_at, hash, ..request.into_key(KeyId(id), "", created_at) })
    }

    fn audit(mut self) -> Result<Entry, String> {
        let of_nobody = self.0.get("company_id").is_none_or(Value::is_null);
        let entry = Entry {
            id: self.id("id")?,
            at: self.time("at")?,
            company_id: if of_nobody { None } else { Some(self.company()?) },
            actor: self.text("actor", NAME)?,
            action: self.take("action")?,
            target: self.text("target", TEXT)?,
            detail: self.text("detail", TEXT)?,
        };
        ensure(!entry.actor.is_empty(), "actor", "is empty")?;
        Ok(entry)
    }

    fn answer(mut self) -> Result<StoredAnswer, String> {
        let of_nobody = self.0.get("company_id").is_none_or(Value::is_null);
        let (at, expires_at) = (self.time("at")?, self.time("expires_at")?);
        ensure(expires_at >= at, "expires_at", "is before at")?;
        ensure(expires_at - at <= LONGEST, "expires_at", "is too long after at")?;
        let of_no_event = self.0.get("event_id").is_none_or(Value::is_null);
        let head = self.base64("head_base64")?;
        ensure(head.len() <= TEXT, "head_base64", &format!("longer than {TEXT} bytes"))?;
        Ok(StoredAnswer {
            company: if of_nobody { None } else { Some(self.company()?) },
            is_delivery: self.take("is_delivery")?,
            name: self.half_hash("name_base64")?,
            expires_at,
            first: FirstAnswer {
                fingerprint: self.half_hash("fingerprint_base64")?,
                at,
                refused: self.take("refused")?,
                event_id: if of_no_event { None } else { Some(EventId(self.id("event_id")?)) },
                head: head.into(),
                body: self.base64("body_base64")?.into(),
            },
        })
    }

    fn half_hash(&mut self, name: &str) -> Result<[u8; 16], String> {
        self.base64(name)?.try_into().map_err(|_| format!("{name}: 16 bytes in base64 are needed"))
    }
}

fn ensure(holds: bool, name: &str, rule: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{name}: {rule}")) }
}

fn check_event(event: &Event) -> Result<(), String> {
    let in_id = i64::try_from(event.id.0.as_u128() >> 80).unwrap_or(i64::MAX);
    let same = event.received_at.timestamp_millis() == in_id;
    ensure(same, "received_at", "is not the time in the event's id; both must be the same millisecond")?;
    let name = &event.integration.0;
    let plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    let is_name = !name.is_empty() && name.len() <= 64 && name.bytes().all(plain);
    ensure(is_name, "integration", "must have 1 to 64 lower-case letters, digits or '-'")?;
    let lists = [
        ("task_ids", event.task_ids.len()),
        ("headers", event.headers.len()),
        ("query", event.query.len()),
        ("stages", event.stages.len()),
        ("redacted", event.redacted.len()),
    ];
    for (name, entries) in lists {
        ensure(entries <= ENTRIES, name, &format!("more than {ENTRIES} entries"))?;
    }
    let is_task = |id: &TaskId| id.0.get_version_num() == 7;
    ensure(event.task_ids.iter().all(is_task), "task_ids", "must be UUIDs of version 7")?;
    if let Some(Reason { stage, code, message }) = &event.reason {
        ensure(stage.len() <= NAME && code.len() <= NAME, "reason", &format!("a name is longer than {NAME} bytes"))?;
        ensure(message.len() <= TEXT, "reason.message", &format!("longer than {TEXT} bytes"))?;
    }
    if let Some(Provenance { plugin_version, module_sha256, script_sha256, schema_sha256 }) = &event.provenance {
        let is_sha = |it: &str| it.len() == 64 && it.bytes().all(|it| it.is_ascii_hexdigit());
        let are_sums = (module_sha256.is_empty() || is_sha(module_sha256))
            && is_sha(schema_sha256)
            && script_sha256.as_deref().is_none_or(is_sha);
        ensure(are_sums, "provenance", "must name SHA-256 sums in hexadecimal")?;
        ensure(plugin_version.len() <= 4 * NAME, "provenance.plugin_version", "too long")?;
    }
    let headers = event.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    ensure(headers <= TEXT, "headers", &format!("longer than {TEXT} bytes"))?;
    let parameter = |it: &SentParameter| it.name.len() + it.value.as_ref().map_or(0, String::len);
    let query = event.query.iter().map(parameter).sum::<usize>();
    ensure(query <= TEXT && event.path.len() <= TEXT, "query, path", &format!("longer than {TEXT} bytes"))?;
    let is_pointer = |it: &String| it.is_empty() || it.starts_with('/');
    ensure(event.redacted.iter().all(is_pointer), "redacted", "must be JSON Pointers")?;
    ensure(event.content_type.as_ref().is_none_or(|it| it.len() <= TEXT), "content_type", "too long")?;
    ensure(event.attempts > 0, "attempts", "must be 1 or more")?;
    let is_kept = !event.body.is_empty() && event.redacted.is_empty();
    ensure(!is_kept || event.body.len() as u64 == event.body_bytes, "body_bytes", "is not the body's size")
}
