//! Values of a task's fields that a mapping leaves out.

use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// `[defaults]` in plugin.toml: values of fields that a mapping has left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Defaults {
    assigned_user_ids: Vec<String>,
    created_by_id: Option<String>,
    /// A time after the receipt of the event, such as `2d`.
    deadline: Option<String>,
}

impl Defaults {
    /// Fills in what a task has not.
    pub(super) fn fill(&self, task: &mut Map<String, Value>, received_at: DateTime<Utc>) {
        let mut set = |name: &str, value: Option<Value>| {
            let is_missing = task.get(name).is_none_or(is_empty);
            if let Some(value) = value.filter(|_| is_missing) {
                task.insert(name.to_owned(), value);
            }
        };
        set("assigned_user_ids", (!self.assigned_user_ids.is_empty()).then(|| json!(self.assigned_user_ids)));
        set("created_by_id", self.created_by_id.as_ref().map(|it| json!(it)));
        let deadline = self.deadline.as_deref().and_then(period);
        let deadline = deadline.and_then(|it| received_at.checked_add_signed(it));
        set("deadline", deadline.map(|it| json!(crate::model::time::format_utc(it))));
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Reads `30m`, `4h`, `2d` or `1w`; the schema of plugin.toml allows nothing else.
fn period(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: i64 = number.parse().ok()?;
    match unit {
        "m" => Duration::try_minutes(number),
        "h" => Duration::try_hours(number),
        "d" => Duration::try_days(number),
        "w" => Duration::try_weeks(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fill_in_only_what_is_missing() {
        let defaults = Defaults {
            assigned_user_ids: vec!["a".into()],
            created_by_id: Some("b".into()),
            deadline: Some("2d".into()),
        };
        let at = "2026-11-24T08:00:00Z".parse().unwrap();
        let fill = |task: Value| {
            let Value::Object(mut task) = task else { panic!() };
            defaults.fill(&mut task, at);
            Value::Object(task)
        };
        let all = json!({"assigned_user_ids": ["a"], "created_by_id": "b", "deadline": "2026-11-26T08:00:00Z"});
        assert_eq!(fill(json!({})), all);
        assert_eq!(fill(json!({"assigned_user_ids": [], "created_by_id": " ", "deadline": null})), all);
        let own = json!({"assigned_user_ids": ["x"], "created_by_id": "y", "deadline": "tomorrow"});
        assert_eq!(fill(own.clone()), own);
    }

    #[test]
    fn periods_have_a_unit() {
        let minutes = |text| period(text).map(|it| it.num_minutes());
        assert_eq!(["30m", "4h", "2d", "1w"].map(minutes), [Some(30), Some(240), Some(2880), Some(10080)]);
        assert_eq!(["", "d", "2", "2 d", "2y", "9999999999999999w"].map(minutes), [None; 6]);
    }
}
