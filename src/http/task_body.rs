//! Bodies with tasks. They are read loosely: any content type, n8n's wrappers, values of other types (contract, section 4).

use bytes::Bytes;
use serde_json::json;

use super::call::Call;
use super::input::Input;
use super::openapi::describer::Describer;
use super::openapi::examples::{Example, example};
use super::problem::Problem;
use crate::format::payload;

/// Largest body of a batch, in bodies of other routes.
const BATCH_BODIES: usize = 16;

const CREATE_SCHEMA: &str = include_str!("../../schemas/task-create.schema.json");
const UPDATE_SCHEMA: &str = include_str!("../../schemas/task-update.schema.json");

const CREATE: [Example; 2] = [
    example!("documented", "A task as documented.", "payloads/task.json"),
    example!("loose", "What an n8n workflow may send: an item, texts for lists, a date.", "payloads/task-loose.json"),
];

const UPDATE: [Example; 1] = [example!("completed", "The task is done.", "payloads/task-change.json")];

/// A task to create.
pub(super) struct NewTaskBody(pub(super) Bytes);

/// A change of a task.
pub(super) struct TaskChangeBody(pub(super) Bytes);

/// Tasks to create.
pub(super) struct BatchBody(pub(super) Bytes);

impl Input for NewTaskBody {
    async fn read(call: &mut Call) -> Result<Self, Problem> {
        call.body().await.map(Self)
    }

    fn describe(to: &mut Describer<'_>) {
        to.body(true, "The task. It is read loosely unless the key is strict; other fields are ignored.");
        let schema = to.file_schema("TaskCreate", CREATE_SCHEMA);
        to.content("application/json", schema.clone(), &CREATE);
        loose_types(to, &schema);
    }
}

impl Input for TaskChangeBody {
    async fn read(call: &mut Call) -> Result<Self, Problem> {
        call.plain_body(call.app.config.limits.body_bytes).await.map(Self)
    }

    fn describe(to: &mut Describer<'_>) {
        to.body(
            true,
            "The fields to change, and the version that you read, here or in `If-Match`. Other fields are ignored.",
        );
        let fields: Vec<_> = payload::changeable().collect();
        let schema = to.file_schema_with_one("TaskUpdate", UPDATE_SCHEMA, &fields);
        to.content("application/json", schema.clone(), &UPDATE);
        loose_types(to, &schema);
    }
}

impl Input for BatchBody {
    async fn read(call: &mut Call) -> Result<Self, Problem> {
        let limit = call.app.config.limits.body_bytes.saturating_mul(BATCH_BODIES);
        call.plain_body(limit).await.map(Self)
    }

    fn describe(to: &mut Describer<'_>) {
        to.body(true, "The tasks: an array, an object with `tasks`, or one task a line (`application/x-ndjson`).");
        let schema = to.file_schema("TaskCreate", CREATE_SCHEMA);
        let tasks = json!({ "type": "array", "items": schema, "minItems": 1, "maxItems": payload::BATCH_ITEMS });
        to.content("application/json", schemars::Schema::try_from(tasks).unwrap_or_default(), &[]);
    }
}

/// What is accepted in addition to JSON, unless the key is strict.
fn loose_types(to: &mut Describer<'_>, schema: &schemars::Schema) {
    for media_type in ["application/x-www-form-urlencoded", "multipart/form-data"] {
        to.content(media_type, schema.clone(), &[]);
    }
}
