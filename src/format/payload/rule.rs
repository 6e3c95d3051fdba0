//! How each field of a task is read.

#[derive(Clone, Copy)]
pub(crate) enum FieldRule {
    /// One line.
    Title,
    /// Prose.
    Text,
    Id,
    List,
    OneOf(&'static [&'static str]),
    Deadline,
    Object,
    Version,
}

/// Every field of the task schema: its rule, and whether it is required.
pub(crate) const FIELDS: [(&str, FieldRule, bool); 14] = [
    ("title", FieldRule::Title, true),
    ("description", FieldRule::Text, true),
    ("assigned_user_ids", FieldRule::List, true),
    ("created_by_id", FieldRule::Id, true),
    ("deadline", FieldRule::Deadline, true),
    ("tags", FieldRule::List, false),
    ("call_id", FieldRule::Id, false),
    ("fax_id", FieldRule::Id, false),
    ("assistant_id", FieldRule::Id, false),
    ("session_id", FieldRule::Id, false),
    ("patient_id", FieldRule::Id, false),
    ("status", FieldRule::OneOf(&["pending", "in_progress", "completed"]), false),
    ("priority", FieldRule::OneOf(&["low", "medium", "high", "urgent"]), false),
    ("type", FieldRule::Id, false),
];

/// Returns the names of a task's fields.
pub(crate) fn task_field_names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(known, ..)| *known)
}

/// Returns whether a task has a field of this name.
pub(crate) fn is_task_field(name: &str) -> bool {
    FIELDS.iter().any(|(known, ..)| *known == name)
}
