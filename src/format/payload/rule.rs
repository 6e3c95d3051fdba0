//! How each field of a task is read.

#[derive(Clone, Copy)]
pub(crate) enum Rule {
    Text,
    Id,
    List,
    OneOf(&'static [&'static str]),
    Deadline,
    Object,
    Version,
}

/// Every field of the task schema: its rule, and whether it is required.
pub(crate) const FIELDS: [(&str, Rule, bool); 14] = [
    ("title", Rule::Text, true),
    ("description", Rule::Text, true),
    ("assigned_user_ids", Rule::List, true),
    ("created_by_id", Rule::Id, true),
    ("deadline", Rule::Deadline, true),
    ("tags", Rule::List, false),
    ("call_id", Rule::Id, false),
    ("fax_id", Rule::Id, false),
    ("assistant_id", Rule::Id, false),
    ("session_id", Rule::Id, false),
    ("patient_id", Rule::Id, false),
    ("status", Rule::OneOf(&["pending", "in_progress", "completed"]), false),
    ("priority", Rule::OneOf(&["low", "medium", "high", "urgent"]), false),
    ("type", Rule::Id, false),
];
